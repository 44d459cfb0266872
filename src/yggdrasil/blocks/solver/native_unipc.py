"""UniPC of first and second order, on tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import torch
from diffusers import UniPCMultistepScheduler
from torch import Tensor

from yggdrasil.blocks.solver.choosing import chosen, is_everywhere
from yggdrasil.blocks.solver.native_solver import NativeSolver
from yggdrasil.blocks.solver.sample_states import Coefficients
from yggdrasil.blocks.solver.signal_space import clean_of
from yggdrasil.core.component import Component
from yggdrasil.core.registry import register_block

__all__ = ["NativeUniPCSolver"]

_HALF = 0.5


class _Reaches(NamedTuple):
    """What leads from each sigma to the next one, ``n`` each.

    Attributes:
        keep: What the sample is multiplied by.
        weight: What the predicted picture is.
        change: What the change of the prediction is.
        ratio: How long the step before was beside this one, negative.
        older: The corrector's weight of the change before the step.
        newer: The corrector's weight of the change over the step.
        second: Whether the step is of second order.
    """

    keep: Tensor
    weight: Tensor
    change: Tensor
    ratio: Tensor
    older: Tensor
    newer: Tensor
    second: Tensor


@register_block("solver/native_unipc")
class NativeUniPCSolver(NativeSolver):
    """UniPC, a predictor and a corrector, each sample of a batch at a step of its own.

    Args:
        options: Values of ``UniPCMultistepScheduler``'s configuration, by name.

    Raises:
        ConfigError: The scheduler has no such option.

    Source:
        Zhao et al. 2023 (arXiv:2302.04867), algorithms 1 and 2; in main memory to the bit as in
        Diffusers 0.42, ``schedulers/scheduling_unipc_multistep.py``, except that its ``bh1`` gives
        no numbers where a run ends at sigma 0.
    """

    scheduler = Component[Any](UniPCMultistepScheduler, optional=True)
    # Two predictions, and the corrected sample that the step before went out from.
    remembers: ClassVar[int] = 3
    numbers_by_latents: ClassVar[bool] = True
    supported: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "predict_x0": (True,),
        "prediction_type": ("epsilon", "v_prediction", "flow_prediction", "sample"),
        "solver_order": (2, 1),
        "solver_p": (None,),
        "solver_type": ("bh2", "bh1"),
        "thresholding": (False,),
    }
    follows: ClassVar[frozenset[str]] = frozenset(
        {
            "disable_corrector",
            "dynamic_thresholding_ratio",
            "final_sigmas_type",
            "flow_shift",
            "lower_order_final",
            "rescale_betas_zero_snr",
            "sample_max_value",
            "shift_terminal",
            "sigma_max",
            "sigma_min",
            "time_shift_type",
            "use_beta_sigmas",
            "use_dynamic_shifting",
            "use_exponential_sigmas",
            "use_flow_sigmas",
            "use_karras_sigmas",
        }
    )

    def table(self, scheduler: Any, begin: int) -> Mapping[str, Tensor]:
        """Gives what predicts from each sigma, and what corrects the step that led there."""
        sigmas = scheduler.sigmas
        if self.settings["use_flow_sigmas"]:
            signal, level = 1 - sigmas, sigmas
        else:
            signal = 1 / ((sigmas**2 + 1) ** 0.5)
            level = sigmas * signal
        reaches = self._reaches(signal, level, begin)
        corrects = torch.ones(len(sigmas) - 1)
        corrects[begin] = 0.0
        disabled = [place + 1 for place in self.settings["disable_corrector"]]
        corrects[[place for place in disabled if 0 <= place < len(corrects)]] = 0.0
        columns = {
            "signal": signal,
            "level": level,
            "sigma": sigmas,
            "corrects": corrects,
            "keep": reaches.keep,
            "weight": reaches.weight,
            "change": torch.where(reaches.second, reaches.change, 0.0),
            "ratio": torch.where(reaches.second, reaches.ratio, 1.0),
            "kept": _before(reaches.keep),
            "weighed": _before(reaches.weight),
            "changed": _before(reaches.change),
            "reached": _before(torch.where(reaches.second, reaches.ratio, 1.0)),
            "older": _before(torch.where(reaches.second, reaches.older, 0.0)),
            "newer": _before(reaches.newer),
        }
        return {name: column[begin:] for name, column in columns.items()}

    def advance(
        self,
        at: Coefficients,
        sample: Tensor,
        output: Tensor,
        history: tuple[Tensor, ...],
        noise: Tensor | None,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Corrects the step before by what the model now sees, and predicts the next."""
        clean = clean_of(self.prediction, at, sample, output)
        if not is_everywhere(at["corrects"], 0.0):
            sample = chosen(at["corrects"], _corrected(at, clean, history), sample)
        before, *_ = history
        moved = at["keep"] * sample - at["weight"] * clean
        if not is_everywhere(at["change"], 0.0):
            moved = moved - at["change"] * (_HALF * ((before - clean) / at["ratio"]))
        return moved, (clean, before, sample)

    def _reaches(self, signal: Tensor, level: Tensor, begin: int) -> _Reaches:
        logsnr = torch.log(signal) - torch.log(level)
        h = logsnr[1:] - logsnr[:-1]
        grown = torch.expm1(-h)
        shape = -h if self.settings["solver_type"] == "bh1" else grown
        second = self._second_order(len(h), begin)
        ratio = torch.ones_like(h)
        ratio[1:] = (logsnr[:-2] - logsnr[1:-1]) / h[1:]
        older, newer = _corrector(h, grown, shape, ratio, second)
        return _Reaches(
            keep=level[1:] / level[:-1],
            weight=signal[1:] * grown,
            change=signal[1:] * shape,
            ratio=ratio,
            older=older,
            newer=newer,
            second=second,
        )

    def _second_order(self, count: int, begin: int) -> Tensor:
        """Says which steps look at the step before: not the first, and often not the last."""
        second = torch.full((count,), self.settings["solver_order"] > 1)
        second[: begin + 1] = False
        if self.settings["lower_order_final"]:
            second[-1] = False
        return second


def _corrector(
    h: Tensor, grown: Tensor, shape: Tensor, ratio: Tensor, second: Tensor
) -> tuple[Tensor, Tensor]:
    """Gives the corrector's two weights of each step: they solve equation 5 of the paper."""
    older, newer = torch.zeros_like(h), torch.full_like(h, _HALF)
    if second.any():
        hh, ratio, shape = -h[second], ratio[second], shape[second]
        first = grown[second] / hh - 1
        ones = torch.ones_like(ratio)
        matrix = torch.stack([torch.stack([ones, ones], 1), torch.stack([ratio, ones], 1)], 1)
        right = torch.stack([first / shape, (first / hh - _HALF) * 2 / shape], 1)
        solved = torch.linalg.solve(matrix, right.unsqueeze(-1)).squeeze(-1)
        older[second], newer[second] = solved.unbind(1)
    return older, newer


def _corrected(at: Coefficients, clean: Tensor, history: tuple[Tensor, ...]) -> Tensor:
    before, second, origin = history
    change = at["newer"] * (clean - before)
    if not is_everywhere(at["older"], 0.0):
        change = at["older"] * ((second - before) / at["reached"]) + change
    return at["kept"] * origin - at["weighed"] * before - at["changed"] * change


def _before(values: Tensor) -> Tensor:
    """Gives what a step has of the one before it; 1 at first, where nothing is corrected."""
    return torch.cat([torch.ones(1), values[:-1]])
