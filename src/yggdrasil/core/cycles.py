"""Strongly connected components, iteratively: graphs of thousands of nodes are normal."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import TypeVar

__all__ = ["strongly_connected"]

V = TypeVar("V", bound=Hashable)


def strongly_connected(  # noqa: C901 - the algorithm is one piece
    edges: Mapping[V, Iterable[V]],
) -> list[tuple[V, ...]]:
    """Gives the strongly connected components of a directed graph.

    Args:
        edges: For each vertex the vertices it points to; every vertex is a key.

    Returns:
        The components, each after those it points to (reverse topological order).

    Source:
        Tarjan 1972, "Depth-first search and linear graph algorithms", with an explicit stack.
    """
    index: dict[V, int] = {}
    low: dict[V, int] = {}
    stack: list[V] = []
    on_stack: set[V] = set()
    components: list[tuple[V, ...]] = []
    for root in edges:
        if root in index:
            continue
        work: list[tuple[V, Iterator[V]]] = [(root, iter(edges[root]))]
        index[root] = low[root] = len(index)
        stack.append(root)
        on_stack.add(root)
        while work:
            vertex, successors = work[-1]
            for successor in successors:
                if successor not in index:
                    index[successor] = low[successor] = len(index)
                    stack.append(successor)
                    on_stack.add(successor)
                    work.append((successor, iter(edges[successor])))
                    break
                if successor in on_stack:
                    low[vertex] = min(low[vertex], index[successor])
            else:
                work.pop()
                if work:
                    parent = work[-1][0]
                    low[parent] = min(low[parent], low[vertex])
                if low[vertex] == index[vertex]:
                    component = []
                    while True:
                        member = stack.pop()
                        on_stack.discard(member)
                        component.append(member)
                        if member == vertex:
                            break
                    components.append(tuple(component))
    return components
