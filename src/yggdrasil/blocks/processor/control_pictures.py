"""Control pictures that are read for a batch, whoever reads them."""

from __future__ import annotations

from typing import Any

from diffusers.image_processor import VaeImageProcessor
from torch import Tensor

from yggdrasil.blocks.computing_device import computing_device
from yggdrasil.blocks.processor.vae_image import preprocess
from yggdrasil.core.errors import InputError

__all__ = ["for_each_sample", "read_normed"]


def read_normed(pictures: object, step: int, height: int | None, width: int | None) -> Tensor:
    """Resizes pictures for what reads their latents.

    Args:
        pictures: PIL pictures or arrays ``b h w c`` in [0, 1], one or a list; a tensor ``b c H W``
            is taken as it is, in [-1, 1] and of the right size.
        step: Sizes are rounded down to multiples of it.
        height: Of the result, in pixels; the picture's own where it is not given.
        width: Of the result, in pixels; the picture's own where it is not given.

    Returns:
        ``b c H W`` in [-1, 1].

    Raises:
        InputError: They are none that can be read.
    """
    if isinstance(pictures, Tensor):
        return pictures
    processor = VaeImageProcessor(vae_scale_factor=step)
    return preprocess(processor, "control_image", pictures, height, width, None)


def for_each_sample(image: Tensor, batch: int, per_prompt: int, reader: Any = None) -> Tensor:
    """Repeats control pictures to make a batch, as Diffusers' ``prepare_image`` does.

    Args:
        image: ``n c H W``: one, or one for each prompt.
        batch: How many samples there are.
        per_prompt: How many samples there are for each prompt.
        reader: A model that reads them: they are brought to where it computes, in its dtype.

    Returns:
        ``batch c H W``.

    Raises:
        InputError: There are neither one nor as many as prompts.
    """
    copies = batch if len(image) == 1 else per_prompt
    if len(image) * copies != batch:
        raise InputError(
            f"There are {len(image)} control images for {batch // per_prompt} prompts: give one, "
            "or one for each."
        )
    repeated = image.repeat_interleave(copies, dim=0)
    if reader is None:
        return repeated
    return repeated.to(device=computing_device(reader), dtype=reader.dtype)
