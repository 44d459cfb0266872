"""What rules over signal and noise level share: clean latents out of a prediction."""

from __future__ import annotations

from torch import Tensor

from yggdrasil.blocks.solver.sample_states import Coefficients

__all__ = ["clean_of"]


def clean_of(prediction: str, at: Coefficients, sample: Tensor, output: Tensor) -> Tensor:
    """Gives the clean latents that a prediction stands for.

    Args:
        prediction: ``epsilon``, ``v_prediction``, ``flow_prediction`` or ``sample``.
        at: The step's numbers: ``signal`` and ``level``, and ``sigma`` for a flow.
        sample: Clean latents times ``signal``, with noise times ``level``, ``b c h w``.
        output: The model's prediction ``b c h w``.

    Source:
        Salimans & Ho 2022 (arXiv:2202.00512), appendix D; Lipman et al. 2022 (arXiv:2210.02747) of
        the flow.
    """
    if prediction == "epsilon":
        return (sample - at["level"] * output) / at["signal"]
    if prediction == "v_prediction":
        return at["signal"] * sample - at["level"] * output
    if prediction == "flow_prediction":
        return sample - at["sigma"] * output
    return output
