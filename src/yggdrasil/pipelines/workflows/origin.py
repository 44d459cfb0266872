"""What made a result: taken down before the run, told when the result is saved."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from yggdrasil.core.block import AbstractBaseBlock
from yggdrasil.core.errors import GraphFileError, InputError
from yggdrasil.core.graph import ComputeGraph
from yggdrasil.hub.library import Library
from yggdrasil.hub.references import ModelReference
from yggdrasil.pipelines.adapter_files import recorded_graph
from yggdrasil.pipelines.components import blocks_of
from yggdrasil.pipelines.workflows.describing import (
    common_placement,
    describe_component,
    describe_machine,
    describe_weights,
    has_own_weights,
    is_said,
    left_out_of,
    model_of,
    sources_of,
    store_state,
    versions,
)
from yggdrasil.pipelines.workflows.stores import PictureStore
from yggdrasil.pipelines.workflows.values import RandomState, encode, held

if TYPE_CHECKING:
    from yggdrasil.pipelines.workflows.schema import Workflow

__all__ = ["Declaration", "Origin"]

Placement = tuple[torch.device | None, torch.dtype | None]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Declaration:
    """What a file says of a graph, for as long as nobody edits it.

    Attributes:
        stamp: Changes with every edit.
        graph: As a graph file says it; None where it holds what no file says.
        reason: Why, then.
        model: The model of the whole.
        without: Its components that were left out.
        components: Where those come from that are not the model's.
        blocks: By path; weak, so that a result does not keep the models of a pipeline in memory.
        with_weights: Paths of those with weights that are no components.
    """

    stamp: tuple[object, ...]
    graph: Mapping[str, Any] | None
    reason: str
    model: ModelReference | None
    without: tuple[str, ...]
    components: Mapping[str, Mapping[str, Any]]
    blocks: Mapping[str, weakref.ref[AbstractBaseBlock]]
    with_weights: tuple[str, ...]

    @classmethod
    def of(
        cls, graph: ComputeGraph, library: Library | None, known: Declaration | None = None
    ) -> Declaration:
        """Describes a graph.

        Args:
            graph: It, its slots filled.
            library: The model of the whole.
            known: What was said before, which is given back where nothing was edited since.
        """
        stamp = _stamp_of(graph)
        if known is not None and known.stamp == stamp:
            return known
        data, reason = None, ""
        try:
            data = recorded_graph(graph)
        except GraphFileError as error:
            reason = str(error)
        blocks = dict(blocks_of(graph))
        told = {
            path: describe_component(slot, source, library)
            for path, slot, source in sources_of(blocks)
        }
        return cls(
            stamp=stamp,
            graph=data,
            reason=reason,
            model=model_of(library),
            without=left_out_of(library),
            components={path: each for path, each in told.items() if each is not None},
            blocks={path: weakref.ref(block) for path, block in blocks.items()},
            with_weights=tuple(path for path, block in blocks.items() if has_own_weights(block)),
        )

    def living(self) -> dict[str, AbstractBaseBlock]:
        """Gives the blocks that are still there."""
        found = ((path, block()) for path, block in self.blocks.items())
        return {path: block for path, block in found if block is not None}


@dataclass(slots=True, kw_only=True, eq=False)
class Origin:
    """A call, as it was before it ran.

    Attributes:
        declaration: Of the graph.
        task: The task that calls of the pipeline are for, if it is fixed.
        placement: Device and dtype of the models.
        memory: Options of memory that change numbers, as a file says them.
        call: The arguments that were given, copied.
        watched: What listened to the run and may have changed it.
        lost: What no file holds, by name, and why.
    """

    declaration: Declaration
    task: str | None
    placement: Placement
    memory: Mapping[str, Mapping[str, Any]]
    call: Mapping[str, Any]
    watched: tuple[str, ...]
    lost: Mapping[str, str]
    _told: tuple[Workflow, PictureStore] | None = field(default=None, init=False)

    @classmethod
    def take(
        cls,
        declaration: Declaration,
        call: Mapping[str, Any],
        *,
        task: str | None,
        placement: Placement,
        memory: Mapping[str, Mapping[str, Any]],
        watched: tuple[str, ...],
    ) -> Origin:
        """Takes a call down; it costs microseconds, and copies of the tensors and pictures given.

        Args:
            declaration: Of the graph that is about to run, its models loaded.
            call: The arguments; without ``seed`` and ``generator`` the state of PyTorch's own
                generators is taken down.
            task: See above.
            placement: What was set with ``to``.
            memory: See above.
            watched: See above.
        """
        given = {name: held(value) for name, value in call.items() if is_said(name, value)}
        lost = dict.fromkeys(
            declaration.with_weights,
            "its own weights went with the pipeline; save pictures while it is there",
        )
        if declaration.graph is None:
            lost["graph"] = declaration.reason
        try:
            placement = common_placement(declaration.living(), placement)
        except InputError as error:
            lost["dtype"] = str(error)
        if torch.is_autocast_enabled("cpu" if placement[0] is None else placement[0].type):
            lost["autocast"] = "it was on, which no file says; pipe.to(dtype=...) is kept"
        if "seed" not in given and "generator" not in given:
            given["generator"] = RandomState.now(placement[0])
        return cls(
            declaration=declaration,
            task=task,
            placement=placement,
            memory=memory,
            call=given,
            watched=watched,
            lost=lost,
        )

    def note_end(self, stopped_after: tuple[int, int | None] | None) -> None:
        """Takes down that a loop was ended before its time, which no file makes happen again.

        Args:
            stopped_after: The last step and how many there were to be, if so.
        """
        if stopped_after is not None:
            step, count = stopped_after
            told = f"it was stopped after step {step} of {'?' if count is None else count}"
            self.lost = {**self.lost, "the last steps": told}

    def tell(self) -> tuple[Workflow, PictureStore]:
        """Tells what was taken down, and what the weights are, when this is asked first.

        Returns:
            A workflow, which says under ``lost`` what cannot be told; and what is no text of it.
        """
        if self._told is None:
            self._told = self._tell()
        return self._told

    def _tell(self) -> tuple[Workflow, PictureStore]:
        # pydantic takes megabytes, and most results are never asked.
        from yggdrasil.pipelines.workflows.schema import (  # noqa: PLC0415
            ComponentOrigin,
            Model,
            Workflow,
        )

        store = PictureStore()
        inputs: dict[str, Any] = {}
        living = self.declaration.living()
        lost = {path: why for path, why in self.lost.items() if path not in living}
        for name, value in self.call.items():
            try:
                inputs[name] = encode(value, store, name)
            except InputError as error:
                lost[name] = str(error)
        device, dtype = self.placement
        model = self.declaration.model
        workflow = Workflow(
            workflow=1,
            graph=dict(self.declaration.graph or {}),
            task=self.task,
            model=None if model is None else Model.of(model),
            without=self.declaration.without,
            components={
                path: ComponentOrigin.model_validate(each)
                for path, each in self.declaration.components.items()
            },
            state=store_state(living, store),
            device=None if device is None else str(device),
            dtype=None if dtype is None else str(dtype).removeprefix("torch."),
            memory={method: dict(given) for method, given in self.memory.items()},
            inputs=inputs,
            weights=describe_weights(living),
            versions=dict(versions()),
            machine=describe_machine(device),
            watched=self.watched,
            lost=lost,
        )
        return workflow, store


def _stamp_of(graph: ComputeGraph) -> tuple[object, ...]:
    """Gives what changes when a graph, or one inside it, or what fills a slot is changed."""
    parts: list[object] = []
    waiting: list[Any] = [graph]
    while waiting:
        each = waiting.pop()
        parts += [id(each), each.version, each.name, each.rules, each.draws]
        parts += [repr(each.defaults), repr(each.tasks)]  # written to in place, without a trace
        for node in each.nodes.values():
            if node.block is not None:
                parts.append(node.block.components_version)
                if node.block.inner_graph is not None:
                    waiting.append(node.block.inner_graph)
    return tuple(parts)
