"""What an inpainting backbone reads beside the latents."""

from __future__ import annotations

import torch

from yggdrasil.blocks.batching import repeat_to
from yggdrasil.blocks.processor.kinds import LatentMask
from yggdrasil.core.kinds import Channels, Latents
from yggdrasil.core.ports import op
from yggdrasil.core.registry import register_block
from yggdrasil.core.roles import AbstractProcessor

__all__ = ["InpaintChannels"]


@register_block("processor/inpaint_channels")
class InpaintChannels(AbstractProcessor):
    """Mask and masked picture as further channels of the backbone's input.

    Source:
        Rombach et al. 2022 (arXiv:2112.10752), section 4.5; the order of the channels: Stable
        Diffusion inpainting in Diffusers.
    """

    @op
    def join(self, mask: LatentMask, masked_latents: Latents) -> Channels:
        """Joins the mask and the masked picture's latents, in this order.

        Args:
            mask: ``b 1 h w``.
            masked_latents: ``n c h w``; the batch is a multiple of ``n``.

        Returns:
            ``b 1+c h w``.

        Raises:
            InputError: The batch is no multiple of the masked pictures.
        """
        known = repeat_to(masked_latents, len(mask), "masked pictures")
        return torch.cat([mask, known.to(device=mask.device, dtype=mask.dtype)], dim=1)
