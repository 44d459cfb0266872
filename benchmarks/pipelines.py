"""YggDrasil's and Diffusers' pipelines on the same modules, in turn, in one process."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import diffusers
import torch

from benchmarks.clock import Clock, clocked, collector_at_rest
from tests.tiny_models import tiny_pipeline
from yggdrasil import InferencePipeline
from yggdrasil.hub.zoo_models import zoo_models
from yggdrasil.pipelines.comparison.spread import Spread

__all__ = ["IN_THE_BOX", "SCHEDULERS", "measure_pipelines"]

IN_THE_BOX = "zoo/shapes"
"""A model that paints, with the solver that it comes with; the others are as small as can be."""

SCHEDULERS = (
    "DDIMScheduler",
    "PNDMScheduler",
    "EulerDiscreteScheduler",
    "EulerAncestralDiscreteScheduler",
    "DPMSolverMultistepScheduler",
    "UniPCMultistepScheduler",
)
FEW, MANY = 2, 22
_SIDES = ("diffusers", "yggdrasil", "uncached")


@dataclass(frozen=True, slots=True)
class _Taken:
    """What one call took, in seconds.

    Attributes:
        wall: By the clock.
        processor: Of the processor.
        models: Of that, in the models.
    """

    wall: float
    processor: float
    models: float


def measure_pipelines(
    pairs: int,
    schedulers: tuple[str, ...] = SCHEDULERS,
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Measures calls with few and with many steps, each time with another seed.

    ``yggdrasil`` is the pipeline as people get it, which keeps values between calls;
    ``uncached`` keeps none, as Diffusers does.

    Args:
        pairs: How often each side is called with each number of steps.
        schedulers: By their classes' names.
        tell: Is told what is measured now.

    Returns:
        Per scheduler, and for the model in the box, what ``_figures`` gives.
    """
    torch.set_num_threads(1)
    tiny = tiny_pipeline("sd15")
    box = diffusers.StableDiffusionPipeline.from_pretrained(zoo_models()[IN_THE_BOX])
    found: dict[str, Any] = {}
    for name in (*schedulers, IN_THE_BOX):
        theirs = tiny
        if name == IN_THE_BOX:
            theirs = box
        else:
            theirs.scheduler = getattr(diffusers, name).from_config(theirs.scheduler.config)
        sides = {
            "diffusers": theirs,
            "yggdrasil": InferencePipeline.from_diffusers(theirs),
            "uncached": InferencePipeline.from_diffusers(theirs, cache_limit=0),
        }
        for pipe in sides.values():
            pipe.set_progress_bar_config(disable=True)
        with clocked(theirs) as clock, collector_at_rest():
            taken = _in_turn(sides, clock, pairs, lambda done, name=name: tell(f"{name}, {done}"))
        found[name] = _figures(taken)
    return found


def _in_turn(
    sides: Mapping[str, Any], clock: Clock, pairs: int, tell: Callable[[int], None]
) -> dict[tuple[str, int], list[_Taken]]:
    taken: dict[tuple[str, int], list[_Taken]] = {
        (side, steps): [] for side in sides for steps in (FEW, MANY)
    }
    order = list(sides)
    for pair in range(-1, pairs):
        tell(max(pair, 0))
        for steps in (FEW, MANY):
            for side in order:
                once = _take(sides[side], clock, steps, seed=10_000 * steps + pair + 1)
                if pair >= 0:  # the first one warms up
                    taken[side, steps].append(once)
        order = [*order[1:], order[0]]  # each of them comes first equally often
    return taken


def _take(pipe: Callable[..., object], clock: Clock, steps: int, seed: int) -> _Taken:
    generator = torch.Generator().manual_seed(seed)
    clock.seconds = 0.0
    wall, processor = time.perf_counter(), time.process_time()
    pipe("a photo of a cat", num_inference_steps=steps, generator=generator)
    return _Taken(time.perf_counter() - wall, time.process_time() - processor, clock.seconds)


def _figures(taken: Mapping[tuple[str, int], list[_Taken]]) -> dict[str, Any]:
    """Gives, per side, medians with their intervals; ratios are to Diffusers, pair by pair.

    Of each side: ``image``, the seconds of a call with many steps, on the wall and of the
    processor; ``step``, what a step takes beyond the models; ``call``, what a call takes beyond
    models and steps.
    """
    steps = {side: _per_step(taken, side) for side in _SIDES}
    calls = {
        side: [
            few.processor - few.models - FEW * step
            for few, step in zip(taken[side, FEW], steps[side], strict=True)
        ]
        for side in _SIDES
    }
    wall = {side: [each.wall for each in taken[side, MANY]] for side in _SIDES}
    processor = {side: [each.processor for each in taken[side, MANY]] for side in _SIDES}
    return {
        side: {
            "image_wall_seconds": asdict(Spread.of(wall[side])),
            "image_processor_seconds": asdict(Spread.of(processor[side])),
            "step_seconds": asdict(Spread.of(steps[side])),
            "call_seconds": asdict(Spread.of(calls[side])),
            "image_wall_ratio": _ratio(wall, side),
            "image_processor_ratio": _ratio(processor, side),
            "step_ratio": _ratio(steps, side),
            "call_ratio": _ratio(calls, side),
        }
        for side in _SIDES
    }


def _per_step(taken: Mapping[tuple[str, int], list[_Taken]], side: str) -> list[float]:
    """Gives what a step takes beyond the models, pair by pair."""
    return [
        ((many.processor - many.models) - (few.processor - few.models)) / (MANY - FEW)
        for few, many in zip(taken[side, FEW], taken[side, MANY], strict=True)
    ]


def _ratio(seconds: Mapping[str, list[float]], side: str) -> dict[str, Any]:
    return asdict(Spread.of_ratios(seconds[side], seconds["diffusers"]))
