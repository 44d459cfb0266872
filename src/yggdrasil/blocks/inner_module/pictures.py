"""What control pictures of every family have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diffusers.image_processor import VaeImageProcessor
from torch import Tensor

from yggdrasil.blocks.processor.vae_image import preprocess
from yggdrasil.core.errors import InputError
from yggdrasil.core.residuals import ControlPictureValue
from yggdrasil.core.values import ConditioningValue

__all__ = [
    "added",
    "check_size",
    "count_of",
    "read_pixels",
    "scale_of_each",
    "single",
]

_ADDED = ("text_embeds", "time_ids")


def read_pixels(
    pictures: object,
    scale: int,
    height: int | None,
    width: int | None,
    crop: tuple[int, int, int, int] | None,
) -> Tensor:
    """Resizes pictures for a ControlNet that reads pixels.

    Args:
        pictures: PIL pictures, arrays ``b h w c`` or tensors ``b c h w`` in [0, 1].
        scale: Of the codec; sizes are rounded down to multiples of it.
        height: Of the result, in pixels; the picture's own where it is not given.
        width: Of the result, in pixels; the picture's own where it is not given.
        crop: The part to take.

    Returns:
        ``b c H W`` in [0, 1], float32.

    Raises:
        InputError: They are none that can be read.
    """
    processor = VaeImageProcessor(vae_scale_factor=scale, do_convert_rgb=True, do_normalize=False)
    return preprocess(processor, "control_image", pictures, height, width, crop).float()


def check_size(config: Mapping[str, Any], picture: ControlPictureValue, sample: Tensor) -> None:
    """Refuses a picture of pixels of another size than what is made.

    Args:
        config: Of the ControlNet, which says how often it halves the picture.
        picture: The prepared picture.
        sample: ``b c h w``.

    Raises:
        InputError: The sizes differ.
    """
    scale = 2 ** (len(config["conditioning_embedding_out_channels"]) - 1)
    wanted = (sample.shape[-2] * scale, sample.shape[-1] * scale)
    if picture.size != wanted:
        raise InputError(
            f"The control image is {picture.size[0]} pixels high and {picture.size[1]} wide, and "
            f"what is made {wanted[0]} and {wanted[1]}: give height={wanted[0]}, "
            f"width={wanted[1]}, or a picture of that size."
        )


def added(config: Mapping[str, Any], conditioning: ConditioningValue) -> dict[str, Tensor] | None:
    """Gives sizes and pooled states, for a ControlNet that reads them.

    Args:
        config: Of the ControlNet.
        conditioning: With ``text_embeds`` and ``time_ids``, where the family has them.
    """
    if config["addition_embed_type"] is None:
        return None
    return {name: conditioning.tensors[name] for name in _ADDED if name in conditioning.tensors}


def single(scale: tuple[float, ...]) -> float:
    """Gives the factor of a module that reads one picture.

    Args:
        scale: As the call gave them.

    Raises:
        InputError: There are several.
    """
    if len(scale) != 1:
        raise InputError(
            f"controlnet_conditioning_scale and the shares of steps have {len(scale)} items for "
            "one node that reads one picture: give a number."
        )
    return scale[0]


def scale_of_each(scale: tuple[float, ...], count: int) -> list[float]:
    """Gives the factor of each picture of a module that reads several.

    Args:
        scale: As the call gave them; one is for all.
        count: How many pictures there are.

    Raises:
        InputError: They are not as many.
    """
    factors = list(scale) * count if len(scale) == 1 else list(scale)
    if len(factors) != count:
        raise InputError(
            f"There are {count} control images and {len(factors)} factors or shares of steps: give "
            "one for each, or a number for all."
        )
    return factors


def count_of(pictures: object) -> int:
    """Says how many control images were given, for messages."""
    return len(pictures) if isinstance(pictures, list) else 1
