"""What planning chose to run, before it is put in order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from yggdrasil.core.plan import Guard
from yggdrasil.core.wiring import FromPort, Source, Vertex

__all__ = ["Selection"]


@dataclass(slots=True)
class Selection:
    """What was chosen to run.

    Attributes:
        chosen: For each selected vertex and port, its sources (several where it takes many).
        carried: For each input that closes a loop, its source from the second iteration on.
        until: For the vertex of such an input, the op that ends the loop.
        facts: Values of outputs that are known from configuration.
        guards: What blocks were asked.
        still: Vertices whose blocks said that they draw nothing, whatever generator there is.
        unread: Given inputs that nothing reads.
    """

    chosen: dict[Vertex, dict[str, tuple[Source, ...]]] = field(default_factory=dict)
    carried: dict[Vertex, tuple[str, FromPort]] = field(default_factory=dict)
    until: dict[Vertex, Vertex] = field(default_factory=dict)
    facts: dict[FromPort, Any] = field(default_factory=dict)
    guards: list[Guard] = field(default_factory=list)
    still: set[Vertex] = field(default_factory=set)
    unread: frozenset[str] = frozenset()
