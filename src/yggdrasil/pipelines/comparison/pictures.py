"""The two pictures and what lies between them, as files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from yggdrasil.pipelines.comparison.result import Comparison

__all__ = ["amplified", "as_picture", "write_pictures"]


def as_picture(values: NDArray[np.floating]) -> Image.Image:
    """Makes a picture of values ``h w c`` in [0, 1], rounded as Diffusers rounds; NaN is white."""
    return Image.fromarray((np.nan_to_num(values, nan=1.0) * 255).round().astype(np.uint8))


def amplified(
    one: NDArray[np.floating], other: NDArray[np.floating]
) -> tuple[NDArray[np.floating], float]:
    """Gives the absolute difference of two pictures, made visible.

    Args:
        one: ``h w c`` in [0, 1].
        other: The same shape.

    Returns:
        The difference, so amplified that the largest one is white, and by how much; 1 where there
        is none.
    """
    apart = np.abs(one.astype(np.float64) - other.astype(np.float64))
    largest = float(apart.max())
    factor = 1.0 / largest if largest > 0.0 else 1.0
    return apart * factor, factor


def write_pictures(comparison: Comparison, folder: Path) -> list[Path]:
    """Writes ``yggdrasil.png``, ``diffusers.png`` and their amplified ``difference.png``.

    Args:
        comparison: Whose pictures.
        folder: Made if it does not exist.

    Returns:
        The files; none where there are no pictures, as of embeddings or sounds.
    """
    if comparison.ours is None or comparison.theirs is None:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    difference, _ = amplified(comparison.ours, comparison.theirs)
    pictures = {
        "yggdrasil": comparison.ours,
        "diffusers": comparison.theirs,
        "difference": difference,
    }
    for name, values in pictures.items():
        as_picture(values).save(folder / f"{name}.png")
    return [folder / f"{name}.png" for name in pictures]
