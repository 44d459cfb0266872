"""What a graph declares: nodes, explicit edges, and the view of a graph that wiring needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from yggdrasil.core.rules import Rule

if TYPE_CHECKING:  # graph files are read, and templates listed, without torch
    from yggdrasil.core.block import AbstractBaseBlock
    from yggdrasil.core.ports import OpSpec
    from yggdrasil.core.references import PortRef

__all__ = ["Edge", "GraphLike", "Node"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One declared part of a graph.

    Attributes:
        name: Unique in its graph.
        block: What it does; None for an alias, which uses another node's block.
        use: For an alias: the other node, or ``node.op`` for one of its ops alone.
        role: What rules know it as; the block's own role unless given.
        group: Rules look within a node's group, then among ungrouped nodes.
        order: Place among others where several feed one port or are spliced into one loop.
        auto_connect: Whether rules see the node, as source and as target.
        pretrained: Where the block's components are loaded from, for the layer that loads.
        components: Per slot, in place of ``pretrained``: a path or a configuration.
        inputs: Defaults for the node's ports, by port name.
        task: For a stage: the task of its graph that it is for.
        dtype: Of the block's models, in the place of the pipeline's: a name such as ``bfloat16``.
    """

    name: str
    block: AbstractBaseBlock | None
    use: str | None = None
    role: str | None = None
    group: str | None = None
    order: int = 0
    auto_connect: bool = True
    pretrained: str | None = None
    components: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, Any] = field(default_factory=dict)
    task: str | None = None
    dtype: str | None = None


@dataclass(frozen=True, slots=True)
class Edge:
    """An explicit edge, which beats the rules."""

    source: PortRef
    target: PortRef

    def __str__(self) -> str:
        """Gives ``source -> target``."""
        return f"{self.source} -> {self.target}"


class GraphLike(Protocol):
    """A graph as wiring reads it. ``ComputeGraph`` is the one that people edit."""

    name: str
    rules: tuple[Rule, ...]
    draws: tuple[str, ...]
    defaults: dict[str, Any]
    tasks: dict[str, Mapping[str, Any]]

    @property
    def nodes(self) -> Mapping[str, Node]:
        """The nodes by name."""
        ...

    @property
    def edges(self) -> tuple[Edge, ...]:
        """The explicit edges."""
        ...

    @property
    def inputs(self) -> Mapping[str, tuple[PortRef, ...]]:
        """The exposed inputs."""
        ...

    @property
    def outputs(self) -> Mapping[str, PortRef]:
        """The exposed outputs."""
        ...

    @property
    def version(self) -> int:
        """Grows with every edit."""
        ...

    def block(self, name: str) -> AbstractBaseBlock:
        """Gives the block of a node, through an alias too."""
        ...

    def ops(self, name: str) -> Mapping[str, OpSpec]:
        """Gives the ops of a node."""
        ...

    def role(self, name: str) -> str:
        """Gives the role that rules know a node by."""
        ...
