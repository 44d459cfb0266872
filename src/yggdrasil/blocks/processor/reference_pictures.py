"""Pictures that a model reads beside the one it makes, or that it changes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import PIL.Image
from diffusers.image_processor import VaeImageProcessor
from torch import Tensor

from yggdrasil.blocks.checks import check_count
from yggdrasil.blocks.pictures import are_latents
from yggdrasil.blocks.processor.kinds import PictureSet
from yggdrasil.blocks.processor.vae_image import preprocess, require_pil
from yggdrasil.core.errors import InputError
from yggdrasil.core.kinds import Pictures
from yggdrasil.core.ports import op
from yggdrasil.core.registry import register_block
from yggdrasil.core.roles import AbstractProcessor
from yggdrasil.core.values import BackboneSpec, CodecSpec

__all__ = ["Fitted", "ReferencePictures"]


class Fitted(NamedTuple):
    """Pictures that a run begins with.

    Attributes:
        pictures: As they were given, or smaller.
        height: Of the run, in pixels.
        width: Of the run, in pixels.
    """

    pictures: Pictures
    height: int
    width: int


@register_block("processor/reference_pictures")
class ReferencePictures(AbstractProcessor):
    """Pictures that a model changes or takes things from.

    Each keeps its size, but for what is over a multiple of a token, which is cut off around, and
    all of them are for every sample. Or, where sizes are given, there is one for each prompt, and
    all are brought to that size whose shape is the nearest to the first one's.

    Args:
        sizes: Width and height of the pictures of training, of a model that takes no others.
        area: The greatest number of pixels that a picture keeps; a larger one is made smaller.
        least: The shortest side that a picture may have, in pixels.
        longest: How many times longer than the other a side may be.

    Source:
        Diffusers' ``Flux2Pipeline`` and ``Flux2ImageProcessor``; of sizes, Black Forest Labs 2025
        (arXiv:2506.15742) and ``FluxKontextPipeline``.
    """

    def __init__(
        self,
        sizes: Sequence[tuple[int, int]] = (),
        area: int = 1024 * 1024,
        least: int = 64,
        longest: int = 8,
    ) -> None:
        for name, value in (("area", area), ("least", least), ("longest", longest)):
            check_count(name, value)
        self.sizes = tuple((width, height) for width, height in sizes)
        self.area = area
        self.least = least
        self.longest = longest

    @op
    def fit(
        self,
        pictures: Pictures,
        codec: CodecSpec,
        backbone: BackboneSpec,
        auto_resize: bool = True,  # noqa: FBT001, FBT002 - a port
        sized_by_picture: bool = False,  # noqa: FBT001, FBT002 - a port
    ) -> Fitted:
        """Makes pictures that a run begins with no larger than they may be, and says its size.

        Args:
            pictures: PIL pictures, arrays ``b h w c`` or tensors ``b c h w`` in [0, 1], one or a
                list, of which the first says the size; latents ``b c h w`` are passed on.
            codec: Gives the scale.
            backbone: Gives the size of a token, of which sides are made multiples.
            auto_resize: Take a size of training, where there are any, and not the picture's own.
            sized_by_picture: Not read here; a graph may have this op only where it is given.

        Raises:
            InputError: The pictures are none that can be read.
        """
        del sized_by_picture
        step = codec.scale * (backbone.patch or 1)
        if isinstance(pictures, Tensor) and pictures.ndim == 4 and are_latents(pictures, codec):
            height, width = (side * codec.scale for side in pictures.shape[2:])
            return Fitted(pictures, height, width)
        height, width = _own_size(pictures)
        if self.sizes and auto_resize:
            shape = (width // step) / (height // step)
            _, width, height = min((abs(shape - w / h), w, h) for w, h in self.sizes)
        elif not self.sizes and height * width > self.area:
            share = math.sqrt(self.area / (height * width))
            processor = VaeImageProcessor(vae_scale_factor=step)
            pictures = processor.resize(pictures, int(height * share), int(width * share))
            height, width = _own_size(pictures)
        return Fitted(pictures, height // step * step, width // step * step)

    @op
    def preprocess(
        self,
        pictures: Pictures,
        codec: CodecSpec,
        backbone: BackboneSpec,
        auto_resize: bool = True,  # noqa: FBT001, FBT002 - a port
        single: bool = False,  # noqa: FBT001, FBT002 - a port
    ) -> PictureSet:
        """Cuts or resizes, and normalises.

        Args:
            pictures: PIL pictures, one or a list; where there are sizes, as for ``fit``.
            codec: Gives the scale.
            backbone: Gives the size of a token, of which sides are made multiples.
            auto_resize: As for ``fit``.
            single: Whether there may be one alone, of any shape.

        Returns:
            For each ``1 c H W`` in [-1, 1]; where there are sizes, all of them as ``b c H W``.

        Raises:
            InputError: One is no picture that can be read, too small or too long, or there are too
                many.
        """
        step = codec.scale * (backbone.patch or 1)
        if self.sizes:
            fitted, height, width = self.fit(pictures, codec, backbone, auto_resize)
            if isinstance(fitted, Tensor) and fitted.ndim == 4 and are_latents(fitted, codec):
                return (fitted,)
            processor = VaeImageProcessor(vae_scale_factor=step)
            resized = processor.resize(fitted, height, width)
            return (preprocess(processor, "image", resized, height, width, None),)
        several = pictures if isinstance(pictures, list) else [pictures]
        if single and len(several) != 1:
            raise InputError(
                f"There are {len(several)} pictures to refer to, and with a mask there may be one: "
                "give one, for all samples."
            )
        processor = VaeImageProcessor(vae_scale_factor=step, do_convert_rgb=True)
        cut = [self._cut(each, step, any_shape=single) for each in several]
        return tuple(processor.preprocess(each) for each in cut)

    def _cut(self, picture: Any, step: int, *, any_shape: bool) -> PIL.Image.Image:
        """Gives the middle of a picture, whole tokens wide and high."""
        image = require_pil("image", picture, "a reference")
        width, height = image.size
        short, long = sorted(image.size)
        if not any_shape and (short < self.least or long > self.longest * short):
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


def _own_size(pictures: Any) -> tuple[int, int]:
    """Gives height and width of a picture, or of the first.

    Raises:
        InputError: It is none.
    """
    first = pictures[0] if isinstance(pictures, list) else pictures
    if isinstance(first, PIL.Image.Image):
        return first.height, first.width
    shape = tuple(getattr(first, "shape", ()))
    if len(shape) < 3:
        raise InputError(
            f"image cannot be read as pictures ({type(first).__name__}): give PIL pictures, arrays "
            "'b h w c' or tensors 'b c h w', one or a list of one size."
        )
    height, width = shape[-2:] if isinstance(first, Tensor) else shape[-3:-1]
    return int(height), int(width)
