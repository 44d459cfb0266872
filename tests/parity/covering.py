"""Few cells that still show all that is to be seen."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import TypeVar

__all__ = ["covering"]

C = TypeVar("C", bound=Hashable)


def covering(cells: Iterable[C], shows: Callable[[C], set[Hashable]]) -> list[C]:
    """Chooses cells greedily until all that any cell shows is shown by a chosen one.

    Args:
        cells: Of those that show as much, the first is taken.
        shows: Says what a cell shows.
    """
    rest = {cell: shows(cell) for cell in cells}
    wanted = set().union(*rest.values())
    chosen = []
    while wanted:
        best = max(rest, key=lambda cell: len(rest[cell] & wanted))
        wanted -= rest.pop(best)
        chosen.append(best)
    return chosen
