"""DDIM on tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from diffusers import DDIMScheduler
from torch import Tensor

from yggdrasil.blocks.solver.native_solver import NativeSolver
from yggdrasil.blocks.solver.sample_states import Coefficients
from yggdrasil.core.component import Component
from yggdrasil.core.registry import register_block

__all__ = ["NativeDDIMSolver"]


@register_block("solver/native_ddim")
class NativeDDIMSolver(NativeSolver):
    """DDIM, each sample of a batch at a step, and with an eta, of its own.

    Args:
        options: Values of ``DDIMScheduler``'s configuration, by name.

    Raises:
        ConfigError: The scheduler has no such option.

    Source:
        Song et al. 2021 (arXiv:2010.02502), equations 12 and 16; to the bit as in Diffusers 0.42,
        ``schedulers/scheduling_ddim.py``.
    """

    scheduler = Component[Any](DDIMScheduler, optional=True)
    supported: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "prediction_type": ("epsilon", "v_prediction", "sample"),
        "thresholding": (False,),
    }
    follows: ClassVar[frozenset[str]] = frozenset(
        {
            "clip_sample",
            "clip_sample_range",
            "dynamic_thresholding_ratio",
            "rescale_betas_zero_snr",
            "sample_max_value",
            "set_alpha_to_one",
        }
    )

    def draws(self, eta: float) -> bool:
        """Says that noise is needed where eta is not 0."""
        return eta > 0

    def table(self, scheduler: Any, begin: int) -> Mapping[str, Tensor]:
        """Gives how much of the picture and of noise there is before and after each step."""
        alphas = scheduler.alphas_cumprod.cpu()
        here = scheduler.timesteps[begin:].cpu()
        there = here - scheduler.config.num_train_timesteps // scheduler.num_inference_steps
        alpha = alphas[here]
        following = torch.where(there >= 0, alphas[there], scheduler.final_alpha_cumprod)
        beta = 1 - alpha
        variance = ((1 - following) / beta) * (1 - alpha / following)
        return {
            "signal": alpha**0.5,
            "level": beta**0.5,
            "following": following,
            "kept": following**0.5,
            "deviation": variance**0.5,
            "direction": (1 - following - (0.0 * variance**0.5) ** 2) ** 0.5,
        }

    def with_eta(self, at: Mapping[str, Tensor], eta: float | Tensor) -> Coefficients:
        """Adds the deviation of the noise, and what of the prediction leads on beside it."""
        deviation = eta * at["deviation"]
        direction = (1 - at["following"] - deviation**2) ** 0.5
        return {**at, "deviation": deviation, "direction": direction}

    def advance(
        self,
        at: Coefficients,
        sample: Tensor,
        output: Tensor,
        history: tuple[Tensor, ...],
        noise: Tensor | None,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Goes to the next timestep along the predicted noise."""
        clean, epsilon = self._parts(at, sample, output)
        if self.settings["clip_sample"]:
            bound = self.settings["clip_sample_range"]
            clean = clean.clamp(-bound, bound)
        moved = at["kept"] * clean + at["direction"] * epsilon
        return (moved if noise is None else moved + at["deviation"] * noise), history

    def _parts(self, at: Coefficients, sample: Tensor, output: Tensor) -> tuple[Tensor, Tensor]:
        """Gives the picture and the noise that a prediction stands for."""
        signal, level = at["signal"], at["level"]
        if self.prediction == "epsilon":
            return (sample - level * output) / signal, output
        if self.prediction == "v_prediction":
            return signal * sample - level * output, signal * output + level * sample
        return output, (sample - signal * output) / level
