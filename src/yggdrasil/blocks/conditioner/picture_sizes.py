"""Sizes and crops as an input of the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor

from yggdrasil.blocks.checks import check_choice
from yggdrasil.core.errors import InputError
from yggdrasil.core.ports import op
from yggdrasil.core.registry import register_block
from yggdrasil.core.roles import AbstractConditioner
from yggdrasil.core.values import CodecSpec, Conditioning, Extras, ExtrasValue, LatentShape

__all__ = ["PictureSizes"]

Size = tuple[int, int]


@register_block("conditioner/picture_sizes")
class PictureSizes(AbstractConditioner):
    """Tells the model how large a picture of its training is to be like: ``time_ids``, ``b 6``.

    Args:
        aesthetic: Whether the model reads how beautiful the picture is to be in the place of the
            size that is wanted, ``b 5``, as refiners do; ``requires_aesthetics_score`` of the model
            says it.

    Source:
        Podell et al. 2023 (arXiv:2307.01952), section 2.2; ``_get_add_time_ids`` of Diffusers'
        ``StableDiffusionXLPipeline`` and ``StableDiffusionXLImg2ImgPipeline``.
    """

    pipeline_settings: ClassVar[Mapping[str, str]] = {"aesthetic": "requires_aesthetics_score"}

    def __init__(self, aesthetic: bool = False) -> None:  # noqa: FBT001, FBT002 - configuration
        self.aesthetic = bool(aesthetic)

    @op
    def embed(
        self,
        conditioning: Conditioning,
        shape: LatentShape,
        codec: CodecSpec,
        original_size: Size | None = None,
        crops_coords_top_left: Size = (0, 0),
        target_size: Size | None = None,
        negative_original_size: Size | None = None,
        negative_crops_coords_top_left: Size = (0, 0),
        negative_target_size: Size | None = None,
        aesthetic_score: float = 6.0,
        negative_aesthetic_score: float = 2.5,
        negative_sizes: Literal["each", "both", "same"] = "each",
    ) -> Extras:
        """Gives the sizes, which are those of the picture unless given.

        Args:
            conditioning: Gives dtype and device.
            shape: Of the latents.
            codec: Gives the scale of pixels.
            original_size: Height and width of the picture before it was made larger or smaller.
            crops_coords_top_left: How much was cut off it, above and at the left.
            target_size: Height and width that are wanted.
            negative_original_size: As ``original_size``, for what the picture is to be unlike.
            negative_crops_coords_top_left: The same of ``crops_coords_top_left``.
            negative_target_size: The same of ``target_size``.
            aesthetic_score: How beautiful the picture is to be, 1 to 10.
            negative_aesthetic_score: The same of what it is to be unlike.
            negative_sizes: Where the negative sizes come from: ``both`` counts them only where both
                are given, as text to image does; ``each`` takes the positive one for each that is
                not, and always the positive crop unless beauty is read, as image to image does;
                ``same`` takes the positive ones.

        Raises:
            InputError: A size is no pair of numbers.
        """
        check_choice("negative_sizes", negative_sizes, ("each", "both", "same"))
        size = (shape.shape[-2] * codec.scale, shape.shape[-1] * codec.scale)
        original = _pair("original_size", original_size) or size
        target = _pair("target_size", target_size) or size
        crops = _pair("crops_coords_top_left", crops_coords_top_left) or (0, 0)
        other_original = _pair("negative_original_size", negative_original_size)
        other_crops = _pair("negative_crops_coords_top_left", negative_crops_coords_top_left)
        other_target = _pair("negative_target_size", negative_target_size)
        if negative_sizes == "same":
            other_original, other_crops, other_target = original, crops, target
        positive: tuple[float, ...] = (*original, *crops, *target)
        negative: tuple[float, ...] = positive
        if self.aesthetic:
            positive = (*original, *crops, aesthetic_score)
            first = other_original or original
            negative = (*first, *(other_crops or (0, 0)), negative_aesthetic_score)
        elif negative_sizes == "each":
            negative = (*(other_original or original), *crops, *(other_target or target))
        elif other_original and other_target:
            negative = (*other_original, *(other_crops or (0, 0)), *other_target)

        def ids(values: tuple[float, ...]) -> Tensor:
            made = torch.tensor([values], dtype=conditioning.dtype)
            return made.to(conditioning.device)

        return ExtrasValue(
            tensors={"time_ids": ids(positive)},
            branches={"negative": {"time_ids": ids(negative)}},
        )


def _pair(name: str, value: object) -> tuple[int, int] | None:
    """Gives a size as a pair.

    Raises:
        InputError: It is none.
    """
    if value is None:
        return None
    if (
        not isinstance(value, tuple | list)
        or len(value) != 2
        or not all(isinstance(each, int | float) for each in value)
    ):
        raise InputError(
            f"{name} is {value!r}: give height and width, such as {name}=(1024, 1024)."
        )
    first, second = value
    return (first, second)
