"""Euler's method for models that predict flow, on tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from diffusers import FlowMatchEulerDiscreteScheduler
from torch import Tensor

from yggdrasil.blocks.solver.native_solver import NativeSolver
from yggdrasil.blocks.solver.sample_states import Coefficients
from yggdrasil.blocks.solver.training_form import FlowForm, TrainingForm
from yggdrasil.core.component import Component
from yggdrasil.core.registry import register_block

__all__ = ["NativeFlowEulerSolver"]


@register_block("solver/native_flow_euler")
class NativeFlowEulerSolver(NativeSolver):
    """Euler's method for flow, each sample of a batch at a step of its own.

    Args:
        options: Values of ``FlowMatchEulerDiscreteScheduler``'s configuration, by name.

    Raises:
        ConfigError: The scheduler has no such option.

    Source:
        Lipman et al. 2023 (arXiv:2210.02747); to the bit as in Diffusers 0.42,
        ``schedulers/scheduling_flow_match_euler_discrete.py``.
    """

    scheduler = Component[Any](FlowMatchEulerDiscreteScheduler, optional=True)
    form: ClassVar[type[TrainingForm]] = FlowForm
    supported: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "invert_sigmas": (False,),
        "stochastic_sampling": (False,),
    }
    follows: ClassVar[frozenset[str]] = frozenset(
        {
            "base_image_seq_len",
            "base_shift",
            "max_image_seq_len",
            "max_shift",
            "shift",
            "shift_terminal",
            "time_shift_type",
            "use_beta_sigmas",
            "use_dynamic_shifting",
            "use_exponential_sigmas",
            "use_karras_sigmas",
        }
    )

    def table(self, scheduler: Any, begin: int) -> Mapping[str, Tensor]:
        """Gives noise levels and the ways between them."""
        sigmas = scheduler.sigmas[begin:].cpu()
        return {"signal": 1.0 - sigmas, "level": sigmas, "dt": sigmas[1:] - sigmas[:-1]}

    def advance(
        self,
        at: Coefficients,
        sample: Tensor,
        output: Tensor,
        history: tuple[Tensor, ...],
        noise: Tensor | None,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Goes along the flow to the next noise level."""
        return sample + at["dt"] * output, history
