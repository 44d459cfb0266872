"""How alike two arrays and two pictures are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

__all__ = ["Difference", "Likeness", "psnr", "said", "ssim"]

Floats = NDArray[np.float64]

# Of Wang et al. 2004, section III.C: the deviation of the window in pixels, its width (11 pixels),
# and the two constants that keep the quotients from being those of two small numbers.
_DEVIATION, _RADIUS = 1.5, 5
_K1, _K2 = 0.01, 0.03


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How far two arrays are apart.

    Attributes:
        largest: The largest absolute difference; NaN where either array holds one.
        mean: The mean absolute difference.
    """

    largest: float
    mean: float

    @classmethod
    def of(cls, one: NDArray[np.floating], other: NDArray[np.floating]) -> Self:
        """Compares two arrays of one shape."""
        apart = np.abs(one.astype(np.float64) - other.astype(np.float64))
        return cls(largest=float(apart.max()), mean=float(apart.mean()))

    def within(self, tolerance: float) -> bool:
        """Says whether no element is further apart than that; NaN is never within."""
        return self.largest <= tolerance


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """How alike two results are.

    Attributes:
        parts: Of each output by its name, such as ``latents`` and ``pictures``, whose values are 0
            to 1.
        psnr: Of the pictures, in decibels; infinite where they are equal, None without any.
        ssim: Of the first picture; 1 where both are equal, None without one or for a tiny one.
    """

    parts: Mapping[str, Difference]
    psnr: float | None
    ssim: float | None

    @property
    def largest(self) -> float:
        """The largest absolute difference of all; NaN where any output holds one."""
        return float(np.max([each.largest for each in self.parts.values()]))

    def within(self, tolerance: float) -> bool:
        """Says whether no output differs by more; NaN is never within."""
        return all(each.within(tolerance) for each in self.parts.values())

    def as_text(self) -> dict[str, str]:
        """Gives each figure as text, by what it is called."""
        told: dict[str, str] = {}
        for name, each in self.parts.items():
            told[f"{said(name)}, largest"] = f"{each.largest:.3g}"
            told[f"{said(name)}, mean"] = f"{each.mean:.3g}"
        if self.psnr is not None:
            told["PSNR"] = "infinite" if math.isinf(self.psnr) else f"{self.psnr:.2f} dB"
        if self.ssim is not None:
            told["SSIM"] = _ssim_text(self.ssim)
        return told


def said(name: str) -> str:
    """Gives the name of an output as people say it."""
    return name.replace("_", " ")


def psnr(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    """Gives the peak signal-to-noise ratio of two pictures in decibels; infinite if equal.

    Args:
        one: Values in [0, 1], of any shape.
        other: The same shape.
    """
    error = float(np.mean((one.astype(np.float64) - other.astype(np.float64)) ** 2))
    return math.inf if error == 0.0 else -10.0 * math.log10(error)


def ssim(one: NDArray[np.floating], other: NDArray[np.floating]) -> float | None:
    """Gives the mean structural similarity of two pictures, channel by channel.

    Args:
        one: ``h w c`` in [0, 1].
        other: The same shape.

    Returns:
        None for pictures less than 11 pixels high or wide, which hold no whole window.

    Source:
        Wang et al. 2004, "Image quality assessment: from error visibility to structural
        similarity", equation 13, with the Gaussian window of section III.C. Numbers are those of
        scikit-image's ``structural_similarity`` with ``gaussian_weights=True, sigma=1.5,
        use_sample_covariance=False, data_range=1``; it is not among the requirements for twenty
        lines.
    """
    if min(one.shape[:2]) <= 2 * _RADIUS:
        return None
    x, y = one.astype(np.float64), other.astype(np.float64)
    mean_x, mean_y = _windowed(x), _windowed(y)
    variance_x = _windowed(x * x) - mean_x**2
    variance_y = _windowed(y * y) - mean_y**2
    covariance = _windowed(x * y) - mean_x * mean_y
    c1, c2 = _K1**2, _K2**2
    likeness = ((2 * mean_x * mean_y + c1) * (2 * covariance + c2)) / (
        (mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2)
    )
    # Only where the whole window lies in the picture.
    inside = likeness[_RADIUS:-_RADIUS, _RADIUS:-_RADIUS]
    return float(inside.mean())


def _windowed(values: Floats) -> Floats:
    """Gives the weighted mean of each pixel's surroundings, each channel by itself."""
    mean: Floats = gaussian_filter(values, _DEVIATION, radius=_RADIUS, axes=(0, 1))
    return mean


def _ssim_text(value: float) -> str:
    short = f"{value:.6f}"
    # What is only nearly 1 must not be rounded to it.
    return short if value == 1.0 or float(short) != 1.0 else f"1 − {1.0 - value:.1g}"
