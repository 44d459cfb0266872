"""Finding the objects of a picture: classical image analysis, nothing learned.

An object is a patch that stands out from the even color around it.  Its shape is the one
whose outline, placed by the center of mass and the area of the patch, overlaps it best.
Both survive the blur and the noise of an autoencoder, unlike edges and corners.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np
from scipy import ndimage

from yggdrasil.training.datasets.shapes.geometry import (
    BACKGROUND_RGB,
    COLOR_RGB,
    OUTLINES,
    shape_mask,
)
from yggdrasil.training.datasets.shapes.lab import distance, lab_from_rgb
from yggdrasil.training.datasets.shapes.scene import Background, Color, Shape

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from yggdrasil.training.datasets.shapes.geometry import Floats, Point, Rgb

N = TypeVar("N", Color, Background)

# Distances are Euclidean in CIE Lab, where about 2 is the least difference people see.
_STANDS_OUT: Final = 18.0
_SAME_NAME: Final = 22.0
_EVEN: Final = 16.0
_EVEN_SHARE: Final = 0.9
_ODD_SHARE: Final = 0.15
# A third of the area of the smallest object, a small star: less is a speck.
_SPECK_AREA: Final = 0.005
# Picture and outline are blurred alike, so that a slight blur of the picture, and its
# noise, hardly count.
_SOFTNESS: Final = 0.012
# A clean object overlaps its own outline by 0.9 or more, slightly blurred by 0.87, and
# other outlines by 0.85 or less, never coming nearer than 0.08 to its own.
_LEAST_OVERLAP: Final = 0.82
_LEAST_LEAD: Final = 0.04


@dataclass(frozen=True, kw_only=True, slots=True)
class SeenItem:
    """One object found in a picture.

    Attributes:
        color: Its color, or ``None`` when it has no name or is not even.
        shape: Its shape, or ``None`` when no outline fits.
        center: Center of the box around it, as fractions of the side (x, y).
        radius: Half the width of that box, as a fraction of the side.
    """

    color: Color | None
    shape: Shape | None
    center: Point
    radius: float


@dataclass(frozen=True, kw_only=True, slots=True)
class SeenScene:
    """What was found in a picture.

    Attributes:
        background: Color around the objects, or ``None`` when it has no name or is not even.
        items: The objects, largest first.
    """

    background: Background | None
    items: tuple[SeenItem, ...]


def perceive(picture: NDArray[np.uint8]) -> SeenScene:
    """Find the background and the objects of a picture.

    Args:
        picture: RGB picture, shaped ``(side, side, 3)``.

    Returns:
        What is there, whether or not it has names.
    """
    lab = lab_from_rgb(picture.astype(np.float32))
    ground = _ground(picture)
    far = distance(lab, lab_from_rgb(ground))
    stands_out = ndimage.binary_opening(far > _STANDS_OUT)
    labels, count = ndimage.label(stands_out, structure=np.ones((3, 3)))
    areas = np.bincount(labels.ravel(), minlength=count + 1)
    least = _SPECK_AREA * labels.size
    kept = [index for index in range(1, count + 1) if areas[index] >= least]
    kept.sort(key=lambda index: -areas[index])
    even = np.mean(far[labels == 0] < _EVEN) >= _EVEN_SHARE
    return SeenScene(
        background=_name(ground, BACKGROUND_RGB) if even else None,
        items=tuple(_item(picture, labels == index, ground) for index in kept),
    )


def _ground(picture: NDArray[np.uint8]) -> Floats:
    """Return the median color along the border, which objects hardly touch."""
    edge = np.ones(picture.shape[:2], dtype=np.bool_)
    edge[2:-2, 2:-2] = False
    return np.asarray(np.median(picture[edge], axis=0), dtype=np.float32)


def _item(picture: NDArray[np.uint8], patch: NDArray[np.bool_], ground: Floats) -> SeenItem:
    pixels = picture.astype(np.float32)
    near = ndimage.binary_dilation(patch, iterations=2)
    paint = _paint(pixels[patch], ground)
    cover = np.where(near, _share(pixels, paint, ground), np.float32(0))
    # At its edges an object mixes with the ground, and nothing else: whatever is not such
    # a mixture is a second color.
    mixed = ground + cover[near][:, None] * (paint - ground)
    odd = distance(lab_from_rgb(pixels[near]), lab_from_rgb(mixed)) > _EVEN
    shape, center, radius = _fit(cover)
    return SeenItem(
        color=_name(paint, COLOR_RGB) if odd.sum() <= _ODD_SHARE * patch.sum() else None,
        shape=shape,
        center=center,
        radius=radius,
    )


def _paint(pixels: Floats, ground: Floats) -> Floats:
    """Return the median color of those pixels that stand out most, away from the edges."""
    far = distance(lab_from_rgb(pixels), lab_from_rgb(ground))
    return np.median(pixels[far >= np.quantile(far, 0.5)], axis=0).astype(np.float32)


def _share(pixels: Floats, paint: Floats, ground: Floats) -> Floats:
    """Return how much of each pixel is paint, from how far its color is from the ground."""
    axis = paint - ground
    share = (pixels - ground) @ axis / max(float(axis @ axis), 1.0)
    return np.clip(share, 0, 1).astype(np.float32)


def _fit(cover: Floats) -> tuple[Shape | None, Point, float]:
    side = cover.shape[0]
    area = float(cover.sum()) / side**2
    y, x = (float(at) / side for at in ndimage.center_of_mass(cover))
    mass = (x + 0.5 / side, y + 0.5 / side)
    softness = _SOFTNESS * side
    soft = ndimage.gaussian_filter(cover, softness)
    fits: list[tuple[float, Shape, Point, float]] = []
    for shape in Shape:
        unit_area, (shift_x, shift_y) = _UNIT_MOMENTS[shape]
        radius = (area / unit_area) ** 0.5
        center = (mass[0] - shift_x * radius, mass[1] - shift_y * radius)
        ideal = shape_mask(shape, center=center, radius=radius, size=side)
        ideal = ndimage.gaussian_filter(ideal, softness)
        overlap = np.minimum(soft, ideal).sum() / np.maximum(soft, ideal).sum()
        fits.append((float(overlap), shape, center, radius))
    fits.sort(key=lambda fit: -fit[0])
    (overlap, shape, center, radius), runner_up = fits[0], fits[1]
    clear = overlap >= _LEAST_OVERLAP and overlap - runner_up[0] >= _LEAST_LEAD
    return shape if clear else None, center, radius


def _moments(shape: Shape) -> tuple[float, Point]:
    """Return the area of a shape in the box from -1 to 1, and its center of mass."""
    x, y = OUTLINES[shape].T
    next_x, next_y = np.roll(x, -1), np.roll(y, -1)
    cross = x * next_y - next_x * y
    area = cross.sum() / 2
    at_x = ((x + next_x) * cross).sum() / (6 * area)
    at_y = ((y + next_y) * cross).sum() / (6 * area)
    return abs(float(area)), (float(at_x), float(at_y))


_UNIT_MOMENTS: Final = {shape: _moments(shape) for shape in Shape}


def _name(rgb: Floats, palette: Mapping[N, Rgb]) -> N | None:
    lab = lab_from_rgb(rgb)
    distances = {
        name: float(distance(lab, lab_from_rgb(np.asarray(value, dtype=np.float32))))
        for name, value in palette.items()
    }
    nearest = min(distances, key=lambda name: distances[name])
    return nearest if distances[nearest] < _SAME_NAME else None
