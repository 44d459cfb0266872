"""What was measured, as plain records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["ProfileReport", "VertexTime"]


@dataclass(frozen=True, slots=True, kw_only=True)
class VertexTime:
    """What one vertex of the graph took.

    Attributes:
        vertex: ``node.op``.
        type_name: The block's type, or its class where it has none.
        role: The block's role.
        loop: The loop that it stands in.
        calls: How often it ran.
        kept: How often the cache held its results instead.
        seconds: All calls together.
        held: Bytes of tensors and pictures in its results, of the call that gave most.
        peak: Most bytes that it took beyond what was held before; None where nobody could tell.
    """

    vertex: str
    type_name: str
    role: str
    loop: str | None
    calls: int
    kept: int
    seconds: float
    held: int
    peak: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileReport:
    """What runs took.

    Attributes:
        graph: What ran, by name.
        runs: How many runs.
        seconds: All of them together, from the loading of weights to the results.
        vertices: In the order in which they first ran.
    """

    graph: str
    runs: int
    seconds: float
    vertices: tuple[VertexTime, ...]

    @property
    def outside(self) -> float:
        """Seconds that no op took: loading weights, cache keys, observers, the engine itself."""
        return max(self.seconds - sum(each.seconds for each in self.vertices), 0.0)

    def as_dict(self) -> dict[str, Any]:
        """Gives the report as plain data, for JSON."""
        return {
            "graph": self.graph,
            "runs": self.runs,
            "seconds": self.seconds,
            "outside_ops": self.outside,
            "vertices": [
                {name: getattr(each, name) for name in VertexTime.__slots__}
                for each in self.vertices
            ],
        }
