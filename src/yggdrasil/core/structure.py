"""The structure of a graph: what could run if every input were given."""

from __future__ import annotations

from collections.abc import Iterable

from yggdrasil.core.availability import available_vertices, can_be_had
from yggdrasil.core.candidates import Candidates, FromInput, FromPort, Source, Vertex, Wiring
from yggdrasil.core.selection import Selection

__all__ = ["reachable_vertices", "select_structure"]


def reachable_vertices(wiring: Wiring) -> set[Vertex]:
    """Gives the vertices that could run if every named input were given."""
    return available_vertices(wiring, wiring.names)


def select_structure(
    wiring: Wiring,
    targets: Iterable[Vertex],
    available: set[Vertex],
    *,
    alternatives: bool = False,
) -> Selection:
    """Selects what leads to some vertices, an op before an input of the call where both could be.

    Args:
        wiring: The candidates.
        targets: Where to begin.
        available: The vertices that could run.
        alternatives: Whether to take in the other ops of a chosen node that could give the same: a
            text encoder encodes a prompt, or adopts embeddings.
    """
    selection = Selection()
    waiting = [vertex for vertex in targets if vertex in available]
    while waiting:
        vertex = waiting.pop()
        if vertex in selection.chosen:
            continue
        ports: dict[str, tuple[Source, ...]] = {}
        for name, candidates in wiring.inputs[vertex].items():
            sources = _first(wiring, candidates, available, alternatives=alternatives)
            if sources:
                ports[name] = sources
                waiting.extend(each.vertex for each in sources if isinstance(each, FromPort))
            for choice in candidates.carried:
                source = next(
                    (s for s in choice if isinstance(s, FromPort) and s.vertex in available), None
                )
                if source is not None:
                    selection.carried[vertex] = (name, source)
                    waiting.append(source.vertex)
                    if candidates.until is not None:
                        selection.until[vertex] = Vertex(vertex.node, candidates.until)
                    break
        selection.chosen[vertex] = ports
    return selection


def _first(
    wiring: Wiring, candidates: Candidates, available: set[Vertex], *, alternatives: bool
) -> tuple[Source, ...]:
    """Gives the sources of an input: the first choice of ports, else the first of all."""
    choices = [
        tuple(each for each in choice if can_be_had(each, wiring.names, available))
        for choice in candidates.choices
    ]
    choices = [choice for choice in choices if choice]
    if candidates.port.many:
        return tuple(dict.fromkeys(each for choice in choices for each in choice))
    ports = [choice for choice in choices if not isinstance(choice[0], FromInput)]
    first = next(iter([*ports, *choices]), ())
    if alternatives and first and isinstance(first[0], FromPort):
        node = first[0].vertex.node
        return tuple(
            each
            for choice in ports
            for each in choice
            if isinstance(each, FromPort) and each.vertex.node == node
        )
    return first
