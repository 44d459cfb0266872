"""What an inpainting backbone reads beside the latents."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from yggdrasil.blocks.batching import copies, repeat_to
from yggdrasil.blocks.processor.kinds import LatentMask
from yggdrasil.core.kinds import Channels, Latents, Mask, Noise
from yggdrasil.core.ports import op
from yggdrasil.core.registry import register_block
from yggdrasil.core.roles import AbstractProcessor
from yggdrasil.core.values import CodecSpec

__all__ = ["InpaintChannels"]


@register_block("processor/inpaint_channels")
class InpaintChannels(AbstractProcessor):
    """Mask and masked picture as further channels of the backbone's input.

    Source:
        Rombach et al. 2022 (arXiv:2112.10752), section 4.5; the order of the channels: Stable
        Diffusion inpainting in Diffusers, and ``prepare_mask_latents`` of its ``FluxFillPipeline``.
    """

    @op
    def join(
        self, mask: LatentMask, masked_latents: Latents, noise: Noise | None = None
    ) -> Channels:
        """Joins the mask and the masked picture's latents, in this order.

        Args:
            mask: ``b 1 h w``.
            masked_latents: ``n c h w``; the batch is a multiple of ``n``.
            noise: Not read. Where a run goes on with another's latents nothing else asks for it,
                and Diffusers draws it before the masked picture's latents all the same.

        Returns:
            ``b 1+c h w``.

        Raises:
            InputError: The batch is no multiple of the masked pictures.
        """
        del noise
        known = repeat_to(masked_latents, len(mask), "masked pictures")
        return torch.cat([mask, known.to(device=mask.device, dtype=mask.dtype)], dim=1)

    @op
    def join_pixels(self, mask: Mask, masked_latents: Latents, codec: CodecSpec) -> Channels:
        """Joins the masked picture's latents and every pixel of the mask, in this order.

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
