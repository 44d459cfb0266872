"""What to say when an output cannot be reached: the missing input, at its root."""

from __future__ import annotations

from collections.abc import Container

from yggdrasil.core.availability import can_be_had
from yggdrasil.core.wiring import FromInput, FromPort, Vertex, Wiring

__all__ = ["explain_missing"]


def explain_missing(
    wiring: Wiring,
    given: Container[str],
    direct: Container[tuple[Vertex, str]],
    available: Container[Vertex],
    name: str,
    target: FromPort,
) -> str:
    """Follows what is missing down to an input that could be given.

    Args:
        wiring: The candidates.
        given: The names of the inputs given.
        direct: The ports that are given a value by their own name.
        available: The vertices that can run; the target's is not among them.
        name: What the output is called.
        target: The port that it stands for.

    Returns:
        The message of the error.
    """
    vertex, seen, trail = target.vertex, set[Vertex](), [str(target.vertex)]
    while True:
        seen.add(vertex)
        lacking = next(
            candidates
            for port, candidates in wiring.inputs[vertex].items()
            if candidates.port.required
            and (vertex, port) not in direct
            and not any(
                can_be_had(source, given, available)
                for choice in candidates.choices
                for source in choice
            )
        )
        sources = [source for choice in lacking.choices for source in choice]
        inputs = [source.name for source in sources if isinstance(source, FromInput)]
        where = f"{vertex}.{lacking.port.name} ({lacking.port.kinds[0]})"
        way = " <- ".join(trail)
        if inputs:
            return (
                f"Output {name!r} of graph {wiring.graph_name!r} needs the input {inputs[-1]!r}, "
                f"which was not given: {where} reads it ({way}). Give {inputs[-1]}=..."
            )
        onward = [
            source.vertex
            for source in reversed(sources)
            if isinstance(source, FromPort) and source.vertex not in seen
        ]
        if not onward:
            return (
                f"Output {name!r} of graph {wiring.graph_name!r} needs {where}, and no node gives "
                f"it ({way}). Add a node whose output is {lacking.port.kinds[0]}, or "
                f"graph.connect('...', '{vertex}.{lacking.port.name}')."
            )
        vertex = onward[0]
        trail.append(str(vertex))
