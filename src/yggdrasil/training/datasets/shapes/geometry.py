"""Where words put things: palette, anchors, radii, and the outlines of shapes.

All lengths are fractions of the side of the picture; the renderer and the checker
share these figures, so that a word means the same to both.
"""

from __future__ import annotations

import math
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from yggdrasil.training.datasets.shapes.scene import (
    Background,
    Color,
    Position,
    Relation,
    Shape,
    Size,
)

Rgb: TypeAlias = tuple[int, int, int]
Point: TypeAlias = tuple[float, float]
Floats: TypeAlias = NDArray[np.float32]

COLOR_RGB: Final[dict[Color, Rgb]] = {
    Color.RED: (222, 36, 40),
    Color.GREEN: (30, 156, 60),
    Color.BLUE: (36, 82, 220),
    Color.YELLOW: (250, 216, 36),
    Color.ORANGE: (246, 132, 20),
    Color.PURPLE: (142, 48, 176),
    Color.WHITE: (248, 248, 248),
    Color.BLACK: (18, 18, 20),
}
BACKGROUND_RGB: Final[dict[Background, Rgb]] = {
    Background.WHITE: COLOR_RGB[Color.WHITE],
    Background.BLACK: COLOR_RGB[Color.BLACK],
    Background.GRAY: (132, 134, 138),
    Background.YELLOW: COLOR_RGB[Color.YELLOW],
    Background.BLUE: COLOR_RGB[Color.BLUE],
    Background.PINK: (250, 170, 196),
}
ANCHOR: Final[dict[Position, Point]] = {
    Position.LEFT: (0.25, 0.5),
    Position.RIGHT: (0.75, 0.5),
    Position.TOP: (0.5, 0.25),
    Position.BOTTOM: (0.5, 0.75),
    Position.CENTER: (0.5, 0.5),
}
RELATION_ANCHORS: Final[dict[Relation, tuple[Point, Point]]] = {
    Relation.LEFT_OF: (ANCHOR[Position.LEFT], ANCHOR[Position.RIGHT]),
    Relation.RIGHT_OF: (ANCHOR[Position.RIGHT], ANCHOR[Position.LEFT]),
    Relation.ABOVE: (ANCHOR[Position.TOP], ANCHOR[Position.BOTTOM]),
    Relation.BELOW: (ANCHOR[Position.BOTTOM], ANCHOR[Position.TOP]),
}
RADIUS: Final[dict[Size, float]] = {Size.SMALL: 0.12, Size.LARGE: 0.20}
"""Half the width of the box around an item."""

_SUPERSAMPLING: Final = 4
_STAR_WAIST: Final = 0.46
_CROSS_ARM: Final = 0.34
_CURVE_POINTS: Final = 72


def outline(shape: Shape) -> NDArray[np.float64]:
    """Return the corners of a shape, centered in the box from -1 to 1 and touching it."""
    points = _RAW_OUTLINES[shape]
    low, high = points.min(axis=0), points.max(axis=0)
    return np.asarray((points - (low + high) / 2) / ((high - low).max() / 2))


def shape_mask(shape: Shape, *, center: Point, radius: float, size: int) -> Floats:
    """Return how much of each pixel a shape covers.

    Args:
        shape: The shape to draw.
        center: Center of the box around it, as fractions of the side (x, y).
        radius: Half the longer side of that box, as a fraction of the side.
        size: Width and height of the mask in pixels.

    Returns:
        Coverage from 0 to 1, shaped ``(size, size)``.
    """
    side = size * _SUPERSAMPLING
    corners = (OUTLINES[shape] * radius + np.asarray(center)) * side - 0.5
    canvas = Image.new("L", (side, side), 0)
    ImageDraw.Draw(canvas).polygon([(float(x), float(y)) for x, y in corners], fill=255)
    small = canvas.reduce(_SUPERSAMPLING)
    return np.asarray(small, dtype=np.float32) / np.float32(255)


def _star() -> NDArray[np.float64]:
    angles = np.arange(10) * math.pi / 5 - math.pi / 2
    reach = np.where(np.arange(10) % 2 == 0, 1.0, _STAR_WAIST)
    return np.stack([reach * np.cos(angles), reach * np.sin(angles)], axis=1)


def _circle() -> NDArray[np.float64]:
    angles = np.linspace(0, 2 * math.pi, _CURVE_POINTS, endpoint=False)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _heart() -> NDArray[np.float64]:
    t = np.linspace(0, 2 * math.pi, _CURVE_POINTS, endpoint=False)
    x = 16 * np.sin(t) ** 3
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([x, -y], axis=1)


def _cross() -> NDArray[np.float64]:
    a = _CROSS_ARM
    quarter = np.asarray([(a, -1.0), (a, -a), (1.0, -a)])
    turn = np.asarray([[0.0, 1.0], [-1.0, 0.0]])
    parts = [quarter]
    for _ in range(3):
        parts.append(parts[-1] @ turn)
    return np.concatenate(parts)


_RAW_OUTLINES: Final[dict[Shape, NDArray[np.float64]]] = {
    Shape.CIRCLE: _circle(),
    Shape.SQUARE: np.asarray([(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)]),
    Shape.TRIANGLE: np.asarray([(0.0, -1.0), (1.0, 0.8), (-1.0, 0.8)]),
    Shape.STAR: _star(),
    Shape.CROSS: _cross(),
    Shape.HEART: _heart(),
}
OUTLINES: Final[dict[Shape, NDArray[np.float64]]] = {shape: outline(shape) for shape in Shape}
"""Corners of each shape, in order, in the box from -1 to 1."""
