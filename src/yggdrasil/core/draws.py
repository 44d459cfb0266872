"""The order of random draws: by data first, then by the family's list."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import combinations, pairwise, product

from yggdrasil.core.candidates import Vertex, Wiring
from yggdrasil.core.errors import InputError

__all__ = ["check_draws", "listed_draws", "staged_draws"]


def listed_draws(
    wiring: Wiring, drawing: Mapping[Vertex, Sequence[Vertex]]
) -> Iterator[tuple[Vertex, Vertex]]:
    """Gives the edges that put draws in the order of the families' lists.

    One generator gives its numbers in the order in which it is asked, so draws need one order, or
    the same seed would give other pictures from one version to the next. Each graph of a nest of
    stages orders what it holds.

    Args:
        wiring: For the lists and the nodes' roles.
        drawing: For each unit, its vertices that take a generator; units without any are skipped.

    Yields:
        Pairs of units, the first to be run before the second.
    """
    for scope, patterns in wiring.draws.items():
        places: dict[int, list[tuple[Vertex, str | None]]] = {}
        for unit, vertices in drawing.items():
            found = [_place(wiring, scope, patterns, vertex) for vertex in vertices]
            named = [each for each in found if each is not None]
            if named:
                place, group = min(named, key=lambda each: each[0])
                places.setdefault(place, []).append((unit, group))
        for alike in places.values():
            yield from _by_order(wiring, alike)
        for here, there in combinations(sorted(places), 2):
            for first, group in places[here]:
                for then, other in places[there]:
                    # Roles in one group say nothing of the roles in another.
                    if group == other or group is None or other is None:
                        yield first, then


def _by_order(
    wiring: Wiring, alike: Sequence[tuple[Vertex, str | None]]
) -> Iterator[tuple[Vertex, Vertex]]:
    """Gives the edges between units of one role: by the order of their nodes, where it differs."""
    for (first, group), (then, other) in product(alike, repeat=2):
        orders = (wiring.nodes[first.node].order, wiring.nodes[then.node].order)
        if group == other and orders[0] < orders[1]:
            yield first, then


def staged_draws(
    wiring: Wiring,
    drawing: Mapping[Vertex, Sequence[Vertex]],
    follows: Mapping[Vertex, AbstractSet[Vertex]],
) -> Iterator[tuple[Vertex, Vertex]]:
    """Gives the edges that put the draws of a stage behind those of the stages that it reads.

    As when one pipeline was called and then the next. Where the list of the graph around two
    stages names draws of both, it alone orders them.

    Args:
        wiring: For the lists and the nodes' scopes.
        drawing: As for ``listed_draws``.
        follows: For each unit, the units that read it or were listed behind it.

    Yields:
        Pairs of units, the first to be run before the second.
    """
    for scope, patterns in wiring.draws.items():
        prefix = f"{scope}." if scope else ""
        stages = {path for path in wiring.draws if path and path.rpartition(".")[0] == scope}
        if len(stages) < 2:
            continue
        place = {unit: _child(prefix, unit, stages) for unit in drawing}
        inside: dict[str, list[Vertex]] = {}
        listed: dict[str, bool] = {}
        for unit, vertices in drawing.items():
            stage = place[unit]
            if vertices and stage in stages:
                inside.setdefault(stage, []).append(unit)
                named = any(_place(wiring, scope, patterns, v) is not None for v in vertices)
                listed[stage] = listed.get(stage, False) or named
        reached = {stage: _reached(stage, place, follows) for stage in inside}
        for here, there in combinations(sorted(inside), 2):
            if listed[here] and listed[there]:
                continue
            for first, then in ((here, there), (there, here)):
                if then in reached[first] and first not in reached[then]:
                    yield from product(inside[first], inside[then])


def _child(prefix: str, unit: Vertex, stages: AbstractSet[str]) -> str:
    """Gives the stage of a scope that a unit is in, or a name of its own."""
    name = unit.node.removeprefix(prefix).partition(".")[0]
    path = prefix + name
    return path if unit.node.startswith(prefix) and path in stages else str(unit)


def _reached(
    start: str, place: Mapping[Vertex, str], follows: Mapping[Vertex, AbstractSet[Vertex]]
) -> set[str]:
    """Gives the stages and other places that data leads to from a stage."""
    beyond: dict[str, set[str]] = {}
    for unit, targets in follows.items():
        beyond.setdefault(place[unit], set()).update(place[target] for target in targets)
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        fresh = beyond.get(waiting.pop(), set()) - seen
        seen |= fresh
        waiting.extend(fresh)
    return seen


def check_draws(
    wiring: Wiring,
    drawing: Mapping[Vertex, Sequence[Vertex]],
    order: Sequence[Vertex],
    follows: Mapping[Vertex, AbstractSet[Vertex]],
) -> None:
    """Refuses draws that stand in an order which nothing demands.

    Args:
        wiring: For messages.
        drawing: As for ``listed_draws``.
        order: All units, in an order that data and lists allow.
        follows: For each unit, the units that must stand behind it.

    Raises:
        InputError: Two draws that neither data nor a list orders.
    """
    for first, then in pairwise([unit for unit in order if drawing[unit]]):
        if not _leads_to(follows, first, then):
            a, b = sorted((drawing[first][0], drawing[then][0]))
            raise InputError(
                f"{a} and {b} in graph {wiring.graph_name!r} both draw random numbers, and nothing "
                f"says which one first, so a seed would not decide the result. Name both in the "
                f"graph's draws, now {list(wiring.draws[''])}."
            )


def _place(
    wiring: Wiring, scope: str, patterns: Sequence[str], vertex: Vertex
) -> tuple[int, str | None] | None:
    """Gives a draw's place in the list of a graph around it, and the group it holds for."""
    node = wiring.nodes[vertex.node]
    prefix = f"{scope}." if scope else ""
    if not vertex.node.startswith(prefix):
        return None
    own = f"{vertex.node.removeprefix(prefix)}.{vertex.op}"
    heads = (node.role, *node.type_names) if node.scope == scope else ()
    names = {own, *(f"{head}.{vertex.op}" for head in heads)}
    for place, pattern in enumerate(patterns):
        if pattern in names:
            return place, None if pattern == own else node.group
    return None


def _leads_to(follows: Mapping[Vertex, AbstractSet[Vertex]], start: Vertex, goal: Vertex) -> bool:
    seen, waiting = {start}, [start]
    while waiting:
        vertex = waiting.pop()
        if vertex == goal:
            return True
        fresh = follows[vertex] - seen
        seen |= fresh
        waiting.extend(fresh)
    return False
