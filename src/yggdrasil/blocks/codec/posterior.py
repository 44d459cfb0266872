"""What a picture's latents may be: the answer of a variational encoder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Self

import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from torch import Tensor

from yggdrasil.blocks.batching import GeneratorArgument, concatenate_to
from yggdrasil.core.errors import InputError
from yggdrasil.core.kinds import Kind

__all__ = ["Posterior", "PosteriorValue"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PosteriorValue:
    """A diagonal Gaussian over latents, or latents that the caller has encoded already.

    Attributes:
        parameters: Means and logarithms of variances ``b 2c h w``, not scaled; or latents
            ``b c h w``, scaled, which are then certain.
        certain: Whether the parameters are latents, so that nothing is drawn.
        dtype: Of the latents, once drawn; that of the parameters unless given.
    """

    parameters: Tensor
    certain: bool = False
    dtype: torch.dtype | None = None

    @property
    def batch(self) -> int:
        """How many pictures it describes."""
        return len(self.parameters)

    def repeat(self, batch: int) -> Self:
        """Gives the same posteriors for a larger batch, all in order and then all again.

        Raises:
            InputError: The batch is no multiple of the pictures.
        """
        return replace(self, parameters=concatenate_to(self.parameters, batch, "pictures"))

    def draw(self, generator: GeneratorArgument = None) -> Tensor:
        """Draws latents ``b c h w``: mean + deviation * noise, or those that are certain.

        Args:
            generator: The source of the noise: one for all, or one for each picture.
        """
        if self.certain:
            return self.parameters
        latents: Tensor = self._gaussian().sample(generator)
        return latents.to(dtype=self.dtype)

    def mode(self) -> Tensor:
        """Gives the likeliest latents ``b c h w``, without a draw."""
        return self.parameters if self.certain else self._gaussian().mode().to(dtype=self.dtype)

    def kl(self) -> Tensor:
        """Gives the divergence from a standard normal, in nats, summed over each sample: ``b``.

        Raises:
            InputError: The latents are certain: they have no distribution.

        Source:
            Kingma and Welling 2013 (arXiv:1312.6114), appendix B.
        """
        if self.certain:
            raise InputError(
                "The picture given was latents already, which have no distribution to compare "
                "with a normal one: give pictures with the channels that the codec reads."
            )
        divergence: Tensor = self._gaussian().kl()
        return divergence

    def _gaussian(self) -> DiagonalGaussianDistribution:
        return DiagonalGaussianDistribution(self.parameters)


Posterior = Annotated[PosteriorValue, Kind("posterior")]
