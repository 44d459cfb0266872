"""Components of a pipeline that is there, put in by name: ``pipe.scheduler = ...``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from yggdrasil.core.errors import ConfigError
from yggdrasil.core.graph import ComputeGraph
from yggdrasil.hub.library import Library, OverlaidLibrary
from yggdrasil.pipelines.components import blocks_of
from yggdrasil.pipelines.models import use_solver
from yggdrasil.pipelines.opening import check_component

__all__ = ["PipelineParts"]

_OWN = frozenset({"graph", "task"})
_SCHEDULER = "scheduler"


class PipelineParts(ABC):
    """What assigning to an attribute does: a component's name changes what the graph computes with.

    Other names are attributes as of any object.
    """

    graph: ComputeGraph
    _library: Library | None

    @abstractmethod
    def _fill(self) -> None:
        """Gives nodes their components and their place."""

    def __setattr__(self, name: str, value: Any) -> None:
        """Puts a component in the place of the pipeline's, as Diffusers' pipelines do.

        Args:
            name: Of the component; of a scheduler, the solver that drives it is put in.
            value: The component; None leaves an optional one out.

        Raises:
            ConfigError: It is of another class, the pipeline cannot do without it, or stages hold
                it.
            InputError: A scheduler is given, and the graph has not exactly one solver.
        """
        if name[0] == "_" or name in _OWN or "graph" not in vars(self):
            super().__setattr__(name, value)
            return
        self._fill()
        found = [
            (path, block, slot_name, slot)
            for path, block in blocks_of(self.graph)
            for slot_name, slot in block.slots().items()
            if slot.folder == name
        ]
        if not found:
            super().__setattr__(name, value)
            return
        inside = [path for path, *_ in found if "." in path]
        if inside:
            raise ConfigError(
                f"{name} is held by stages ({', '.join(inside)}): assign it to the pipeline that "
                "the stage was made of, whose graph is the same."
            )
        for path, block, _, slot in found:
            if value is None and not slot.optional:
                raise ConfigError(
                    f"{name} is None, and node {path!r} ({block.type_name}) needs one. Take the "
                    f"node away with graph.remove_node({path!r}), or give a component."
                )
            if not any(spec.opaque for spec in block.ops().values()):
                check_component(name, value, slot.cls)
        if name == _SCHEDULER and not any(block.role != "solver" for _, block, _, _ in found):
            self._use_scheduler(value)
        else:
            for _, block, slot_name, _ in found:
                block.give(**{slot_name: value}) if value is not None else block.empty(slot_name)
        if self._library is not None:  # for nodes that come later
            self._library = OverlaidLibrary(self._library, {name: value})

    def _use_scheduler(self, scheduler: Any) -> None:
        # Imports Diffusers, as whoever holds a scheduler has done already.
        from yggdrasil.blocks.solver.catalog import solver_type_for  # noqa: PLC0415

        if scheduler is None:
            raise ConfigError("scheduler is None: give one, or graph.replace_node a solver.")
        use_solver(self.graph, solver_type_for(type(scheduler).__name__))
        (node,) = [name for name in self.graph.nodes if self.graph.role(name) == "solver"]
        self.graph.replace_node(node, self.graph.block(node).type_name)
        self.graph.block(node).give(scheduler=scheduler)
        self._fill()
