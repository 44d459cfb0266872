"""Two things timed in turn, so that what else the machine does falls on both."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import torch

from yggdrasil.pipelines.comparison.spread import Spread

__all__ = ["PairedTimes", "time_in_turn"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedTimes:
    """The seconds of two sides, and the ratio of the first to the second, pair by pair.

    Attributes:
        ours: Of the first.
        theirs: Of the second.
        ratio: Below 1, the first is faster.
    """

    ours: Spread
    theirs: Spread
    ratio: Spread

    @classmethod
    def of(cls, ours: Sequence[float], theirs: Sequence[float]) -> Self:
        """Makes it of measurements in pairs."""
        return cls(
            ours=Spread.of(ours), theirs=Spread.of(theirs), ratio=Spread.of_ratios(ours, theirs)
        )


def time_in_turn(
    ours: Callable[[int], object],
    theirs: Callable[[int], object],
    pairs: int,
    *,
    device: str = "cpu",
) -> tuple[PairedTimes, PairedTimes]:
    """Times two functions, one after the other, changing which comes first.

    Args:
        ours: Called with the number of the pair.
        theirs: The same.
        pairs: How often; a first call of each is not counted.
        device: What is waited for before a clock is read.

    Returns:
        By the wall clock, and by the processor time of the whole process.
    """
    ours(0)
    theirs(0)
    seconds: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    for number in range(1, pairs + 1):
        for is_ours in (True, False) if number % 2 else (False, True):
            seconds[is_ours].append(_timed(ours if is_ours else theirs, number, device))
    wall, processor = (
        PairedTimes.of([each[clock] for each in seconds[True]],
                       [each[clock] for each in seconds[False]])
        for clock in (0, 1)
    )  # fmt: skip
    return wall, processor


def _timed(function: Callable[[int], object], number: int, device: str) -> tuple[float, float]:
    is_cuda = torch.device(device).type == "cuda"
    if is_cuda:
        torch.cuda.synchronize(device)
    wall, processor = time.perf_counter(), time.process_time()
    function(number)
    if is_cuda:
        torch.cuda.synchronize(device)
    return time.perf_counter() - wall, time.process_time() - processor
