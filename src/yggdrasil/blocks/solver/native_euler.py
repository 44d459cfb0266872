"""Euler's method on tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from diffusers import EulerDiscreteScheduler
from torch import Tensor

from yggdrasil.blocks.solver.native_solver import NativeSolver
from yggdrasil.blocks.solver.sample_states import Coefficients
from yggdrasil.blocks.solver.sigma_space import PREDICTIONS, clean_of, sigma_columns
from yggdrasil.core.component import Component
from yggdrasil.core.registry import register_block

__all__ = ["NativeEulerSolver"]


@register_block("solver/native_euler")
class NativeEulerSolver(NativeSolver):
    """Euler's method, each sample of a batch at a step of its own.

    Args:
        options: Values of ``EulerDiscreteScheduler``'s configuration, by name.

    Raises:
        ConfigError: The scheduler has no such option.

    Source:
        Karras et al. 2022 (arXiv:2206.00364), algorithm 1 without its correction; to the bit as in
        Diffusers 0.42, ``schedulers/scheduling_euler_discrete.py``.
    """

    scheduler = Component[Any](EulerDiscreteScheduler, optional=True)
    supported: ClassVar[Mapping[str, tuple[Any, ...]]] = {"prediction_type": PREDICTIONS}
    follows: ClassVar[frozenset[str]] = frozenset(
        {
            "final_sigmas_type",
            "interpolation_type",
            "rescale_betas_zero_snr",
            "sigma_max",
            "sigma_min",
            "timestep_type",
            "use_beta_sigmas",
            "use_exponential_sigmas",
            "use_karras_sigmas",
        }
    )

    def table(self, scheduler: Any, begin: int) -> Mapping[str, Tensor]:
        """Gives sigmas and the ways between them."""
        sigmas = scheduler.sigmas[begin:]
        return {**sigma_columns(sigmas), "dt": sigmas[1:] - sigmas[:-1]}

    def advance(
        self,
        at: Coefficients,
        sample: Tensor,
        output: Tensor,
        history: tuple[Tensor, ...],
        noise: Tensor | None,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Goes straight on to the next sigma."""
        clean = clean_of(self.prediction, at, sample, output)
        derivative = (sample - clean) / at["sigma"]
        return sample + derivative * at["dt"], history
