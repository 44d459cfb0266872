"""CIE Lab, the space in which equal distances look about equally different."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from yggdrasil.training.datasets.shapes.geometry import Floats

# sRGB primaries to XYZ, rows divided by the D65 white point (IEC 61966-2-1).
_TO_XYZ: Final = np.asarray(
    [
        (0.4124564 / 0.95047, 0.3575761 / 0.95047, 0.1804375 / 0.95047),
        (0.2126729, 0.7151522, 0.0721750),
        (0.0193339 / 1.08883, 0.1191920 / 1.08883, 0.9503041 / 1.08883),
    ],
    dtype=np.float32,
)
_LINEAR_BELOW: Final = 0.04045
_CUBE_ROOT_ABOVE: Final = (6 / 29) ** 3


def lab_from_rgb(rgb: Floats) -> Floats:
    """Convert sRGB colors from 0 to 255 to CIE Lab.

    Args:
        rgb: Colors in the last axis, of any leading shape.

    Returns:
        Lightness, green to red, and blue to yellow, in the last axis.
    """
    share = rgb / np.float32(255)
    linear = np.where(share <= _LINEAR_BELOW, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    xyz = linear.astype(np.float32) @ _TO_XYZ.T
    bent = np.where(xyz > _CUBE_ROOT_ABOVE, np.cbrt(xyz), xyz * (29 / 6) ** 2 / 3 + 4 / 29)
    x, y, z = bent[..., 0], bent[..., 1], bent[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1).astype(np.float32)


def distance(first: Floats, second: Floats) -> Floats:
    """Return how different Lab colors look, over the last axis; people see about 2."""
    return np.asarray(np.linalg.norm(first - second, axis=-1), dtype=np.float32)
