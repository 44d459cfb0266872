"""What wiring gives: for every input of every op, its candidate sources in order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from yggdrasil.core.flatten import FlatNode
from yggdrasil.core.ports import OpSpec, Port
from yggdrasil.core.rules import Mode

__all__ = [
    "Candidates",
    "FromConstant",
    "FromInput",
    "FromPort",
    "Source",
    "Vertex",
    "Wiring",
]


class Vertex(NamedTuple):
    """One op of one node: the vertex of the wired graph."""

    node: str
    op: str

    def __str__(self) -> str:
        """Gives ``node.op``."""
        return f"{self.node}.{self.op}"


@dataclass(frozen=True, slots=True)
class FromInput:
    """A graph input, by the name a call gives it."""

    name: str

    def __str__(self) -> str:
        """Gives ``$name``."""
        return f"${self.name}"


@dataclass(frozen=True, slots=True)
class FromPort:
    """An output of another vertex."""

    vertex: Vertex
    port: str

    def __str__(self) -> str:
        """Gives ``node.op.port``."""
        return f"{self.vertex}.{self.port}"


@dataclass(frozen=True, slots=True, eq=False)
class FromConstant:
    """A default that the node itself carries."""

    value: Any

    def __str__(self) -> str:
        """Shows the value."""
        return repr(self.value)


Source = FromInput | FromPort | FromConstant


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """What may feed one input.

    Attributes:
        port: The input.
        choices: In order of preference; each is one rule's source, which several nodes may match.
        reasons: For each choice, where it comes from: an edge, a rule, a name.
        absent: Rules' sources that no node of the graph matches, each with the number of choices
            that stand before it.
        carried: For the input that closes a loop: its sources from the second iteration on.
        until: The op of the same node that ends the loop.
    """

    port: Port
    choices: tuple[tuple[Source, ...], ...]
    reasons: tuple[str, ...]
    absent: tuple[tuple[int, str], ...] = ()
    carried: tuple[tuple[Source, ...], ...] = ()
    until: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """All candidates of a graph.

    Attributes:
        graph_name: For messages.
        mode: What it was wired for.
        nodes: The flat nodes by path.
        inputs: Candidates by vertex and port.
        names: The graph inputs, each with the ports that read it.
        outputs: The exposed outputs by name; those of stages as ``stage.name``.
        draws: For each graph of the nest, by path, its order of random draws, as patterns.
        patches: For each node that adapters change, by path, the adapters' paths in order.
    """

    graph_name: str
    mode: Mode
    nodes: Mapping[str, FlatNode]
    inputs: Mapping[Vertex, Mapping[str, Candidates]]
    names: Mapping[str, tuple[tuple[Vertex, str], ...]]
    outputs: Mapping[str, FromPort]
    draws: Mapping[str, tuple[str, ...]]
    patches: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def spec(self, vertex: Vertex) -> OpSpec:
        """Gives the op of a vertex."""
        return self.nodes[vertex.node].ops[vertex.op]
