"""Few cells that still show every pair of values of every two axes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple
from typing import Any

__all__ = ["Pair", "covering_pairs", "pairs_of"]

Pair = tuple[int, str, int, str]
"""Two axes, by number, and a value of each."""


def covering_pairs(
    cells: Iterable[Any], counts: Callable[[Pair], bool] = lambda _: True
) -> list[Any]:
    """Chooses cells greedily until each pair of values that any cell has is in a chosen one.

    Args:
        cells: Dataclasses, one field an axis.
        counts: Says which pairs are to be covered; all unless given.
    """
    rest = {cell: {pair for pair in pairs_of(cell) if counts(pair)} for cell in sorted(cells)}
    wanted = set().union(*rest.values())
    chosen = []
    while wanted:
        best = max(rest, key=lambda cell: len(rest[cell] & wanted))
        wanted -= rest.pop(best)
        chosen.append(best)
    return chosen


def pairs_of(cell: Any) -> set[Pair]:
    """Gives every pair of values of a cell."""
    values: Sequence[str] = astuple(cell)
    return {(i, values[i], j, values[j]) for i, j in itertools.combinations(range(len(values)), 2)}
