"""PNDM without Runge-Kutta steps, on tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from diffusers import PNDMScheduler
from torch import Tensor

from yggdrasil.blocks.solver.choosing import chosen, is_everywhere
from yggdrasil.blocks.solver.native_solver import NativeSolver
from yggdrasil.blocks.solver.sample_states import Coefficients
from yggdrasil.core.component import Component
from yggdrasil.core.registry import register_block

__all__ = ["NativePNDMSolver"]

_WEIGHTS = ("now", "before", "second", "third", "times", "over")
# The second evaluation is at the timestep that the first has led to, and corrects that step.
_AGAIN = 1
_OF_STEPS = (
    (1.0, 0.0, 0.0, 0.0, 1.0, 1.0),
    (1.0, 1.0, 0.0, 0.0, 1.0, 2.0),
    (3.0, -1.0, 0.0, 0.0, 1.0, 2.0),
    (23.0, -16.0, 5.0, 0.0, 1.0, 12.0),
    (55.0, -59.0, 37.0, -9.0, 1 / 24, 1.0),
)
"""How predictions are weighed at a run's first evaluations; the last row is for all later ones."""


@register_block("solver/native_pndm")
class NativePNDMSolver(NativeSolver):
    """PNDM's linear multistep form, each sample of a batch at a step of its own.

    Args:
        options: Values of ``PNDMScheduler``'s configuration, by name.

    Raises:
        ConfigError: The scheduler has no such option.

    Source:
        Liu et al. 2022 (arXiv:2202.09778), equations 9 and 12; to the bit as in Diffusers 0.42,
        ``schedulers/scheduling_pndm.py`` (``step_plms``).
    """

    scheduler = Component[Any](PNDMScheduler, optional=True)
    # Three predictions, and the sample that the step before went out from.
    remembers: ClassVar[int] = 4
    supported: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "prediction_type": ("epsilon", "v_prediction"),
        "skip_prk_steps": (True,),
    }
    follows: ClassVar[frozenset[str]] = frozenset({"set_alpha_to_one"})

    def table(self, scheduler: Any, begin: int) -> Mapping[str, Tensor]:
        """Gives the weights of predictions, and what leads from sample to sample."""
        alphas = scheduler.alphas_cumprod.cpu()
        visited = scheduler.timesteps[begin:].cpu()
        ratio = scheduler.config.num_train_timesteps // scheduler.num_inference_steps
        again = torch.zeros(len(visited), dtype=torch.bool)
        again[_AGAIN : _AGAIN + 1] = True
        here = torch.where(again, visited + ratio, visited)
        there = here - ratio
        alpha = alphas[here]
        following = torch.where(there >= 0, alphas[there], scheduler.final_alpha_cumprod)
        beta = 1 - alpha
        rows = [_OF_STEPS[min(place, len(_OF_STEPS) - 1)] for place in range(len(visited))]
        weights = torch.tensor(rows, dtype=torch.float32).unbind(1)
        return {
            "signal": alphas[visited] ** 0.5,
            "level": (1 - alphas[visited]) ** 0.5,
            "picture": alpha**0.5,
            "noise": beta**0.5,
            "keep": (following / alpha) ** 0.5,
            "change": following - alpha,
            "share": alpha * (1 - following) ** 0.5 + (alpha * beta * following) ** 0.5,
            "again": again.float(),
            **dict(zip(_WEIGHTS, weights, strict=True)),
        }

    def advance(
        self,
        at: Coefficients,
        sample: Tensor,
        output: Tensor,
        history: tuple[Tensor, ...],
        noise: Tensor | None,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Goes to the next timestep along what the last predictions lead to."""
        *past, before = history
        again = at["again"]
        mean = _weighed(at, output, past)
        origin = chosen(again, before, sample)
        if self.prediction == "v_prediction":
            mean = at["picture"] * mean + at["noise"] * origin
        moved = at["keep"] * origin - at["change"] * mean / at["share"]
        remembered = [output, *past[:-1]]
        kept = [chosen(again, old, new) for old, new in zip(past, remembered, strict=True)]
        return moved, (*kept, sample)


def _weighed(at: Coefficients, output: Tensor, past: list[Tensor]) -> Tensor:
    """Gives the mean of predictions; what has no weight at this step is not calculated."""
    before, second, third = past
    total = at["now"] * output
    if not is_everywhere(at["before"], 0.0):
        total = total + at["before"] * before
    if not is_everywhere(at["second"], 0.0):
        total = total + at["second"] * second
    if not is_everywhere(at["third"], 0.0):
        total = total + at["third"] * third
    if not is_everywhere(at["times"], 1.0):
        total = at["times"] * total
    return total if is_everywhere(at["over"], 1.0) else total / at["over"]
