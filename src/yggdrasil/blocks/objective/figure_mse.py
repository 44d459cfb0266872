"""What a denoiser is trained for where small figures stand on plain grounds."""

from __future__ import annotations

import torch

from yggdrasil.blocks.checks import check_range
from yggdrasil.blocks.objective.mse import check_alike
from yggdrasil.core.errors import ConfigError, InputError
from yggdrasil.core.kinds import Latents, Loss
from yggdrasil.core.ports import op
from yggdrasil.core.registry import register_block
from yggdrasil.core.roles import AbstractObjective
from yggdrasil.core.values import ModelOutput

__all__ = ["FigureMeanSquaredError", "figure"]


@register_block("objective/figure_mse")
class FigureMeanSquaredError(AbstractObjective):
    """Mean squared distance that weighs a picture's figure more than its ground.

    Most of a picture may be ground, which is learned at once; what a caption says is said of the
    rest. Weights are divided by their mean, so the loss keeps its scale.

    Args:
        figure_weight: Added to the weight of the figure's latent pixels; 0 weighs all alike.
        departure: How far latents of unit variance must be from a picture's median, in any
            channel, to be figure.
    """

    def __init__(self, figure_weight: float = 3.0, departure: float = 0.7) -> None:
        for name, value in {"figure_weight": figure_weight, "departure": departure}.items():
            try:
                check_range(name, value, 0.0, float("inf"))
            except InputError as error:
                raise ConfigError(f"{self.type_name}: {error}") from error
        self.figure_weight = figure_weight
        self.departure = departure

    @op
    def loss(self, prediction: ModelOutput, target: ModelOutput, latents: Latents) -> Loss:
        """Compares in float32.

        Args:
            prediction: ``b c h w``.
            target: ``b c h w``.
            latents: The clean latents ``b c h w`` that tell figure from ground.

        Returns:
            A scalar.

        Raises:
            InputError: There are several branches, or the shapes differ.
        """
        made, wanted = check_alike(prediction, target)
        weights = 1 + self.figure_weight * figure(latents, self.departure)
        return ((made.float() - wanted.float()).square() * weights).mean() / weights.mean()


def figure(latents: torch.Tensor, departure: float) -> torch.Tensor:
    """Tells a picture's figure from its ground.

    Args:
        latents: ``b c h w``, of about unit variance.
        departure: How far from its median a channel must be.

    Returns:
        ``b 1 h w``: 1 where it is figure, 0 where it is ground.
    """
    ground = latents.flatten(2).median(dim=2).values[:, :, None, None]
    return ((latents - ground).abs().amax(dim=1, keepdim=True) > departure).float()
