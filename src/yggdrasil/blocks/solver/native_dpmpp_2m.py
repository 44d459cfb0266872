"""DPM-Solver++ of second order over several steps, on tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from diffusers import DPMSolverMultistepScheduler
from torch import Tensor

from yggdrasil.blocks.solver.native_solver import NativeSolver
from yggdrasil.blocks.solver.sample_states import Coefficients
from yggdrasil.blocks.solver.signal_space import clean_of
from yggdrasil.core.component import Component
from yggdrasil.core.registry import register_block

__all__ = ["NativeDPMPP2MSolver"]

_FEW_STEPS = 15


@register_block("solver/native_dpmpp_2m")
class NativeDPMPP2MSolver(NativeSolver):
    """DPM-Solver++(2M), each sample of a batch at a step of its own.

    Args:
        options: Values of ``DPMSolverMultistepScheduler``'s configuration, by name.

    Raises:
        ConfigError: The scheduler has no such option.

    Source:
        Lu et al. 2022 (arXiv:2211.01095), algorithm 2; to the bit as in Diffusers 0.42,
        ``schedulers/scheduling_dpmsolver_multistep.py``.
    """

    scheduler = Component[Any](DPMSolverMultistepScheduler, optional=True)
    remembers: ClassVar[int] = 1
    supported: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "algorithm_type": ("dpmsolver++",),
        "prediction_type": ("epsilon", "v_prediction", "sample"),
        "solver_order": (1, 2),
        "solver_type": ("midpoint", "heun"),
        "thresholding": (False,),
        "use_flow_sigmas": (False,),
        "variance_type": (None,),
    }
    follows: ClassVar[frozenset[str]] = frozenset(
        {
            "dynamic_thresholding_ratio",
            "euler_at_final",
            "final_sigmas_type",
            "flow_shift",
            "lambda_min_clipped",
            "lower_order_final",
            "rescale_betas_zero_snr",
            "sample_max_value",
            "time_shift_type",
            "use_beta_sigmas",
            "use_dynamic_shifting",
            "use_exponential_sigmas",
            "use_karras_sigmas",
            "use_lu_lambdas",
        }
    )

    def table(self, scheduler: Any, begin: int) -> Mapping[str, Tensor]:
        """Gives the weights of sample, prediction and change of prediction."""
        sigmas = scheduler.sigmas
        signal = 1 / ((sigmas**2 + 1) ** 0.5)
        level = sigmas * signal
        logsnr = torch.log(signal) - torch.log(level)
        h = logsnr[1:] - logsnr[:-1]
        weight = signal[1:] * (torch.exp(-h) - 1.0)
        if self.settings["solver_type"] == "midpoint":
            change = 0.5 * weight
        else:
            change = -(signal[1:] * ((torch.exp(-h) - 1.0) / h + 1.0))
        # How much longer this step is than the one before.
        longer = torch.zeros_like(h)
        longer[1:] = 1.0 / (h[:-1] / h[1:])
        first = self._first_order(len(h), begin)
        return {
            "signal": signal[begin:],
            "level": level[begin:],
            "keep": (level[1:] / level[:-1])[begin:],
            "weight": weight[begin:],
            "change": torch.where(first, 0.0, change)[begin:],
            "longer": torch.where(first, 0.0, longer)[begin:],
        }

    def advance(
        self,
        at: Coefficients,
        sample: Tensor,
        output: Tensor,
        history: tuple[Tensor, ...],
        noise: Tensor | None,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Goes to the next sigma along the predicted picture and the way that it changes."""
        clean = clean_of(self.prediction, at, sample, output)
        moved = at["keep"] * sample - at["weight"] * clean
        change = at["change"]
        if isinstance(change, Tensor) or change:
            moved = moved - change * (at["longer"] * (clean - history[0]))
        return moved, (clean,)

    def _first_order(self, count: int, begin: int) -> Tensor:
        """Says which steps look at no step before: the first, often the last, or all."""
        settings = self.settings
        first = torch.full((count,), settings["solver_order"] == 1)
        first[begin] = True
        first[-1] |= bool(
            settings["euler_at_final"]
            or settings["final_sigmas_type"] == "zero"
            or (settings["lower_order_final"] and count < _FEW_STEPS)
        )
        return first
