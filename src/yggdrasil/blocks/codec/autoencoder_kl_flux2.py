"""The autoencoder of FLUX.2."""

from __future__ import annotations

import math
from typing import Any

import torch
from diffusers import AutoencoderKLFlux2
from torch import Tensor
from torch.nn import functional as F

from yggdrasil.blocks.codec.autoencoder_kl import AutoencoderKLCodec
from yggdrasil.blocks.configuration import with_defaults
from yggdrasil.core.component import Component
from yggdrasil.core.kinds import Latents
from yggdrasil.core.ports import op
from yggdrasil.core.registry import register_block
from yggdrasil.core.values import CodecSpecValue

__all__ = ["AutoencoderKLFlux2Codec"]


@register_block("codec/autoencoder_kl_flux2")
class AutoencoderKLFlux2Codec(AutoencoderKLCodec):
    """Autoencoder whose latents are squares of the encoder's, with mean 0 and variance 1 each.

    The squares' pixels are channels. Means and variances are those of its training, which the
    model keeps as a batch norm.

    Source:
        Black Forest Labs 2025, FLUX.2; ``_encode_vae_image`` and ``_unpatchify_latents`` of
        Diffusers' ``Flux2Pipeline``.
    """

    vae = Component[Any](AutoencoderKLFlux2)

    def describe_latents(self) -> CodecSpecValue:
        """Gives channels and scale of the squares."""
        config = with_defaults(AutoencoderKLFlux2, self.component_config("vae"))
        side = config["patch_size"][0]
        return CodecSpecValue(
            channels=config["latent_channels"] * math.prod(config["patch_size"]),
            scale=2 ** (len(config["block_out_channels"]) - 1) * side,
        )

    @op
    def raw(self, latents: Latents) -> Latents:
        """Gives latents in the form of the encoder's.

        Args:
            latents: ``b 4c h/2 w/2``, as the backbone gives them.

        Returns:
            ``b c h w``.
        """
        return self.unscaled(latents, shifted=True)

    def scaled(self, raw: Tensor, *, shifted: bool = True) -> Tensor:
        """Brings the encoder's latents to the form, the mean and the deviation of training.

        Args:
            raw: ``b c h w``.
            shifted: There is no further shift.

        Returns:
            ``b 4c h/2 w/2``.
        """
        del shifted
        return self._normed(F.pixel_unshuffle(raw, self.vae.config.patch_size[0]))

    def unscaled(self, latents: Tensor, *, shifted: bool) -> Tensor:
        """Undoes ``scaled``.

        Args:
            latents: ``b 4c h/2 w/2``.
            shifted: There is no further shift.
        """
        del shifted
        mean, std = self._statistics(latents)
        raw = latents * std + mean
        # Contiguous, since convolutions round otherwise in another memory format.
        return F.pixel_shuffle(raw.contiguous(), self.vae.config.patch_size[0])

    def given(self, latents: Tensor) -> Tensor:
        """Norms latents that a caller gives in the place of a picture, as Diffusers does.

        Args:
            latents: ``b 4c h/2 w/2``, as the encoder gives them.
        """
        return self._normed(latents)

    def _normed(self, squares: Tensor) -> Tensor:
        mean, std = self._statistics(squares)
        return (squares - mean) / std

    def _statistics(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Gives mean and standard deviation of each channel, ``1 c 1 1``."""
        norm = self.vae.bn
        mean = norm.running_mean.view(1, -1, 1, 1)
        std = torch.sqrt(norm.running_var.view(1, -1, 1, 1) + self.vae.config.batch_norm_eps)
        return mean.to(like.device, like.dtype), std.to(like.device, like.dtype)
