"""Pictures that a model reads beside the one it makes, each at a size of its own."""

from __future__ import annotations

import math
from typing import Any

import PIL.Image
from diffusers.image_processor import VaeImageProcessor

from yggdrasil.blocks.checks import check_count
from yggdrasil.blocks.processor.kinds import PictureSet
from yggdrasil.blocks.processor.vae_image import require_pil
from yggdrasil.core.errors import InputError
from yggdrasil.core.kinds import Pictures
from yggdrasil.core.ports import op
from yggdrasil.core.registry import register_block
from yggdrasil.core.roles import AbstractProcessor
from yggdrasil.core.values import BackboneSpec, CodecSpec

__all__ = ["ReferencePictures"]


@register_block("processor/reference_pictures")
class ReferencePictures(AbstractProcessor):
    """The pictures that FLUX.2 changes or takes things from, all of them for every sample.

    Each keeps its size, but for what is over a multiple of a token, which is cut off around.

    Args:
        area: The greatest number of pixels that a picture keeps; a larger one is made smaller.
        least: The shortest side that a picture may have, in pixels.
        longest: How many times longer than the other a side may be.

    Source:
        Diffusers' ``Flux2Pipeline`` and ``Flux2ImageProcessor``.
    """

    def __init__(self, area: int = 1024 * 1024, least: int = 64, longest: int = 8) -> None:
        for name, value in (("area", area), ("least", least), ("longest", longest)):
            check_count(name, value)
        self.area = area
        self.least = least
        self.longest = longest

    @op
    def preprocess(
        self, pictures: Pictures, codec: CodecSpec, backbone: BackboneSpec
    ) -> PictureSet:
        """Cuts and normalises.

        Args:
            pictures: PIL pictures, one or a list.
            codec: Gives the scale.
            backbone: Gives the size of a token, of which sides are made multiples.

        Returns:
            For each ``1 c H W`` in [-1, 1].

        Raises:
            InputError: One is no PIL picture, too small or too long.
        """
        step = codec.scale * (backbone.patch or 1)
        several = pictures if isinstance(pictures, list) else [pictures]
        processor = VaeImageProcessor(vae_scale_factor=step, do_convert_rgb=True)
        return tuple(processor.preprocess(self._cut(each, step)) for each in several)

    def _cut(self, picture: Any, step: int) -> PIL.Image.Image:
        """Gives the middle of a picture, whole tokens wide and high."""
        image = require_pil("image", picture, "a reference")
        width, height = image.size
        if min(width, height) < self.least or max(width, height) > self.longest * min(
            width, height
        ):
            raise InputError(
                f"image is {width} pixels wide and {height} high: a picture to refer to has at "
                f"least {self.least} on each side, and no side more than {self.longest} times as "
                "long as the other. Crop or enlarge it."
            )
        if width * height > self.area:
            share = math.sqrt(self.area / (width * height))
            width, height = int(width * share), int(height * share)
            image = image.resize((width, height), PIL.Image.Resampling.LANCZOS)
        across, down = width // step * step, height // step * step
        left, top = (width - across) // 2, (height - down) // 2
        return image.crop((left, top, left + across, top + down))
