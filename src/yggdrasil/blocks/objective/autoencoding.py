"""What an autoencoder is trained for."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from yggdrasil.blocks.checks import check_range
from yggdrasil.blocks.codec.posterior import Posterior
from yggdrasil.core.errors import ConfigError, InputError
from yggdrasil.core.kinds import Image, Loss
from yggdrasil.core.ports import op
from yggdrasil.core.registry import register_block
from yggdrasil.core.roles import AbstractObjective

__all__ = ["AutoencodingObjective", "near_edges"]

_EDGE = 0.1
"""A twentieth of the range: more than the slow changes of shading, less than any outline."""


@register_block("objective/autoencoding")
class AutoencodingObjective(AbstractObjective):
    """A faithful picture from latents that are nearly normal.

    Args:
        l1_weight: Weight of the mean absolute error.
        mse_weight: Weight of the mean squared error.
        detail_weight: Added to the weight of pixels near edges, which are few and say what a
            picture shows; 0 weighs all alike.
        kl_weight: Weight of the divergence from a normal distribution, beside an error summed over
            the pixels of a picture as the paper has it: the divergence is divided by their number.

    Source:
        Rombach et al. 2022 (arXiv:2112.10752), appendix G, without its perceptual and adversarial
        terms; its weight of the divergence is 1e-6.
    """

    def __init__(
        self,
        l1_weight: float = 1.0,
        mse_weight: float = 0.0,
        kl_weight: float = 1e-6,
        detail_weight: float = 0.0,
    ) -> None:
        weights = {
            "l1_weight": l1_weight,
            "mse_weight": mse_weight,
            "kl_weight": kl_weight,
            "detail_weight": detail_weight,
        }
        for name, weight in weights.items():
            try:
                check_range(name, weight, 0.0, float("inf"))
            except InputError as error:
                raise ConfigError(f"{self.type_name}: {error}") from error
        if l1_weight == mse_weight == 0.0:
            raise ConfigError(
                f"{self.type_name}: l1_weight and mse_weight are both 0, so nothing compares the "
                "pictures; give one of them."
            )
        self.l1_weight = l1_weight
        self.mse_weight = mse_weight
        self.kl_weight = kl_weight
        self.detail_weight = detail_weight

    @op
    def loss(self, reconstruction: Image, image: Image, posterior: Posterior) -> Loss:
        """Compares in float32 and adds the divergence.

        Args:
            reconstruction: The decoded picture, ``b 3 H W`` in [-1, 1].
            image: The picture itself, of the same shape.
            posterior: What it was encoded to.

        Returns:
            A scalar.

        Raises:
            InputError: The shapes differ.
        """
        if reconstruction.shape != image.shape:
            raise InputError(
                f"The reconstruction is {list(reconstruction.shape)} and the image "
                f"{list(image.shape)}: they must have one shape; give pictures whose height and "
                "width are multiples of the codec's scale."
            )
        made, true = reconstruction.float(), image.float()
        error = (made - true).abs()
        error = self.l1_weight * error + self.mse_weight * error.square()
        if self.detail_weight:
            error = error * (1 + self.detail_weight * near_edges(true))
        total = error.mean()
        if self.kl_weight:
            total = total + self.kl_weight * posterior.kl().float().mean() / true[0].numel()
        return total


def near_edges(image: Tensor) -> Tensor:
    """Finds the pixels within two of an edge.

    Args:
        image: ``b c h w`` in [-1, 1].

    Returns:
        ``b 1 h w``: 1 near an edge, 0 elsewhere.
    """
    around = F.avg_pool2d(image, 5, stride=1, padding=2, count_include_pad=False)
    contrast = (image - around).abs().amax(dim=1, keepdim=True)
    return F.max_pool2d((contrast > _EDGE).float(), 5, stride=1, padding=2)
