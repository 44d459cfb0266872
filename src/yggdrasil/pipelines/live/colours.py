"""Latents to colours by a linear map: a small picture for next to no work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from yggdrasil.core.errors import InputError
from yggdrasil.core.roles import AbstractCodec

__all__ = ["ColourMap"]

_PATCHES, _SIDE, _DEVIATION = 64, 4, 0.7


@dataclass(frozen=True, slots=True)
class ColourMap:
    """The linear map that comes nearest to a decoder.

    Attributes:
        weights: ``channels 3``, float32.
        offset: ``3``, float32.
    """

    weights: Tensor
    offset: Tensor

    @classmethod
    def fit(cls, codec: AbstractCodec) -> Self:
        """Fits the map to a codec by least squares, so that it holds for any model.

        Patches of one random value each are decoded, as much work as a quarter of a 512 by 512
        picture. Single random pixels would be decoded to texture, which no picture is made of: on
        the autoencoder of ``zoo/shapes`` they lead to a map that is right to 13 dB, patches to one
        of 19 dB, and no linear map does better than 20 dB.

        Args:
            codec: Its weights are read, and loaded if they were not.

        Raises:
            InputError: The codec does not decode to pictures in three colours.
        """
        channels = codec.describe_latents().channels
        generator = torch.Generator().manual_seed(0)
        values = torch.randn(_PATCHES, channels, 1, 1, generator=generator) * _DEVIATION
        image = codec.decode(values.expand(-1, -1, _SIDE, _SIDE).contiguous())
        if image.ndim != 4 or image.shape[1] != 3:
            raise InputError(
                f"preview: {type(codec).__name__} decodes to {list(image.shape)}, which is no "
                "picture in three colours: leave preview out."
            )
        colours = avg_pool2d(image.float().cpu().clamp(-1, 1), image.shape[-2:]).flatten(1)
        rows = torch.cat([values.flatten(1), torch.ones(_PATCHES, 1)], dim=1)
        solution = torch.linalg.lstsq(rows, colours).solution
        return cls(solution[:-1], solution[-1])

    def __call__(self, latents: Tensor) -> Tensor:
        """Gives a picture ``b 3 h w`` in [-1, 1], one pixel for each of the latents ``b c h w``."""
        here = latents.detach().float().cpu().movedim(1, -1)
        return (here @ self.weights + self.offset).clamp(-1, 1).movedim(-1, 1)
