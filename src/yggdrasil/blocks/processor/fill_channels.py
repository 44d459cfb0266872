"""What FLUX Fill reads beside the latents."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from yggdrasil.blocks.batching import copies
from yggdrasil.core.kinds import Channels, Latents, Mask
from yggdrasil.core.ports import op
from yggdrasil.core.registry import register_block
from yggdrasil.core.roles import AbstractProcessor
from yggdrasil.core.values import CodecSpec

__all__ = ["FillChannels"]


@register_block("processor/fill_channels")
class FillChannels(AbstractProcessor):
    """Masked picture and mask as further channels, the mask with every pixel of it.

    Source:
        ``prepare_mask_latents`` of Diffusers' ``FluxFillPipeline``.
    """

    @op
    def join(self, mask: Mask, masked_latents: Latents, codec: CodecSpec) -> Channels:
        """Joins the masked picture's latents and the mask, in this order.

        Args:
            mask: ``n 1 H W``, 1 where to paint anew.
            masked_latents: ``b c h w``; the batch is a multiple of ``n``.
            codec: Gives the scale: so many by so many pixels of the mask become channels.

        Returns:
            ``b c+scale*scale h w``.

        Raises:
            InputError: The batch is no multiple of the masks.
        """
        pixels = F.pixel_unshuffle(mask, codec.scale).to(masked_latents)
        count = copies(len(mask), len(masked_latents), "masks")
        return torch.cat([masked_latents, pixels.repeat(count, 1, 1, 1)], dim=1)
