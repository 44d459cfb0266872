"""What a comparison found."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yggdrasil.pipelines.comparison.figures import Likeness
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
        ours: YggDrasil's picture ``h w c`` in [0, 1].
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
    ours: NDArray[np.floating] = field(repr=False, compare=False)
    theirs: NDArray[np.floating] = field(repr=False, compare=False)

    @property
    def passed(self) -> bool:
        """Whether neither latents nor pictures differ by more than the tolerance."""
        likeness = self.likeness
        return likeness.latents.within(self.tolerance) and likeness.pictures.within(self.tolerance)

    def verdict(self) -> tuple[str, str]:
        """Says in a word or two, and in a sentence, how the two differ."""
        likeness = self.likeness
        both = (likeness.latents, likeness.pictures)
        if all(each.within(0.0) for each in both):
            return "The same.", "Latents and pictures are equal to the last bit."
        largest = np.max([each.largest for each in both])  # NaN where one of them is
        told = f"The largest difference is {largest:.3g}; {self.tolerance:.3g} is let pass."
        return ("Within tolerance." if self.passed else "Not the same."), told

    def as_plain(self) -> dict[str, Any]:
        """Gives everything but the pictures as what JSON can say.

        It knows no infinity and no NaN: the PSNR of equal pictures and what cannot be told are
        null.
        """
        likeness = asdict(self.likeness)
        return {
            "passed": self.passed,
            "tolerance": self.tolerance,
            "model": self.job.request.model,
            "task": self.job.task,
            "pipeline": self.job.pipeline,
            "shared": self.shared,
            "call": asdict(self.job.request),
            "likeness": {
                "latents": _finite(likeness["latents"]),
                "pictures": _finite(likeness["pictures"]),
                **_finite({"psnr": likeness["psnr"], "ssim": likeness["ssim"]}),
            },
            "wall_seconds": asdict(self.wall),
            "processor_seconds": asdict(self.processor),
            "memory_bytes": None
            if self.memory is None
            else {**asdict(self.memory), "ratio": self.memory.ratio},
            "versions": self.versions,
        }


def _finite(figures: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in figures.items()}
