"""A picture that a model reads as an example or to change it, at a size that it was trained at."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from diffusers.image_processor import VaeImageProcessor
from torch import Tensor

from yggdrasil.blocks.pictures import PictureSize, are_latents
from yggdrasil.core.errors import InputError
from yggdrasil.core.kinds import Image, Pictures
from yggdrasil.core.ports import op
from yggdrasil.core.registry import register_block
from yggdrasil.core.roles import AbstractProcessor
from yggdrasil.core.values import BackboneSpec, CodecSpec

__all__ = ["ReferenceImage"]

_TALL = (
    (672, 1568), (688, 1504), (720, 1456), (752, 1392), (800, 1328), (832, 1248), (880, 1184),
    (944, 1104),
)  # fmt: skip
_SIZES = (*_TALL, (1024, 1024), *((height, width) for width, height in _TALL))
"""Width and height of the pictures of training, as Diffusers' ``FluxKontextPipeline`` has them."""


@register_block("processor/reference_image")
class ReferenceImage(AbstractProcessor):
    """The picture that FLUX Kontext changes.

    Source:
        Black Forest Labs 2025 (arXiv:2506.15742); ``FluxKontextPipeline`` of Diffusers.
    """

    @op
    def size(
        self,
        pictures: Pictures,
        codec: CodecSpec,
        backbone: BackboneSpec,
        sized_by_picture: bool,  # noqa: FBT001 - a port
        auto_resize: bool = True,  # noqa: FBT001, FBT002 - a port
    ) -> PictureSize:
        """Gives the size that a run works at whose picture decides it.

        Args:
            pictures: As for ``preprocess``.
            codec: Gives the scale.
            backbone: Gives the size of a token, of which sides are made multiples.
            sized_by_picture: Says that the picture decides; without it there is no such size.
            auto_resize: As for ``preprocess``.

        Raises:
            InputError: The pictures are none that can be read.
        """
        del sized_by_picture
        step = codec.scale * (backbone.patch or 1)
        with _reading(pictures):
            return _size(VaeImageProcessor(vae_scale_factor=step), pictures, step, auto_resize)

    @op
    def preprocess(
        self,
        pictures: Pictures,
        codec: CodecSpec,
        backbone: BackboneSpec,
        auto_resize: bool = True,  # noqa: FBT001, FBT002 - a port
    ) -> Image:
        """Resizes and normalises.

        Args:
            pictures: PIL pictures, arrays ``b h w c`` or tensors ``b c h w`` in [0, 1], one or a
                list, of which the first says the shape; latents ``b c h w`` are passed on.
            codec: Gives the scale.
            backbone: Gives the size of a token, of which sides are made multiples.
            auto_resize: Take the size of training whose shape is the nearest, and not the
                picture's own.

        Returns:
            ``b c H W`` in [-1, 1].

        Raises:
            InputError: The pictures are none that can be read.
        """
        if isinstance(pictures, Tensor) and pictures.ndim == 4 and are_latents(pictures, codec):
            return pictures
        step = codec.scale * (backbone.patch or 1)
        processor = VaeImageProcessor(vae_scale_factor=step)
        with _reading(pictures):
            height, width = _size(processor, pictures, step, auto_resize)
            resized = processor.resize(pictures, height, width)
            tensor: Tensor = processor.preprocess(resized, height, width)
        return tensor


def _size(
    processor: VaeImageProcessor,
    pictures: Any,
    step: int,
    trained: bool,  # noqa: FBT001 - named by its only callers
) -> PictureSize:
    """Gives the size of the first picture, or of training, in whole tokens."""
    first = pictures[0] if isinstance(pictures, list) else pictures
    height, width = processor.get_default_height_width(first)
    if trained:
        shape = width / height
        _, width, height = min((abs(shape - w / h), w, h) for w, h in _SIZES)
    return PictureSize(height // step * step, width // step * step)


@contextlib.contextmanager
def _reading(pictures: object) -> Iterator[None]:
    """Says what cannot be read as pictures."""
    try:
        yield
    except (AttributeError, IndexError, ValueError) as error:
        raise InputError(
            f"image cannot be read as pictures ({type(pictures).__name__}): give PIL pictures, "
            f"arrays 'b h w c' or tensors 'b c h w', one or a list of one size. {error}"
        ) from error
