"""Which ops of a node are drawn as one box: those that can be, without closing a circle."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from yggdrasil.core.candidates import Vertex

__all__ = ["group_ops"]


def group_ops(
    order: Sequence[Vertex],
    edges: Iterable[tuple[Vertex, Vertex]],
    loop_of: Mapping[Vertex, int],
) -> list[tuple[Vertex, ...]]:
    """Groups the ops of each node, inside and outside loops apart.

    An encoder's two ops become one box; a codec that encodes before a loop and decodes behind it is
    drawn twice.

    Args:
        order: All ops, in an order that data allows.
        edges: Who feeds whom, without edges that loops carry.
        loop_of: The loop of each op that stands in one.

    Returns:
        The groups, in the order of their first ops.
    """
    pairs = list(edges)
    groups: list[list[Vertex]] = []
    by_node: dict[tuple[str, int | None], list[Vertex]] = defaultdict(list)
    for vertex in order:
        by_node[vertex.node, loop_of.get(vertex)].append(vertex)
    # Outside, a whole loop is one thing.
    name: dict[Vertex, object] = {v: loop_of.get(v, v) for v in order}
    inner: dict[Vertex, object] = {v: v for v in order}
    for (_, loop), vertices in by_node.items():
        seen = name if loop is None else inner
        mine: list[list[Vertex]] = []
        for vertex in vertices:
            for group in mine:
                if _may_join(pairs, seen, group[0], vertex):
                    group.append(vertex)
                    seen[vertex] = seen[group[0]]
                    break
            else:
                mine.append([vertex])
        groups += mine
    place = {vertex: number for number, vertex in enumerate(order)}
    return [tuple(group) for group in sorted(groups, key=lambda group: place[group[0]])]


def _may_join(
    pairs: Iterable[tuple[Vertex, Vertex]],
    name: Mapping[Vertex, object],
    one: Vertex,
    other: Vertex,
) -> bool:
    """Says whether no way leads from one to the other over a third."""
    follows: dict[object, set[object]] = defaultdict(set)
    for source, target in pairs:
        if name[source] != name[target]:
            follows[name[source]].add(name[target])
    for start, goal in ((name[one], name[other]), (name[other], name[one])):
        seen: set[object] = {start}
        waiting = [each for each in follows[start] if each != goal]
        while waiting:
            each = waiting.pop()
            if each == goal:
                return False
            if each not in seen:
                seen.add(each)
                waiting.extend(follows[each])
    return True
