"""What a comparison found."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yggdrasil.pipelines.comparison.figures import Likeness, said
from yggdrasil.pipelines.comparison.job import Job
from yggdrasil.pipelines.comparison.timing import PairedTimes

__all__ = ["Comparison", "Memory"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """The most bytes that each side held, each in a process of its own.

    Attributes:
        ours: YggDrasil's.
        theirs: Diffusers'.
    """

    ours: int
    theirs: int

    @property
    def ratio(self) -> float:
        """YggDrasil's to Diffusers'."""
        return self.ours / self.theirs


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """YggDrasil and Diffusers on one call.

    Attributes:
        job: What was run.
        shared: Whether both ran on the same modules, loaded once.
        likeness: How alike the results are.
        tolerance: The largest difference that is let pass.
        wall: Seconds of a call by the clock.
        processor: Seconds of a call by the processor time of the process.
        memory: The most memory that a call takes, if it was measured.
        versions: Of the libraries, of Python and the machine.
        ours: YggDrasil's picture ``h w 3`` in [0, 1]; None where there are no pictures.
        theirs: Diffusers' picture, the same.
    """

    job: Job
    shared: bool
    likeness: Likeness
    tolerance: float
    wall: PairedTimes
    processor: PairedTimes
    memory: Memory | None
    versions: dict[str, str]
    ours: NDArray[np.floating] | None = field(repr=False, compare=False)
    theirs: NDArray[np.floating] | None = field(repr=False, compare=False)

    @property
    def passed(self) -> bool:
        """Whether no output differs by more than the tolerance."""
        return self.likeness.within(self.tolerance)

    def verdict(self) -> tuple[str, str]:
        """Says in a word or two, and in a sentence, how the two differ."""
        if self.likeness.within(0.0):
            *others, last = map(said, self.likeness.parts)
            told = f"{', '.join(others)} and {last}" if others else last
            return "The same.", f"{told[:1].upper()}{told[1:]} are equal to the last bit."
        told = f"The largest difference is {self.likeness.largest:.3g}; {self.tolerance:.3g} is let"
        return ("Within tolerance." if self.passed else "Not the same."), f"{told} pass."

    def as_plain(self) -> dict[str, Any]:
        """Gives everything but the pictures as what JSON can say.

        It knows no infinity and no NaN: the PSNR of equal pictures and what cannot be told are
        null.
        """
        parts = asdict(self.likeness)["parts"]
        overall = {"psnr": self.likeness.psnr, "ssim": self.likeness.ssim}
        return {
            "passed": self.passed,
            "tolerance": self.tolerance,
            "model": self.job.request.model,
            "task": self.job.task,
            "pipeline": self.job.pipeline,
            "shared": self.shared,
            "call": {**asdict(self.job.request), "arguments": dict(self.job.call)},
            "likeness": {
                **{name: _finite(each) for name, each in parts.items()},
                **_finite(overall),
            },
            "wall_seconds": asdict(self.wall),
            "processor_seconds": asdict(self.processor),
            "memory_bytes": None
            if self.memory is None
            else {**asdict(self.memory), "ratio": self.memory.ratio},
            "versions": self.versions,
        }


def _finite(figures: Mapping[str, float | None]) -> dict[str, float | None]:
    return {k: v if v is not None and math.isfinite(v) else None for k, v in figures.items()}
