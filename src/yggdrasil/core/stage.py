"""A stage: a graph as a block."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Self

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
        # Submodules, so that parameters() of a pipeline of stages finds the weights inside.
        for name, node in graph.nodes.items():
            if node.block is not None:
                stage.add_module(name, node.block)
        return stage

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
