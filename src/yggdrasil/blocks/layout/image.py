"""The shape of a picture's latents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from yggdrasil.blocks.checks import check_multiple
from yggdrasil.blocks.pictures import PictureSize, are_latents, default_size, size_of_run
from yggdrasil.core.errors import InputError
from yggdrasil.core.kinds import Image, Many, Noise, TokenCount
from yggdrasil.core.ports import op
from yggdrasil.core.registry import register_block
from yggdrasil.core.residuals import ControlPicture
from yggdrasil.core.roles import AbstractLayout
from yggdrasil.core.values import (
    BackboneSpec,
    CodecSpec,
    Conditioning,
    LatentShape,
    LatentShapeValue,
)

__all__ = ["ImageLayout"]


@register_block("layout/image")
class ImageLayout(AbstractLayout):
    """Latents ``b c h w`` as the codec gives them, not packed.

    Args:
        multiple: What height and width must be multiples of, in pixels. Stable Diffusion's 8 is
            the scale of its codec; None for what a token of the backbone covers.
        resizes: Whether a picture is brought to the size of the run, ``height`` and ``width`` or
            what the backbone was trained at, as it is for Stable Diffusion 3. Else it keeps its
            own.
    """

    def __init__(
        self,
        multiple: int | None = 8,
        resizes: bool = False,  # noqa: FBT001, FBT002 - configuration, given by name
    ) -> None:
        self.multiple = multiple
        self.resizes = bool(resizes)

    @op
    def size(
        self,
        codec: CodecSpec,
        backbone: BackboneSpec,
        height: int | None = None,
        width: int | None = None,
    ) -> PictureSize:
        """Gives the size of the run, which pictures are brought to.

        Args:
            codec: Gives the scale.
            backbone: Gives the size it was trained at.
            height: In pixels, in the place of the backbone's.
            width: In pixels, in the place of the backbone's.

        Raises:
            InputError: Nothing tells the size.
        """
        return size_of_run(codec, backbone, height, width)

    @op
    def shape(
        self,
        conditioning: Conditioning,
        codec: CodecSpec,
        backbone: BackboneSpec,
        image: Image | None = None,
        control: Many[ControlPicture] = (),
        height: int | None = None,
        width: int | None = None,
    ) -> LatentShape:
        """Gives the shape that the noise of a run must have.

        The size is that of the picture; without one that of the first control picture; without
        any, ``height`` and ``width`` where both are given; else what the backbone was trained at.

        Args:
            conditioning: Gives batch, dtype and device.
            codec: Gives channels and scale.
            backbone: Gives the size where nothing else does.
            image: A preprocessed picture ``b c H W``, or latents.
            control: Control pictures, made ready at ``height`` and ``width`` where these are given.
            height: Of the picture, in pixels.
            width: Of the picture, in pixels.

        Raises:
            InputError: Nothing tells the size.
        """
        if image is not None and are_latents(image, codec):
            rows, columns = image.shape[2:]
        else:
            if image is not None:
                height, width = image.shape[2:]
            elif control:
                height, width = control[0].size
            elif not height or not width:  # half a size is none, as in Diffusers
                height, width = default_size(codec, backbone)
            rows, columns = height // codec.scale, width // codec.scale
        return LatentShapeValue(
            shape=(conditioning.batch, codec.channels, rows, columns),
            dtype=conditioning.dtype,
            device=conditioning.device,
        )

    @op
    def tokens(self, noise: Noise, backbone: BackboneSpec) -> TokenCount:
        """Gives how many tokens the backbone makes of the latents.

        Args:
            noise: In the shape of the latents, ``b c h w``.
            backbone: Gives the size of a token.
        """
        patch = backbone.patch or 1
        return (noise.shape[-2] // patch) * (noise.shape[-1] // patch)

    def declines(self, op: str, facts: Mapping[str, Any]) -> bool:
        """Says that pictures which keep their size are not resized, and who makes no tokens.

        Args:
            op: The op.
            facts: Values of its inputs that are known from configuration.
        """
        if op == "tokens":
            backbone = facts.get("backbone")
            return backbone is not None and backbone.patch is None
        return op == "size" and not self.resizes

    def check_inputs(self, op: str, known: Mapping[str, Any]) -> None:
        """Refuses sizes that the model cannot make.

        Args:
            op: The op that will be run.
            known: Values of its inputs that are known.

        Raises:
            InputError: Height or width is no positive multiple, or more than the model can take.
        """
        del op
        codec, backbone = known.get("codec"), known.get("backbone")
        multiple = self.multiple
        if multiple is None:
            multiple = (
                1 if codec is None or backbone is None else codec.scale * (backbone.patch or 1)
            )
        for axis, name in enumerate(("height", "width")):
            if known.get(name) is None:
                continue
            check_multiple(name, known[name], multiple)
            if codec is None or backbone is None or backbone.largest is None:
                continue
            most = backbone.largest[axis] * codec.scale
            if known[name] > most:
                raise InputError(
                    f"{name} is {known[name]}: the model has positions for {most} pixels at most; "
                    f"give {name}={most} or less."
                )
