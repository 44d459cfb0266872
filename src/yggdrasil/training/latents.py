"""Latents of unit variance, by folding their statistics into the autoencoder."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from yggdrasil.core.errors import ConfigError

__all__ = ["normalize_latents"]


@torch.no_grad()
def normalize_latents(vae: AutoencoderKL, pictures: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Makes each channel of the latents have mean 0 and variance 1 over the pictures given.

    Diffusion wants latents of unit variance. Stable Diffusion scales all channels by one number;
    the 1x1 convolutions at the ends of its autoencoder can do it for each channel, with no change
    of format: encoder and decoder together compute what they did.

    Args:
        vae: Changed in place; its ``scaling_factor`` becomes 1.
        pictures: Batches ``b 3 h w`` in [-1, 1].

    Returns:
        The means and standard deviations that were folded in, one for each channel.

    Raises:
        ConfigError: The autoencoder has no such convolutions, or a channel does not vary; it is
            not changed then.
    """
    inward, outward = vae.quant_conv, vae.post_quant_conv
    if inward is None or outward is None:
        raise ConfigError("normalize_latents needs an autoencoder with quant convolutions.")
    drawn = torch.cat([vae.encode(each).latent_dist.mean for each in pictures])
    mean, deviation = drawn.mean((0, 2, 3)), drawn.std((0, 2, 3))
    if not bool((deviation.isfinite() & (deviation > 0)).all()):
        raise ConfigError("A channel of the latents is the same everywhere; train for longer.")
    channels = len(mean)
    inward.weight[:channels] /= deviation[:, None, None, None]
    inward.bias[:channels] = (inward.bias[:channels] - mean) / deviation
    # The other half of the moments are logarithms of variances.
    inward.bias[channels:] -= 2 * deviation.log()
    outward.bias += outward.weight[:, :, 0, 0] @ mean
    outward.weight *= deviation[None, :, None, None]
    vae.register_to_config(scaling_factor=1.0, shift_factor=None)
    return mean, deviation
