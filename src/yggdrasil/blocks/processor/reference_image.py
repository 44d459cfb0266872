"""A picture that a model reads as an example or to change it, at a size that it was trained at."""

from __future__ import annotations

from diffusers.image_processor import VaeImageProcessor
from torch import Tensor

from yggdrasil.blocks.pictures import are_latents
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
        try:
            first = pictures[0] if isinstance(pictures, list) else pictures
            height, width = processor.get_default_height_width(first)
            if auto_resize:
                shape = width / height
                _, width, height = min((abs(shape - w / h), w, h) for w, h in _SIZES)
            height, width = height // step * step, width // step * step
            resized = processor.resize(pictures, height, width)
            tensor: Tensor = processor.preprocess(resized, height, width)
        except (AttributeError, IndexError, ValueError) as error:
            raise InputError(
                f"image cannot be read as pictures ({type(pictures).__name__}): give PIL pictures, "
                f"arrays 'b h w c' or tensors 'b c h w', one or a list of one size. {error}"
            ) from error
        return tensor
