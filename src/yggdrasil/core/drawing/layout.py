"""A layered layout: boxes in rows, every arrow from a row to one below it.

The steps are those of Sugiyama, Tagawa and Toda 1981, "Methods for visual understanding of
hierarchical system structures": rows by the longest path, invisible boxes where a long arrow passes
a row, few crossings by barycentres, and columns by least squares with boxes kept apart. Since long
arrows have places of their own in each row, nothing is drawn over a box.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

__all__ = ["Item", "Placed", "Route", "place"]

_BETWEEN = 26.0
_SWEEPS = 12
_STRAIGHT = 6.0


@dataclass(slots=True)
class Item:
    """Something to be placed.

    Attributes:
        width: Of the box.
        height: Likewise.
        entries: Where arrows from an item (its key) enter, from the left edge; the middle or a
            spread of places unless given.
        exits: Where arrows to an item leave.
        row: The row that it must stand in: 0 is the first, -1 the last; None for any.
    """

    width: float
    height: float
    entries: Mapping[int, float] = field(default_factory=dict)
    exits: Mapping[int, float] = field(default_factory=dict)
    row: int | None = None


Route = list[tuple[float, float]]
"""Points of an arrow: pairs of them on one vertical line within a row, curves between rows."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A finished layout.

    Attributes:
        corners: The upper left corner of each item.
        routes: For each arrow, by its ends.
        rows: For each item, its row.
        tops: For each row, its upper edge.
        bottoms: For each row, its lower edge.
        width: Of the whole.
        height: Likewise.
    """

    corners: list[tuple[float, float]]
    routes: dict[tuple[int, int], Route]
    rows: list[int]
    tops: list[float]
    bottoms: list[float]
    width: float
    height: float


def place(items: Sequence[Item], edges: Sequence[tuple[int, int]], gap: float) -> Placed:
    """Finds a place for every item and a way for every arrow.

    Args:
        items: What to place.
        edges: Arrows between items, by number; without circles.
        gap: Height of the space between rows.
    """
    rows = _rows(items, edges)
    grid = _Grid(items, edges, rows)
    grid.order()
    centres = grid.columns()
    heights = [max((grid.height(each) for each in row), default=0.0) for row in grid.layers]
    tops, bottoms, y = [], [], 0.0
    for height in heights:
        tops.append(y)
        bottoms.append(y + height)
        y += height + gap
    left = min((centres[e] - grid.width(e) / 2 for e in centres), default=0.0)
    right = max((centres[e] + grid.width(e) / 2 for e in centres), default=0.0)
    centres = {each: x - left for each, x in centres.items()}
    corners = [
        (centres[number, -1, 0] - item.width / 2, tops[rows[number]])
        for number, item in enumerate(items)
    ]
    routes = grid.routes(centres, tops, bottoms)
    return Placed(
        corners, routes, rows, tops, bottoms, right - left, bottoms[-1] if bottoms else 0.0
    )


def _rows(items: Sequence[Item], edges: Sequence[tuple[int, int]]) -> list[int]:
    """Gives each item's row: below all that feed it, sources as low as they can be."""
    before: dict[int, list[int]] = defaultdict(list)
    after: dict[int, list[int]] = defaultdict(list)
    for source, target in edges:
        before[target].append(source)
        after[source].append(target)
    waiting = [n for n in range(len(items)) if not before[n]]
    open_count = {n: len(before[n]) for n in range(len(items))}
    first = 1 if any(item.row == 0 for item in items) else 0
    rows = [0 if item.row == 0 else first for item in items]
    order: list[int] = []
    while waiting:
        number = waiting.pop()
        order.append(number)
        for target in after[number]:
            rows[target] = max(rows[target], rows[number] + 1)
            open_count[target] -= 1
            if not open_count[target]:
                waiting.append(target)
    for number in reversed(order):
        if after[number] and items[number].row is None and not before[number]:
            rows[number] = min(rows[target] for target in after[number]) - 1
    last = max((row for row, item in zip(rows, items, strict=True) if item.row != -1), default=-1)
    return [last + 1 if item.row == -1 else row for row, item in zip(rows, items, strict=True)]


_Cell = tuple[int, int, int]
"""An item ``(n, -1, 0)``, or the place ``(source, target, row)`` of an arrow that passes a row."""


class _Grid:
    """Rows of items and of the places where arrows pass."""

    def __init__(
        self, items: Sequence[Item], edges: Sequence[tuple[int, int]], rows: Sequence[int]
    ) -> None:
        self._items = items
        self._chains: dict[tuple[int, int], list[_Cell]] = {}
        self._rows = rows
        self.layers: list[list[_Cell]] = [[] for _ in range(max(rows, default=-1) + 1)]
        self._above: dict[_Cell, list[_Cell]] = defaultdict(list)
        self._below: dict[_Cell, list[_Cell]] = defaultdict(list)
        for number, row in enumerate(rows):
            self.layers[row].append((number, -1, 0))
        for source, target in edges:
            passing = [(source, target, row) for row in range(rows[source] + 1, rows[target])]
            chain: list[_Cell] = [(source, -1, 0), *passing, (target, -1, 0)]
            for cell in passing:
                self.layers[cell[2]].append(cell)
            for upper, lower in pairwise(chain):
                self._below[upper].append(lower)
                self._above[lower].append(upper)
            self._chains[source, target] = chain

    def width(self, cell: _Cell) -> float:
        return self._items[cell[0]].width if cell[1] < 0 else 8.0

    def height(self, cell: _Cell) -> float:
        return self._items[cell[0]].height if cell[1] < 0 else 0.0

    def order(self) -> None:
        """Orders each row so that few arrows cross."""
        best, crossings = [list(row) for row in self.layers], self._crossings()
        for sweep in range(_SWEEPS):
            down = sweep % 2 == 0
            sequence = range(1, len(self.layers))
            for row in sequence if down else reversed(range(len(self.layers) - 1)):
                near = self.layers[row - 1 if down else row + 1]
                places = {cell: place for place, cell in enumerate(near)}
                links = self._above if down else self._below
                mine = {cell: place for place, cell in enumerate(self.layers[row])}

                def weight(
                    cell: _Cell,
                    places: dict[_Cell, int] = places,
                    links: dict[_Cell, list[_Cell]] = links,
                    mine: dict[_Cell, int] = mine,
                ) -> float:
                    found = [places[each] for each in links[cell]]
                    return sum(found) / len(found) if found else float(mine[cell])

                self.layers[row].sort(key=weight)
            now = self._crossings()
            if now < crossings:
                best, crossings = [list(row) for row in self.layers], now
        self.layers = best

    def columns(self) -> dict[_Cell, float]:
        """Gives each cell's middle: near its neighbours', and never upon one another."""
        centres: dict[_Cell, float] = {}
        for row in self.layers:
            x = 0.0
            for cell in row:
                centres[cell] = x + self.width(cell) / 2
                x += self.width(cell) + _BETWEEN
        for sweep in range(_SWEEPS * 2):
            down = sweep % 2 == 0
            for row in self.layers if down else reversed(self.layers):
                wishes = []
                for cell in row:
                    near = (self._above if down else self._below)[cell] or [cell]
                    wishes.append(sum(centres[each] for each in near) / len(near))
                centres.update(zip(row, self._apart(row, wishes), strict=True))
        for row in self.layers:
            wishes = []
            for cell in row:
                near = [*self._above[cell], *self._below[cell]] or [cell]
                wishes.append(sum(centres[each] for each in near) / len(near))
            centres.update(zip(row, self._apart(row, wishes), strict=True))
        return centres

    def routes(
        self, centres: Mapping[_Cell, float], tops: Sequence[float], bottoms: Sequence[float]
    ) -> dict[tuple[int, int], Route]:
        """Gives the points of every arrow."""
        leaving, entering = self._ports(centres)
        routes: dict[tuple[int, int], Route] = {}
        for (source, target), chain in self._chains.items():
            row = self._rows[source]
            x = leaving[source, target]
            route = [(x, tops[row] + self._items[source].height), (x, bottoms[row])]
            for cell in chain[1:-1]:
                route += [(centres[cell], tops[cell[2]]), (centres[cell], bottoms[cell[2]])]
            route.append((entering[source, target], tops[self._rows[target]]))
            routes[source, target] = route
        return routes

    def _ports(
        self, centres: Mapping[_Cell, float]
    ) -> tuple[dict[tuple[int, int], float], dict[tuple[int, int], float]]:
        """Spreads the arrows of an item along its edge, in the order of where they lead."""
        leaving: dict[tuple[int, int], float] = {}
        entering: dict[tuple[int, int], float] = {}
        for number, item in enumerate(self._items):
            middle = centres[number, -1, 0]
            left = middle - item.width / 2
            for keys, fixed, result, end in (
                ([k for k in self._chains if k[0] == number], item.exits, leaving, 1),
                ([k for k in self._chains if k[1] == number], item.entries, entering, -2),
            ):
                at = {key: centres[self._chains[key][end]] for key in keys}
                keys.sort(key=at.__getitem__)
                step = max(0.0, min(26.0, (item.width - 24.0) / max(len(keys), 1)))
                for place_, key in enumerate(keys):
                    other = key[1] if end == 1 else key[0]
                    spread = middle + (place_ - (len(keys) - 1) / 2) * step
                    result[key] = left + fixed[other] if other in fixed else spread
        return leaving, entering

    def _apart(self, row: Sequence[_Cell], wishes: Sequence[float]) -> list[float]:
        """Gives the places nearest to the wishes that keep cells apart: pooled adjacent means."""
        offsets, x = [], 0.0
        for place_, cell in enumerate(row):
            if place_:
                x += (self.width(row[place_ - 1]) + self.width(cell)) / 2 + _BETWEEN
            offsets.append(x)
        pools: list[tuple[float, float, int]] = []
        for cell, wish, offset in zip(row, wishes, offsets, strict=True):
            # An arrow that runs straight is worth more than a box in the middle.
            pools.append((wish - offset, 1.0 if cell[1] < 0 else _STRAIGHT, 1))
            while len(pools) > 1 and pools[-2][0] >= pools[-1][0]:
                (value, weight, count), (other, more, before) = pools.pop(), pools.pop()
                mean = (value * weight + other * more) / (weight + more)
                pools.append((mean, weight + more, count + before))
        flat = [value for value, _, count in pools for _ in range(count)]
        return [value + offset for value, offset in zip(flat, offsets, strict=True)]

    def _crossings(self) -> int:
        total = 0
        for row in range(len(self.layers) - 1):
            places = {cell: place for place, cell in enumerate(self.layers[row + 1])}
            ends = [
                (place, places[lower])
                for place, upper in enumerate(self.layers[row])
                for lower in self._below[upper]
            ]
            if len(ends) > _COUNTED:
                continue
            total += sum(
                (a - c) * (b - d) < 0
                for number, (a, b) in enumerate(ends)
                for c, d in ends[number + 1 :]
            )
        return total


_COUNTED = 400
