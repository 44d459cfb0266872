"""A picture that is to be changed as a prompt says, as further channels of the model's input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch

from yggdrasil.blocks.guidance.instruct import UNSEEN
from yggdrasil.core.kinds import Latents
from yggdrasil.core.ports import op
from yggdrasil.core.registry import register_block
from yggdrasil.core.roles import AbstractConditioner
from yggdrasil.core.values import Extras, ExtrasValue

__all__ = ["EditedPicture"]


@register_block("conditioner/edited_picture")
class EditedPicture(AbstractConditioner):
    """The picture's latents for the branches that see it, and zeros for the one that does not.

    Args:
        scaled: Whether the model reads them scaled as its own latents are; ``is_cosxl_edit`` of
            the model says it.

    Source:
        Brooks et al. 2022 (arXiv:2211.09800), section 3.2; ``prepare_image_latents`` of Diffusers'
        ``StableDiffusionInstructPix2PixPipeline``.
    """

    pipeline_settings: ClassVar[Mapping[str, str]] = {"scaled": "is_cosxl_edit"}

    def __init__(self, *, scaled: bool = False) -> None:
        self.scaled = bool(scaled)

    @op(fact=True)
    def scales(self) -> bool:
        """Says whether the latents are to be scaled."""
        return self.scaled

    @op
    def embed(self, latents: Latents) -> Extras:
        """Gives the latents to the branches.

        Args:
            latents: ``b c h w``, those of the picture for each sample.
        """
        return ExtrasValue(
            tensors={"channels": latents},
            branches={UNSEEN: {"channels": torch.zeros_like(latents)}},
        )
