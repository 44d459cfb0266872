"""References to ports as people write them: ``node.op.port``, with clear parts left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from yggdrasil.core.errors import ConnectError, nearest
from yggdrasil.core.ports import OpSpec

__all__ = ["PortRef", "find_inputs", "find_outputs"]


@dataclass(frozen=True, slots=True, order=True)
class PortRef:
    """One port of one op of one node."""

    node: str
    op: str
    port: str

    def __str__(self) -> str:
        """Gives ``node.op.port``."""
        return f"{self.node}.{self.op}.{self.port}"


class _HasOps(Protocol):
    name: str

    @property
    def nodes(self) -> Mapping[str, object]: ...
    def ops(self, name: str, /) -> Mapping[str, OpSpec]: ...


def find_outputs(graph: _HasOps, text: str) -> list[PortRef]:
    """Gives the outputs that a reference could mean; at least one.

    Raises:
        ConnectError: Nothing is called so.
    """
    return _find(graph, text, "outputs")


def find_inputs(graph: _HasOps, text: str) -> list[PortRef]:
    """Gives the inputs that a reference could mean; at least one.

    Raises:
        ConnectError: Nothing is called so.
    """
    return _find(graph, text, "inputs")


def _find(graph: _HasOps, text: str, side: Literal["inputs", "outputs"]) -> list[PortRef]:
    node, _, rest = text.partition(".")
    if node not in graph.nodes:
        raise ConnectError(
            f"{text!r}: graph {graph.name!r} has no node {node!r}.{nearest(node, graph.nodes)}"
        )
    refs = [
        PortRef(node, name, port)
        for name, spec in graph.ops(node).items()
        for port in getattr(spec, side)
    ]
    if not rest:
        found = refs
    else:
        # ``node.x`` is the op x if there is one (with all its ports), else every port called x.
        found = [ref for ref in refs if rest in (f"{ref.op}.{ref.port}", ref.op)]
        found = found or [ref for ref in refs if ref.port == rest]
    if not found:
        names = {f"{ref.op}.{ref.port}" for ref in refs} | {ref.op for ref in refs}
        hint = nearest(rest, names)
        raise ConnectError(
            f"{text!r}: node {node!r} of graph {graph.name!r} has no such {side[:-1]}.{hint}"
        )
    return found
