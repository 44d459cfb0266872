"""Medians of measurements, and how sure they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

__all__ = ["Spread"]

_RESAMPLES = 4000


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """The median of some measurements with its 95 % bootstrap interval.

    Attributes:
        median: Of the measurements.
        low: Lower end of the interval.
        high: Upper end of the interval.
        count: How many measurements there are.
    """

    median: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Makes it of measurements.

        The interval is the percentile bootstrap's (Efron 1979), drawn with a fixed seed, so that
        the same measurements always give the same interval.

        Args:
            values: At least one.
        """
        measured = np.asarray(values, dtype=np.float64)
        drawn = np.random.default_rng(0).choice(measured, (_RESAMPLES, len(measured)))
        low, high = np.percentile(np.median(drawn, axis=1), [2.5, 97.5])
        return cls(
            median=float(np.median(measured)),
            low=float(low),
            high=float(high),
            count=len(measured),
        )

    @classmethod
    def of_ratios(cls, ours: Sequence[float], theirs: Sequence[float]) -> Self:
        """Makes it of the ratios of measurements that were taken in pairs.

        Args:
            ours: The numerators.
            theirs: As many denominators, in the same order.
        """
        return cls.of([one / other for one, other in zip(ours, theirs, strict=True)])
