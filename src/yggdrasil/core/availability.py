"""Availability: which ops can run, given some inputs; a least fixed point over the candidates."""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterable, Mapping
from typing import Any

from yggdrasil.core.errors import UnknownInputError, nearest
from yggdrasil.core.facts import declined
from yggdrasil.core.wiring import (
    Candidates,
    FromConstant,
    FromPort,
    Source,
    Vertex,
    Wiring,
)

__all__ = ["available_vertices", "can_be_had", "direct_ports", "fill_defaults"]


def direct_ports(wiring: Wiring, given: Iterable[str]) -> dict[tuple[Vertex, str], str]:
    """Maps inputs given as ``node.op.port`` or ``node.port`` to their ports.

    Args:
        wiring: The candidates.
        given: The names of the inputs given; names of graph inputs are passed over.

    Raises:
        UnknownInputError: A name is neither a graph input nor a port.
    """
    direct: dict[tuple[Vertex, str], str] = {}
    for name in given:
        if name in wiring.names:
            continue
        found = _ports_named(wiring, name)
        if not found:
            raise UnknownInputError(
                f"Graph {wiring.graph_name!r} has no input {name!r}.{nearest(name, wiring.names)}"
            )
        direct.update(dict.fromkeys(found, name))
    return direct


def fill_defaults(
    wiring: Wiring, defaults: Mapping[str, Any], values: Mapping[str, Any]
) -> dict[str, Any]:
    """Gives the inputs of a call with the graph's defaults under them.

    A default that no port reads is left out: it stays behind when its node is taken away.

    Args:
        wiring: The candidates.
        defaults: The graph's.
        values: The inputs given; None counts as not given.
    """
    filled = {
        name: value
        for name, value in defaults.items()
        if value is not None and (name in wiring.names or _ports_named(wiring, name))
    }
    filled.update({name: value for name, value in values.items() if value is not None})
    return filled


def _ports_named(wiring: Wiring, name: str) -> list[tuple[Vertex, str]]:
    """Gives the inputs called ``node.op.port`` or ``node.port``."""
    head, _, port = name.rpartition(".")
    node, _, op = head.rpartition(".")
    vertices: list[Vertex] = []
    if node in wiring.nodes:
        vertices = [Vertex(node, op)]
    if head in wiring.nodes:
        vertices += [Vertex(head, each) for each in wiring.nodes[head].ops]
    return [(vertex, port) for vertex in vertices if port in wiring.inputs.get(vertex, {})]


def available_vertices(
    wiring: Wiring, given: Container[str], direct: Container[tuple[Vertex, str]] = ()
) -> set[Vertex]:
    """Gives the vertices whose required inputs can all be had.

    Args:
        wiring: The candidates.
        given: The names of the inputs given.
        direct: The ports that are given a value by their own name.
    """
    missing: dict[Vertex, int] = {}
    waiting: dict[Vertex, list[tuple[Vertex, str]]] = {}
    for vertex, ports in wiring.inputs.items():
        if declined(wiring, vertex):
            continue
        missing[vertex] = 0
        for name, candidates in ports.items():
            if (vertex, name) not in direct and _is_open(candidates, given):
                missing[vertex] += 1
                for source in (source for choice in candidates.choices for source in choice):
                    if isinstance(source, FromPort):
                        waiting.setdefault(source.vertex, []).append((vertex, name))
    ready = deque(vertex for vertex, count in missing.items() if not count)
    available: set[Vertex] = set()
    satisfied: set[tuple[Vertex, str]] = set()
    while ready:
        vertex = ready.popleft()
        available.add(vertex)
        for target in set(waiting.get(vertex, ())) - satisfied:
            satisfied.add(target)
            missing[target[0]] -= 1
            if not missing[target[0]]:
                ready.append(target[0])
    return available


def _is_open(candidates: Candidates, given: Container[str]) -> bool:
    """Says whether an input must be had and no input of the call or default gives it."""
    return candidates.port.required and not any(
        can_be_had(source, given, ()) for choice in candidates.choices for source in choice
    )


def can_be_had(source: Source, given: Container[str], available: Container[Vertex]) -> bool:
    """Says whether a source gives a value.

    Args:
        source: A candidate.
        given: The names of the inputs given.
        available: The vertices that can run.
    """
    if isinstance(source, FromPort):
        return source.vertex in available
    return isinstance(source, FromConstant) or source.name in given
