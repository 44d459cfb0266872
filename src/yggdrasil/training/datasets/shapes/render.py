"""Drawing scenes as pictures."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from yggdrasil.training.datasets.shapes.choice import choose
from yggdrasil.training.datasets.shapes.errors import ShapesError
from yggdrasil.training.datasets.shapes.geometry import (
    ANCHOR,
    BACKGROUND_RGB,
    COLOR_RGB,
    RADIUS,
    RELATION_ANCHORS,
    shape_mask,
)
from yggdrasil.training.datasets.shapes.scene import (
    Position,
    Scene,
    Size,
    backgrounds_for,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from yggdrasil.training.datasets.shapes.geometry import Floats, Point, Rgb

DEFAULT_SIZE: Final = 64
"""Width and height of a picture in pixels, unless asked otherwise."""

# The jitter keeps pictures from being a lookup table, yet stays well inside what the
# words mean: anchors lie 0.25 apart, and the radii of the two sizes differ by two thirds.
_CENTER_JITTER: Final = 0.03
_RADIUS_JITTER: Final = 0.07
_COLOR_JITTER: Final = 8
# Two items have no exact position across their relation, only along it.
_RELATION_JITTER: Final = (0.02, 0.08)


def render(
    scene: Scene, rng: np.random.Generator, *, size: int = DEFAULT_SIZE
) -> NDArray[np.uint8]:
    """Draw a scene.

    Args:
        scene: What to show; attributes not said are chosen at random.
        rng: Source of those choices and of the jitter.
        size: Width and height of the picture in pixels.

    Returns:
        RGB picture, shaped ``(size, size, 3)``.

    Raises:
        ShapesError: If ``size`` is not positive.
    """
    if size < 1:
        raise ShapesError(f"size must be positive, not {size}")
    scene = complete(scene, rng)
    if scene.background is None:
        raise AssertionError("a completed scene has a background")
    ground = _jittered_color(BACKGROUND_RGB[scene.background], rng)
    canvas: Floats = np.broadcast_to(ground, (size, size, 3)).copy()
    for item, center in zip(scene.items, _centers(scene, rng), strict=True):
        paint = _jittered_color(COLOR_RGB[item.color], rng)
        radius = RADIUS[item.size or Size.SMALL] * (1 + rng.uniform(-1, 1) * _RADIUS_JITTER)
        cover = shape_mask(item.shape, center=center, radius=radius, size=size)[..., None]
        canvas += cover * (paint - canvas)
    return np.rint(canvas).astype(np.uint8)


def complete(scene: Scene, rng: np.random.Generator) -> Scene:
    """Return the scene with everything said, choosing at random what was not.

    Args:
        scene: A scene, complete or not.
        rng: Source of the choices.

    Returns:
        A scene for which :attr:`Scene.is_complete` holds.
    """
    lone = scene.relation is None
    items = tuple(
        replace(
            item,
            size=item.size or choose(tuple(Size), rng),
            position=(item.position or choose(tuple(Position), rng)) if lone else None,
        )
        for item in scene.items
    )
    free = backgrounds_for(*(item.color for item in scene.items))
    return replace(scene, items=items, background=scene.background or choose(free, rng))


def _centers(scene: Scene, rng: np.random.Generator) -> tuple[Point, ...]:
    if scene.relation is None:
        return tuple(
            _shifted(ANCHOR[item.position or Position.CENTER], (_CENTER_JITTER,) * 2, rng)
            for item in scene.items
        )
    first, second = RELATION_ANCHORS[scene.relation]
    along, across = _RELATION_JITTER
    reach = (along, across) if first[1] == second[1] else (across, along)
    return _shifted(first, reach, rng), _shifted(second, reach, rng)


def _shifted(anchor: Point, reach: tuple[float, float], rng: np.random.Generator) -> Point:
    dx, dy = rng.uniform(-1, 1, size=2)
    return anchor[0] + float(dx) * reach[0], anchor[1] + float(dy) * reach[1]


def _jittered_color(rgb: Rgb, rng: np.random.Generator) -> Floats:
    shift = rng.uniform(-_COLOR_JITTER, _COLOR_JITTER, size=3)
    return np.clip(np.asarray(rgb) + shift, 0, 255).astype(np.float32)
