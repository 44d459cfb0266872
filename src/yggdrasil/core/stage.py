"""A stage: a graph as a block."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import ClassVar, Self

from torch import nn

from yggdrasil.core.block import AbstractBaseBlock
from yggdrasil.core.declaration import GraphLike
from yggdrasil.core.ports import OpSpec, Port
from yggdrasil.core.wiring import wire

__all__ = ["AbstractStage"]


class AbstractStage(AbstractBaseBlock):
    """Wraps a graph as one node of a larger one.

    Its one op, ``run``, has the graph's open inputs and exposed outputs as ports. The engine never
    calls it: stages are opened up when the graph around them is wired, so that availability,
    caching and freeing see through them.
    """

    role: ClassVar[str] = "stage"

    inner_graph: GraphLike

    @classmethod
    def of(cls, graph: GraphLike) -> Self:
        """Makes a stage of a graph; the graph is shared, and later edits to it are seen."""
        stage = cls()
        stage.inner_graph = graph
        return stage

    def named_children(self) -> Iterator[tuple[str, nn.Module]]:
        """Gives the blocks of the graph as it is now."""
        self._hold()
        return super().named_children()

    def named_modules(
        self,
        memo: set[nn.Module] | None = None,
        prefix: str = "",
        remove_duplicate: bool = True,  # noqa: FBT001, FBT002 - torch's signature
    ) -> Iterator[tuple[str, nn.Module]]:
        """Gives the stage and every module inside its graph as it is now."""
        self._hold()
        modules: Iterator[tuple[str, nn.Module]] = super().named_modules(
            memo, prefix, remove_duplicate
        )
        return modules

    def _hold(self) -> None:
        """Takes the graph's blocks as submodules, so that parameters() and to() find them."""
        blocks = {name: node.block for name, node in self.inner_graph.nodes.items()}
        self._modules.clear()
        # Not add_module, which refuses names that modules use themselves ("double", "half").
        self._modules.update({name: block for name, block in blocks.items() if block is not None})

    def ops(self) -> Mapping[str, OpSpec]:
        """Gives ``run``, with ports from the graph as it is now."""
        wiring = wire(self.inner_graph)
        inputs = {}
        for name, readers in wiring.names.items():
            if "." in name:
                continue
            ports = [wiring.inputs[vertex][port].port for vertex, port in readers]
            kinds = tuple(dict.fromkeys(kind for port in ports for kind in port.kinds))
            inputs[name] = Port(name, kinds, required=False)
        outputs = {
            name: Port(name, wiring.spec(source.vertex).outputs[source.port].kinds)
            for name, source in wiring.outputs.items()
            if "." not in name
        }
        run = OpSpec("run", MappingProxyType(inputs), MappingProxyType(outputs), several=True)
        return MappingProxyType({"run": run})
