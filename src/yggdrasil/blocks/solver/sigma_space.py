"""What rules over sigmas share: clean latents out of a prediction, and the model's scale."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from yggdrasil.blocks.solver.sample_states import Coefficients

__all__ = ["PREDICTIONS", "clean_of", "sigma_columns"]

PREDICTIONS = ("epsilon", "v_prediction", "sample")
"""What the model may predict."""


def clean_of(prediction: str, at: Coefficients, sample: Tensor, output: Tensor) -> Tensor:
    """Gives the clean latents that a prediction stands for.

    Args:
        prediction: One of ``PREDICTIONS``.
        at: The step's numbers, of ``sigma_columns``.
        sample: Clean latents with noise of deviation sigma added, ``b c h w``.
        output: The model's prediction ``b c h w``.

    Source:
        Karras et al. 2022 (arXiv:2206.00364), table 1; the velocity as in k-diffusion's
        ``external.py`` (``VDenoiser``).
    """
    if prediction == "epsilon":
        return sample - at["sigma"] * output
    if prediction == "v_prediction":
        return output * at["turn"] + sample / at["spread"]
    return output


def sigma_columns(sigmas: Tensor) -> Mapping[str, Tensor]:
    """Gives the coefficients that every rule over sigmas has.

    Args:
        sigmas: ``n+1``, falling, that of the end included.
    """
    return {
        "sigma": sigmas,
        "scale": (sigmas**2 + 1) ** 0.5,
        "spread": sigmas**2 + 1,
        "turn": -sigmas / (sigmas**2 + 1) ** 0.5,
        "signal": torch.ones_like(sigmas),
        "level": sigmas,
    }
