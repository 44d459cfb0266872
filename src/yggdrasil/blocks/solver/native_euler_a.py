"""Euler's method with fresh noise at each step, on tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from diffusers import EulerAncestralDiscreteScheduler
from torch import Tensor

from yggdrasil.blocks.solver.native_solver import NativeSolver
from yggdrasil.blocks.solver.sample_states import Coefficients
from yggdrasil.blocks.solver.sigma_space import clean_of, sigma_columns
from yggdrasil.core.component import Component
from yggdrasil.core.registry import register_block

__all__ = ["NativeEulerASolver"]


@register_block("solver/native_euler_a")
class NativeEulerASolver(NativeSolver):
    """Euler's ancestral method, each sample of a batch at a step of its own.

    Args:
        options: Values of ``EulerAncestralDiscreteScheduler``'s configuration, by name.

    Raises:
        ConfigError: The scheduler has no such option.

    Source:
        k-diffusion, ``sampling.py`` (``sample_euler_ancestral``); to the bit as in Diffusers 0.42,
        ``schedulers/scheduling_euler_ancestral_discrete.py``.
    """

    scheduler = Component[Any](EulerAncestralDiscreteScheduler, optional=True)
    supported: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "prediction_type": ("epsilon", "v_prediction")
    }
    follows: ClassVar[frozenset[str]] = frozenset(
        {
            "rescale_betas_zero_snr",
        }
    )

    def draws(self, eta: float) -> bool:
        """Says that each step needs noise, also the last, which gives it no weight."""
        del eta
        return True

    def table(self, scheduler: Any, begin: int) -> Mapping[str, Tensor]:
        """Gives sigmas, the ways down from them, and how much noise leads up again."""
        sigmas = scheduler.sigmas[begin:]
        here, there = sigmas[:-1], sigmas[1:]
        up = (there**2 * (here**2 - there**2) / here**2) ** 0.5
        down = (there**2 - up**2) ** 0.5
        return {**sigma_columns(sigmas), "dt": down - here, "up": up}

    def advance(
        self,
        at: Coefficients,
        sample: Tensor,
        output: Tensor,
        history: tuple[Tensor, ...],
        noise: Tensor | None,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Goes below the next sigma, and up to it with noise."""
        clean = clean_of(self.prediction, at, sample, output)
        derivative = (sample - clean) / at["sigma"]
        moved = sample + derivative * at["dt"]
        return (moved if noise is None else moved + noise * at["up"]), history
