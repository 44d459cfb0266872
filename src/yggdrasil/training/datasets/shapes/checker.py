"""Judging whether a picture shows the scene that was asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from itertools import permutations
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image

from yggdrasil.training.datasets.shapes.errors import ShapesError
from yggdrasil.training.datasets.shapes.geometry import ANCHOR, RADIUS
from yggdrasil.training.datasets.shapes.perception import SeenItem, perceive
from yggdrasil.training.datasets.shapes.scene import Position, Relation, Size

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from yggdrasil.training.datasets.shapes.geometry import Point
    from yggdrasil.training.datasets.shapes.perception import SeenScene
    from yggdrasil.training.datasets.shapes.scene import Item, Scene

# Half way to the next anchor is 0.125; the renderer itself strays by 0.03.
_NEAR_ANCHOR: Final = 0.09
# Half way between small and large (as a ratio), and as far again to the outside.
_SIZE_RATIO: Final = math.sqrt(RADIUS[Size.LARGE] / RADIUS[Size.SMALL])
# Two items are beside each other when they are farther apart along the relation than
# across it, and by more than a small item is wide.
_LEAST_APART: Final = 2 * RADIUS[Size.SMALL]


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """Which parts of a scene a picture shows rightly.

    What the scene does not say is right whatever the picture shows.  If the number of
    objects is wrong, everything but the background is wrong.

    Attributes:
        color: Whether every item has its color.
        shape: Whether every item has its shape.
        size: Whether every item has its size.
        position: Whether the item stands where it should.
        background: Whether the background is even and of the right color.
        relation: Whether the first of two items stands to the second as it should.
    """

    color: bool
    shape: bool
    size: bool
    position: bool
    background: bool
    relation: bool

    @property
    def is_right(self) -> bool:
        """Whether the picture shows everything that was asked for."""
        return all(getattr(self, field.name) for field in fields(self))


def check(picture: Image.Image | NDArray[np.uint8], scene: Scene) -> Verdict:
    """Say for each part of a scene whether a picture shows it.

    Args:
        picture: A square picture of any size; arrays are ``(side, side, 3)`` RGB.
        scene: What was asked for.

    Returns:
        One answer for each attribute.

    Raises:
        ShapesError: If the picture is not a square RGB one.
    """
    seen = perceive(_array(picture))
    background = scene.background is None or seen.background == scene.background
    if len(seen.items) != len(scene.items):
        return Verdict(
            color=False,
            shape=False,
            size=False,
            position=False,
            background=background,
            relation=False,
        )
    items = _matched(seen, scene)
    pairs = tuple(zip(items, scene.items, strict=True))
    return Verdict(
        color=all(found.color == asked.color for found, asked in pairs),
        shape=all(found.shape == asked.shape for found, asked in pairs),
        size=all(_has_size(found, asked.size) for found, asked in pairs),
        position=all(_stands_at(found, asked.position) for found, asked in pairs),
        background=background,
        relation=scene.relation is None or _stand_as(items, scene.relation),
    )


def _array(picture: Image.Image | NDArray[np.uint8]) -> NDArray[np.uint8]:
    if isinstance(picture, Image.Image):
        picture = np.asarray(picture.convert("RGB"))
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise ShapesError("expected an RGB picture of bytes, shaped (side, side, 3)")
    if picture.shape[0] != picture.shape[1]:
        raise ShapesError(f"expected a square picture, not {picture.shape[1]}x{picture.shape[0]}")
    return picture


def _matched(seen: SeenScene, scene: Scene) -> tuple[SeenItem, ...]:
    """Return the found items in the order of the asked ones, whichever way fits best."""
    return max(
        permutations(seen.items),
        key=lambda order: sum(
            _likeness(found, asked) for found, asked in zip(order, scene.items, strict=True)
        ),
    )


def _likeness(found: SeenItem, asked: Item) -> int:
    return (found.color == asked.color) + (found.shape == asked.shape)


def _has_size(found: SeenItem, size: Size | None) -> bool:
    if size is None:
        return any(_has_size(found, known) for known in Size)
    return 1 / _SIZE_RATIO < found.radius / RADIUS[size] < _SIZE_RATIO


def _stands_at(found: SeenItem, position: Position | None) -> bool:
    return position is None or _chebyshev(found.center, ANCHOR[position]) < _NEAR_ANCHOR


def _stand_as(items: tuple[SeenItem, ...], relation: Relation) -> bool:
    first, second = (item.center for item in items)
    right, down = first[0] - second[0], first[1] - second[1]
    along, across = {
        Relation.LEFT_OF: (-right, down),
        Relation.RIGHT_OF: (right, down),
        Relation.ABOVE: (-down, right),
        Relation.BELOW: (down, right),
    }[relation]
    return along > max(_LEAST_APART, abs(across))


def _chebyshev(first: Point, second: Point) -> float:
    return max(abs(first[0] - second[0]), abs(first[1] - second[1]))
