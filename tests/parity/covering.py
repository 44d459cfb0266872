"""Few cells that still show every pair of values of every two axes."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import astuple
from typing import Any

__all__ = ["covering_pairs"]


def covering_pairs(cells: Iterable[Any]) -> list[Any]:
    """Chooses cells greedily until each pair of values that any cell has is in a chosen one.

    Args:
        cells: Dataclasses, one field an axis.
    """
    rest = sorted(cells)
    wanted = set().union(*(_pairs(astuple(cell)) for cell in rest))
    chosen = []
    while wanted:
        best = max(rest, key=lambda cell: len(_pairs(astuple(cell)) & wanted))
        wanted -= _pairs(astuple(best))
        chosen.append(best)
        rest.remove(best)
    return chosen


def _pairs(values: Sequence[str]) -> set[tuple[int, str, int, str]]:
    return {(i, values[i], j, values[j]) for i, j in itertools.combinations(range(len(values)), 2)}
