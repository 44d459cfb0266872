"""Masks of what is to be painted anew."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from diffusers.image_processor import VaeImageProcessor
from torch import Tensor
from torch.nn import functional as F

from yggdrasil.blocks.batching import repeat_to
from yggdrasil.blocks.checks import check_choice, check_count, check_multiple
from yggdrasil.blocks.pictures import PictureSize, are_latents, size_of_run
from yggdrasil.blocks.processor.kinds import CropRegion, LatentMask
from yggdrasil.blocks.processor.vae_image import preprocess, require_pil
from yggdrasil.core.errors import InputError
from yggdrasil.core.kinds import Image, Mask, Pictures
from yggdrasil.core.ports import op
from yggdrasil.core.registry import register_block
from yggdrasil.core.roles import AbstractProcessor
from yggdrasil.core.values import BackboneSpec, CodecSpec, LatentShape

__all__ = ["InpaintMask"]

_SIZES = ("model", "picture")


@register_block("processor/inpaint_mask")
class InpaintMask(AbstractProcessor):
    """Everything that inpainting does with its mask before the loop.

    Args:
        interpolation: How it is made as small as latents: ``nearest``, or ``bilinear``, which
            leaves an edge between what is painted and what is kept.

    Source:
        Diffusers' ``StableDiffusionInpaintPipeline`` and ``VaeImageProcessor``.
    """

    def __init__(self, interpolation: Literal["nearest", "bilinear"] = "nearest") -> None:
        check_choice("interpolation", interpolation, ("nearest", "bilinear"))
        self.interpolation = interpolation

    @op
    def size(
        self,
        mask_image: Pictures,
        codec: CodecSpec,
        backbone: BackboneSpec,
        height: int | None = None,
        width: int | None = None,
        picture: Pictures | None = None,
        size_of: Literal["model", "picture"] = "model",
    ) -> PictureSize:
        """Gives the size that inpainting works at.

        A picture to be changed as a whole keeps its size; one to be inpainted is made as large as
        the backbone was trained at, unless a size is given. This op exists where there is a mask,
        and so it is the mask that decides.

        Args:
            mask_image: The mask as it was given.
            codec: Gives the scale.
            backbone: Gives the size it was trained at.
            height: In pixels, in the place of the backbone's.
            width: In pixels, in the place of the backbone's.
            picture: That is to be painted in.
            size_of: What says the size unless it is given: the ``model``, or the ``picture``, as
                Diffusers has it with ControlNets.

        Raises:
            InputError: Nothing tells the size.
        """
        del mask_image
        check_choice("size_of", size_of, _SIZES)
        if size_of == "picture" and picture is not None:
            processor = VaeImageProcessor(vae_scale_factor=codec.scale)
            first = picture[0] if isinstance(picture, list) else picture
            return PictureSize(*processor.get_default_height_width(first, height, width))
        return size_of_run(codec, backbone, height, width)

    @op
    def region(
        self,
        mask_image: Pictures,
        padding_mask_crop: int,
        codec: CodecSpec,
        backbone: BackboneSpec,
        height: int | None = None,
        width: int | None = None,
    ) -> CropRegion:
        """Finds the part of the picture around the mask, in the shape that is worked at.

        Args:
            mask_image: One PIL picture.
            padding_mask_crop: Pixels to keep around what is masked.
            codec: Gives the scale.
            backbone: Gives the size it was trained at.
            height: Worked at, in pixels.
            width: Worked at, in pixels.

        Raises:
            InputError: The mask is no PIL picture, or masks nothing.
        """
        mask = require_pil("mask_image", mask_image, "padding_mask_crop")
        if not np.asarray(mask.convert("L")).any():
            raise InputError(
                "mask_image is black everywhere, so there is nothing to crop to: paint white what "
                "is to be painted anew, or leave padding_mask_crop out."
            )
        rows, columns = size_of_run(codec, backbone, height, width)
        left, top, right, bottom = VaeImageProcessor.get_crop_region(
            mask, columns, rows, pad=padding_mask_crop
        )
        return left, top, right, bottom

    @op
    def preprocess(
        self,
        mask_image: Pictures,
        codec: CodecSpec,
        image: Image,
        crop: CropRegion | None = None,
    ) -> Mask:
        """Makes the mask as large as the picture, and black or white.

        Args:
            mask_image: PIL pictures, arrays or tensors in [0, 1], 1 where to paint anew.
            codec: Gives the scale.
            image: The preprocessed picture ``b c H W``, or its latents.
            crop: The part of the mask to take.

        Returns:
            ``b 1 H W``, 0 or 1.

        Raises:
            InputError: The mask cannot be read.
        """
        scale = codec.scale if are_latents(image, codec) else 1
        processor = VaeImageProcessor(
            vae_scale_factor=codec.scale,
            do_normalize=False,
            do_binarize=True,
            do_convert_grayscale=True,
        )
        height, width = image.shape[2] * scale, image.shape[3] * scale
        return preprocess(processor, "mask_image", mask_image, height, width, crop)

    @op
    def cover(self, image: Image, mask: Mask, backbone: BackboneSpec | None = None) -> Image:
        """Takes out of the picture what is to be painted anew.

        Args:
            image: ``b c H W`` in [-1, 1].
            mask: ``b 1 H W``.
            backbone: Says whether it reads the masked picture; one that does not has no need of
                it where the picture is latents, out of which nothing can be taken.

        Returns:
            ``b c H W``, 0 (grey) where the mask is 1.

        Raises:
            InputError: Mask and picture have not the same size.
        """
        if image.shape[2:] != mask.shape[2:]:
            if backbone is not None and not backbone.reads_mask:
                return image
            raise InputError(
                f"The image is {list(image.shape)} and the mask {list(mask.shape)}: where the "
                "image is given as latents, give `masked_image_latents` too."
            )
        masked: Tensor = image * (mask < 0.5)
        return masked

    @op
    def resize(self, mask: Mask, shape: LatentShape) -> LatentMask:
        """Takes the mask to the size of the latents and to their batch.

        Args:
            mask: ``b 1 H W``.
            shape: Of the latents.

        Returns:
            ``b 1 h w`` of the latents' dtype and device.

        Raises:
            InputError: The batch is no multiple of the masks.
        """
        # Before the cast: interpolation knows half precision only on some devices.
        small = F.interpolate(mask, size=shape.shape[2:], mode=self.interpolation)
        small = small.to(device=shape.device, dtype=shape.dtype)
        return repeat_to(small, shape.shape[0], "masks")

    def check_inputs(self, op: str, known: Mapping[str, Any]) -> None:
        """Refuses sizes and paddings that cannot be.

        Args:
            op: The op that will be run.
            known: Values of its inputs that are known.

        Raises:
            InputError: A value cannot be right.
        """
        codec = known.get("codec")
        for name in ("height", "width"):
            # Where a layout gives the size it makes it fit.
            if op == "size" and known.get(name) is not None:
                check_multiple(name, known[name], codec.scale if codec is not None else 1)
        if known.get("padding_mask_crop") is not None:
            check_count("padding_mask_crop", known["padding_mask_crop"], least=0)
