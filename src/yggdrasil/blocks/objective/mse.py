"""The mean squared error."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from yggdrasil.core.errors import InputError
from yggdrasil.core.kinds import Loss
from yggdrasil.core.ports import op
from yggdrasil.core.registry import register_block
from yggdrasil.core.roles import AbstractObjective
from yggdrasil.core.values import BranchedValue, ModelOutput

__all__ = ["MeanSquaredError", "check_alike"]


@register_block("objective/mse")
class MeanSquaredError(AbstractObjective):
    """Mean squared distance between what the model answers and what it should.

    Source:
        Ho et al. 2020 (arXiv:2006.11239), equation 14.
    """

    @op
    def loss(self, prediction: ModelOutput, target: ModelOutput) -> Loss:
        """Compares in float32, over all samples and axes.

        Args:
            prediction: ``b c h w``.
            target: ``b c h w``.

        Returns:
            A scalar.

        Raises:
            InputError: There are several branches, or the shapes differ.
        """
        made, wanted = check_alike(prediction, target)
        return F.mse_loss(made.float(), wanted.float())


def check_alike(
    prediction: Tensor | BranchedValue, target: Tensor | BranchedValue
) -> tuple[Tensor, Tensor]:
    """Gives prediction and target if they can be compared.

    Args:
        prediction: ``b c h w``.
        target: ``b c h w``.

    Raises:
        InputError: There are several branches, or the shapes differ.
    """
    if isinstance(prediction, BranchedValue) or isinstance(target, BranchedValue):
        raise InputError(
            "The loss compares one prediction with one target, and was given one for each "
            "branch: train without guidance, or combine the branches first."
        )
    if prediction.shape != target.shape:
        # Broadcasting would hide it behind a number that looks like a loss.
        raise InputError(
            f"The prediction is {list(prediction.shape)} and the target {list(target.shape)}: "
            "they must have one shape."
        )
    return prediction, target
