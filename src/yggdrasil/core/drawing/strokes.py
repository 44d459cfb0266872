"""The geometry of strokes: paths through points, as SVG writes them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from yggdrasil.core.drawing.layout import Item, Placed, Route

__all__ = ["coord", "curve", "moved", "overlap", "rounded", "way_back"]


def way_back(
    placed: Placed, items: Sequence[Item], source: int, target: int, right: float, gap: float
) -> Route:
    """Leads from below one item around all others to above another."""
    low, high = placed.rows[source], placed.rows[target]
    from_x = placed.corners[source][0] + items[source].width * 0.72
    to_x = placed.corners[target][0] + items[target].width * 0.72
    down = placed.bottoms[low] + gap * 0.22
    up = placed.tops[high] - min(gap * 0.3, 15.0)
    start = placed.corners[source][1] + items[source].height
    return [(from_x, start), (from_x, down), (right, down), (right, up), (to_x, up),
            (to_x, placed.tops[high])]  # fmt: skip


def moved(route: Route, x: float, y: float) -> Route:
    """Gives a route, moved."""
    return [(a + x, b + y) for a, b in route]


def curve(points: Route) -> str:
    """Draws straight down within rows and in soft curves between them."""
    path = f"M{coord(points[0][0])} {coord(points[0][1])}"
    for (x0, y0), (x1, y1) in pairwise(points):
        if abs(x0 - x1) < 0.5:
            path += f" L{coord(x1)} {coord(y1)}"
        else:
            middle = (y0 + y1) / 2
            path += (
                f" C{coord(x0)} {coord(middle)} {coord(x1)} {coord(middle)} {coord(x1)} {coord(y1)}"
            )
    return path


def rounded(points: Route, radius: float = 8.0) -> str:
    """Draws along horizontal and vertical lines with round corners."""
    path = f"M{coord(points[0][0])} {coord(points[0][1])}"
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        a, b = _towards(corner, before, radius), _towards(corner, after, radius)
        stops = [f"{coord(x)} {coord(y)}" for x, y in (a, corner, b)]
        path += f" L{stops[0]} Q{stops[1]} {stops[2]}"
    return f"{path} L{coord(points[-1][0])} {coord(points[-1][1])}"


def _towards(
    start: tuple[float, float], end: tuple[float, float], most: float
) -> tuple[float, float]:
    length = math.dist(start, end)
    share = min(most, length / 2) / length if length else 0.0
    return (start[0] + (end[0] - start[0]) * share, start[1] + (end[1] - start[1]) * share)


def overlap(
    one: tuple[float, float, float, float], other: tuple[float, float, float, float]
) -> bool:
    """Says whether two rectangles (left, top, right, bottom) share a point."""
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def coord(value: float) -> str:
    """Writes a coordinate."""
    return f"{value:.1f}".removesuffix(".0")
