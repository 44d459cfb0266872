"""Pictures as people hold them to pictures as models see them, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import PIL.Image
from diffusers.image_processor import VaeImageProcessor
from diffusers.pipelines.flux2.image_processor import Flux2ImageProcessor
from diffusers.utils import PIL_INTERPOLATION
from torch import Tensor

from yggdrasil.blocks.checks import check_choice, check_multiple
from yggdrasil.blocks.processor.kinds import CropRegion, Flags
from yggdrasil.core.errors import ConfigError, InputError, nearest
from yggdrasil.core.kinds import Image, Pictures
from yggdrasil.core.ports import op
from yggdrasil.core.registry import register_block
from yggdrasil.core.roles import AbstractProcessor
from yggdrasil.core.values import CodecSpec

__all__ = ["VaeImage"]

_OUTPUT_TYPES = ("pil", "np", "pt")
_FITTINGS = ("resized", "cut")


@register_block("processor/vae_image")
class VaeImage(AbstractProcessor):
    """Pictures in [0, 1] to and from tensors in [-1, 1] of a size that the codec can halve.

    Args:
        resample: Pillow's filter for resizing: ``lanczos``, ``bilinear``, ``bicubic``, ...
        do_normalize: Map [0, 1] to [-1, 1] and back.
        do_convert_rgb: Convert PIL pictures to RGB first.
        do_convert_grayscale: Convert them to one channel first.
        fitting: How a painted part comes to be as large as its place in the whole: ``resized``, or
            its middle ``cut`` out, as Diffusers' ``Flux2ImageProcessor`` does.

    Raises:
        ConfigError: There is no such filter or fitting, or both conversions are asked for.

    Source:
        Diffusers' ``VaeImageProcessor``, which does the work.
    """

    def __init__(
        self,
        *,
        resample: str = "lanczos",
        do_normalize: bool = True,
        do_convert_rgb: bool = False,
        do_convert_grayscale: bool = False,
        fitting: Literal["resized", "cut"] = "resized",
    ) -> None:
        check_choice("fitting", fitting, _FITTINGS)
        self.fitting = fitting
        self._options = {
            "resample": resample,
            "do_normalize": do_normalize,
            "do_convert_rgb": do_convert_rgb,
            "do_convert_grayscale": do_convert_grayscale,
        }
        if resample not in PIL_INTERPOLATION:
            raise ConfigError(
                f"{self.type_name}: resample is {resample!r}, which is no filter."
                f"{nearest(resample, PIL_INTERPOLATION)}"
            )
        if do_convert_rgb and do_convert_grayscale:
            raise ConfigError(
                f"{self.type_name}: do_convert_rgb and do_convert_grayscale are both set: a "
                "picture is either; give one."
            )

    @op
    def preprocess(
        self,
        pictures: Pictures,
        codec: CodecSpec,
        height: int | None = None,
        width: int | None = None,
        crop: CropRegion | None = None,
    ) -> Image:
        """Resizes and normalises.

        Args:
            pictures: PIL pictures, arrays ``b h w c`` or tensors ``b c h w`` in [0, 1], one or a
                list; tensors with the channels of latents are passed on as they are.
            codec: Sizes are rounded down to multiples of its scale.
            height: Of the result, in pixels; the picture's own where it is not given.
            width: Of the result, in pixels; the picture's own where it is not given.
            crop: The part to take. It is fitted into the size with its shape kept, and what is
                left over is filled from its edges.

        Returns:
            ``b c H W`` in [-1, 1].

        Raises:
            InputError: The pictures are none that can be read, or cannot be cropped.
        """
        if crop is not None:
            require_pil("image", pictures, "padding_mask_crop")
        processor = VaeImageProcessor(
            vae_scale_factor=codec.scale,
            # Three channels are a picture, whatever the codec.
            vae_latent_channels=codec.channels if codec.channels != 3 else -1,
            **self._options,
        )
        return preprocess(processor, "image", pictures, height, width, crop)

    @op
    def postprocess(
        self,
        image: Image,
        output_type: str = "pil",
        flagged: Flags | None = None,
        original: Pictures | None = None,
        mask_image: Pictures | None = None,
        crop: CropRegion | None = None,
        pasted: bool = True,  # noqa: FBT001, FBT002 - a port
    ) -> Pictures:
        """Maps back to [0, 1] and to the form that is wanted, and puts a part into its whole.

        Args:
            image: ``b c H W`` in [-1, 1]; what lies outside is cut.
            output_type: ``pil`` (a list, rounded to 8 bits), ``np`` (``b H W c``, float32) or
                ``pt`` (``b c H W``), both in [0, 1] and not rounded.
            flagged: Which pictures a checker held back: their zeros are black as they are.
            original: The whole picture as it was given, a PIL picture; read where there is a crop.
            mask_image: The mask as it was given, a PIL picture; read where there is a crop.
            crop: The part of the original that was painted. What comes out is the original, with
                the result in its place where the mask is white.
            pasted: Whether the part is put into its whole; else it comes out by itself.

        Raises:
            InputError: The form is not known, or a part cannot be put into its whole.
        """
        check_choice("output_type", output_type, _OUTPUT_TYPES)
        processor = VaeImageProcessor(**self._options)
        shown = None if flagged is None else [not held_back for held_back in flagged]
        made = processor.postprocess(image, output_type=output_type, do_denormalize=shown)
        if crop is None or not pasted:
            return made
        if output_type != "pil":
            raise InputError(
                f"output_type is {output_type!r}, and padding_mask_crop gives PIL pictures: give "
                "output_type='pil', or leave padding_mask_crop out."
            )
        whole = require_pil("image", original, "padding_mask_crop")
        mask = require_pil("mask_image", mask_image, "padding_mask_crop")
        if self.fitting == "cut":
            processor = Flux2ImageProcessor()
        return [processor.apply_overlay(mask, whole, each, crop) for each in made]

    def check_inputs(self, op: str, known: Mapping[str, Any]) -> None:
        """Refuses output types that do not exist and sizes that cannot be.

        Args:
            op: The op that will be run.
            known: Values of its inputs that are known.

        Raises:
            InputError: A value cannot be right.
        """
        if op == "postprocess" and known.get("output_type") == "latent":
            raise InputError(
                "output_type is 'latent', which is no form of a picture: ask for the output "
                "`latents` instead, and nothing is decoded."
            )
        if op == "postprocess" and "output_type" in known:
            check_choice("output_type", known["output_type"], _OUTPUT_TYPES)
        if isinstance(known.get("pictures"), str | int | float):
            raise InputError(
                f"image is {known['pictures']!r}, which is no picture: give a PIL picture, as "
                "PIL.Image.open(path) opens it, an array or a tensor."
            )
        codec = known.get("codec")
        for name in ("height", "width"):
            if known.get(name) is not None:
                check_multiple(name, known[name], codec.scale if codec is not None else 1)


def preprocess(
    processor: VaeImageProcessor,
    name: str,
    pictures: object,
    height: int | None,
    width: int | None,
    crop: tuple[int, int, int, int] | None,
) -> Tensor:
    """Runs Diffusers' processor, filling up what a crop leaves of the size.

    Args:
        processor: With its options.
        name: Of the input, for the message.
        pictures: What was given for it.
        height: Of the result, in pixels.
        width: Of the result, in pixels.
        crop: The part to take.

    Returns:
        ``b c H W``.

    Raises:
        InputError: The pictures are none that can be read.
    """
    try:
        tensor: Tensor = processor.preprocess(
            pictures,
            height=height,
            width=width,
            resize_mode="default" if crop is None else "fill",
            crops_coords=crop,
        )
    except ValueError as error:
        raise InputError(
            f"{name} cannot be read as pictures ({_describe(pictures)}): give PIL pictures, arrays "
            f"'b h w c' or tensors 'b c h w', one or a list of one size. {error}"
        ) from error
    return tensor


def require_pil(name: str, pictures: object, reason: str) -> PIL.Image.Image:
    """Gives a single PIL picture, or refuses what is none.

    Args:
        name: Of the input, for the message.
        pictures: What was given for it.
        reason: The input that makes it necessary.

    Raises:
        InputError: It is something else.
    """
    if not isinstance(pictures, PIL.Image.Image):
        raise InputError(
            f"{name} is {_describe(pictures)}, and {reason} works on one PIL picture: give "
            f"PIL.Image.open(...), or leave {reason} out."
        )
    return pictures


def _describe(pictures: object) -> str:
    shape = getattr(pictures, "shape", None)
    kind = type(pictures).__name__
    if shape is not None:
        return f"{kind} of shape {list(shape)}"
    if isinstance(pictures, list) and pictures:
        return f"a list of {type(pictures[0]).__name__}"
    return kind
