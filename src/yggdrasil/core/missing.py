"""What to say when an output cannot be reached: the missing input, at its root."""

from __future__ import annotations

from collections.abc import Container, Iterator

from yggdrasil.core.availability import can_be_had
from yggdrasil.core.candidates import Candidates, FromInput, FromPort, Vertex, Wiring

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
    goal = f"Output {name!r} of graph {wiring.graph_name!r}"
    # Depth first, so that the trail to each vertex is the way that led to it.
    waiting: list[tuple[Vertex, ...]] = [(target.vertex,)]
    seen: set[Vertex] = set()
    dead_end = ""
    while waiting:
        trail = waiting.pop()
        vertex = trail[-1]
        if vertex in seen:
            continue
        seen.add(vertex)
        lacking = _lacking(wiring, given, direct, available, vertex)
        if lacking is None:
            declined = f"{vertex} does not apply to the models in the graph"
            dead_end = dead_end or f"{goal} cannot be had: {declined}."
            continue
        where = f"{vertex}.{lacking.port.name} ({' or '.join(map(str, lacking.port.kinds))})"
        way = " <- ".join(map(str, trail))
        # Where an op has got some of what it needs, it is the one that was meant.
        onward = sorted(_onward(lacking), key=lambda each: -_given_to(wiring, given, each))
        asked = _input_name(lacking)
        if asked is not None and not onward:
            return (
                f"{goal} needs the input {asked!r}, which was not given: {where} reads it ({way}). "
                f"Give {asked}=..."
            )
        if not onward and not dead_end:
            dead_end = (
                f"{goal} needs {where}, and no node gives it ({way}). Add a node whose output is "
                f"{lacking.port.kinds[0]}, or "
                f"graph.connect('...', '{vertex}.{lacking.port.name}')."
            )
        waiting.extend((*trail, each) for each in reversed(onward))
    return dead_end


def _lacking(
    wiring: Wiring,
    given: Container[str],
    direct: Container[tuple[Vertex, str]],
    available: Container[Vertex],
    vertex: Vertex,
) -> Candidates | None:
    """Gives the first required input of a vertex that cannot be had."""
    for port, candidates in wiring.inputs[vertex].items():
        sources = (source for choice in candidates.choices for source in choice)
        if (
            candidates.port.required
            and (vertex, port) not in direct
            and not any(can_be_had(source, given, available) for source in sources)
        ):
            return candidates
    return None


def _given_to(wiring: Wiring, given: Container[str], vertex: Vertex) -> int:
    """Counts the required inputs of a vertex that the caller gives."""
    return sum(
        any(isinstance(s, FromInput) and s.name in given for choice in each.choices for s in choice)
        for each in wiring.inputs[vertex].values()
        if each.port.required
    )


def _input_name(candidates: Candidates) -> str | None:
    """Gives the plainest name of what is wanted first: not that of one stage, but of all."""
    found = [
        (reason, source.name)
        for choice, reason in zip(candidates.choices, candidates.reasons, strict=True)
        for source in choice
        if isinstance(source, FromInput)
    ]
    names = [name for reason, name in found if reason == found[0][0]]
    return names[-1] if names else None


def _onward(candidates: Candidates) -> Iterator[Vertex]:
    """Gives the ops that could feed an input, the likeliest first.

    Of the node that is wanted first it is the last op: an encoder rather takes a prompt than adopts
    embeddings.
    """
    ports = [s for choice in candidates.choices for s in choice if isinstance(s, FromPort)]
    first = [each.vertex for each in ports if each.vertex.node == ports[0].vertex.node]
    yield from reversed(first)
    yield from (each.vertex for each in ports if each.vertex not in first)
