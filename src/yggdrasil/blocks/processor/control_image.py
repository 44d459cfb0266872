"""A picture that a model is controlled by: edges, depth, a pose."""

from __future__ import annotations

from yggdrasil.blocks.processor.control_pictures import for_each_sample, read_normed
from yggdrasil.core.kinds import Image, Pictures
from yggdrasil.core.ports import op
from yggdrasil.core.registry import register_block
from yggdrasil.core.roles import AbstractProcessor
from yggdrasil.core.values import CodecSpec

__all__ = ["ControlImage"]


@register_block("processor/control_image")
class ControlImage(AbstractProcessor):
    """The picture that FLUX Control follows, one for each sample.

    Source:
        ``prepare_image`` of Diffusers' ``FluxControlPipeline``.
    """

    @op
    def preprocess(
        self,
        pictures: Pictures,
        codec: CodecSpec,
        batch: int,
        height: int | None = None,
        width: int | None = None,
        num_images_per_prompt: int = 1,
    ) -> Image:
        """Resizes, normalises and repeats.

        Args:
            pictures: PIL pictures or arrays ``b h w c`` in [0, 1], one or a list; a tensor
                ``b c H W`` is taken as it is, in [-1, 1] and of the right size.
            codec: Sizes are rounded down to multiples of its scale.
            batch: How many samples there are.
            height: Of the result, in pixels.
            width: Of the result, in pixels.
            num_images_per_prompt: How many samples each of several pictures is for.

        Returns:
            ``b c H W`` in [-1, 1].

        Raises:
            InputError: The pictures are none that can be read, or not as many as prompts.
        """
        image = read_normed(pictures, codec.scale, height, width)
        return for_each_sample(image, batch, num_images_per_prompt)
