"""Latents as tokens: squares of them, row by row."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from yggdrasil.blocks.checks import check_choice, check_count, check_range
from yggdrasil.blocks.pictures import PictureSize, size_of_run
from yggdrasil.blocks.processor.kinds import LatentMask, LatentSet, PictureSet
from yggdrasil.core.kinds import Channels, Latents, Many, Noise, TokenCount
from yggdrasil.core.ports import op
from yggdrasil.core.registry import register_block
from yggdrasil.core.residuals import ControlPicture
from yggdrasil.core.roles import AbstractLayout
from yggdrasil.core.values import (
    BackboneSpec,
    BranchedConditioning,
    BranchedConditioningValue,
    CodecSpec,
    Conditioning,
    Extras,
    ExtrasValue,
    LatentShape,
    LatentShapeValue,
)

__all__ = ["PackedLayout"]

_BEGUN = ("never", "alone", "first")

_log = logging.getLogger(__name__)


@register_block("layout/packed")
class PackedLayout(AbstractLayout):
    """Squares of latent pixels as tokens, row by row; between loop and codec they are unpacked.

    Args:
        side: Of a square, in latent pixels.
        axes: How many numbers say where a token is: picture, row, column, and what may follow.
        text_axis: Which of them counts the tokens of the text; None has all at the origin.
        apart: How far a picture is from the next along the first of them.
        rounded: Whether positions are rounded to the dtype of the latents.

    Source:
        ``FluxPipeline`` of Diffusers: ``_pack_latents`` and ``_prepare_latent_image_ids``;
        ``Flux2Pipeline``: ``_prepare_text_ids`` and ``_prepare_image_ids``.
    """

    def __init__(
        self,
        side: int = 2,
        axes: int = 3,
        text_axis: int | None = None,
        apart: int = 1,
        rounded: bool = True,  # noqa: FBT001, FBT002 - configuration, given by name
    ) -> None:
        check_count("side", side)
        check_count("axes", axes, least=3)
        check_count("apart", apart)
        if text_axis is not None:
            check_range("text_axis", text_axis, 0, axes - 1)
        self.side = side
        self.axes = axes
        self.text_axis = text_axis
        self.apart = apart
        self.rounded = bool(rounded)

    @op
    def size(
        self,
        codec: CodecSpec,
        backbone: BackboneSpec,
        height: int | None = None,
        width: int | None = None,
        max_area: int | None = None,
        references: PictureSet | None = None,
    ) -> PictureSize:
        """Gives the size that a run works at: whole squares.

        Args:
            codec: Gives the scale.
            backbone: Gives the size it was trained at.
            height: In pixels, in the place of the backbone's.
            width: In pixels, in the place of the backbone's.
            max_area: How many pixels the picture is to have; height and width then say its shape.
            references: Pictures that the model reads, of which the first gives what is not given.
        """
        if references:
            height, width = height or references[0].shape[2], width or references[0].shape[3]
        return self._whole(codec.scale, *size_of_run(codec, backbone, height, width), max_area)

    @op
    def shape(
        self,
        conditioning: Conditioning,
        codec: CodecSpec,
        height: int,
        width: int,
        control: Many[ControlPicture] = (),
    ) -> LatentShape:
        """Gives the shape that the noise of a run must have before it is packed.

        Args:
            conditioning: Gives batch, dtype and device.
            codec: Gives channels and scale.
            height: Of the picture, in pixels.
            width: Of the picture, in pixels.
            control: Control pictures, the first of which says the size where there is any.
        """
        if control:
            height, width = control[0].size
        return LatentShapeValue(
            shape=(conditioning.batch, codec.channels, height // codec.scale, width // codec.scale),
            dtype=conditioning.dtype,
            device=conditioning.device,
        )

    @op
    def tokens(self, shape: LatentShape) -> TokenCount:
        """Gives how many tokens a picture's latents make.

        Args:
            shape: Of the latents before they are packed.
        """
        height, width = shape.shape[-2:]
        return (height // self.side) * (width // self.side)

    @op
    def positions(
        self,
        shape: LatentShape,
        conditioning: Conditioning | BranchedConditioning,
        references: LatentSet = (),
        begun: Latents | None = None,
        reads_begun: Literal["never", "alone", "first"] = "never",
    ) -> Extras:
        """Gives where tokens are: of the text in a line or at the origin, of pictures on grids.

        Args:
            shape: Of the latents before they are packed.
            conditioning: With the states of the text; the longest of several branches counts.
            references: Latents of pictures that the model reads too, each ``b c h w`` or, for every
                sample, ``1 c h w``; their tokens come after the others, on grids of their own.
            begun: The same of the picture that the run begins with.
            reads_begun: Whether the model reads that one too: ``first``, before the references,
                or ``alone``, where there are none.
        """
        texts = (
            conditioning.parts
            if isinstance(conditioning, BranchedConditioningValue)
            else (conditioning,)
        )
        longest = max(each.tensors["encoder_hidden_states"].shape[1] for each in texts)
        text = torch.zeros(longest, self.axes)
        if self.text_axis is not None:
            text[:, self.text_axis] = torch.arange(len(text))
        check_choice("reads_begun", reads_begun, _BEGUN)
        reads = reads_begun == "first" or (reads_begun == "alone" and not references)
        others = [*([begun] if reads and begun is not None else []), *references]
        shapes = [shape.shape, *(each.shape for each in others)]
        grids = [self._grid(number * self.apart, each) for number, each in enumerate(shapes)]
        dtype = shape.dtype if self.rounded else torch.float32
        return ExtrasValue(
            tensors={"reference": self._in_line(others)} if others else {},
            shared={
                "txt_ids": text.to(shape.device, dtype),
                "img_ids": torch.cat(grids).to(shape.device, dtype),
            },
        )

    @op
    def pack_noise(self, noise: Noise) -> Noise:
        """Packs noise.

        Args:
            noise: ``b c h w``.

        Returns:
            ``b tokens c``, the channels of a token those of its square, row by row in each.
        """
        return self._packed(noise)

    @op
    def pack_start(self, noise: Noise) -> Latents:
        """Packs noise of the caller's, for a run to begin with it whatever its strength.

        Args:
            noise: ``b c h w``.

        Returns:
            ``b tokens c``.
        """
        return self._packed(noise)

    @op
    def pack(self, latents: Latents) -> Latents:
        """Packs a codec's latents.

        Args:
            latents: ``b c h w``.

        Returns:
            ``b tokens c``.
        """
        return self._packed(latents)

    @op
    def pack_mask(self, mask: LatentMask, codec: CodecSpec) -> LatentMask:
        """Packs a mask as many times as latents have channels.

        Args:
            mask: ``b 1 h w``.
            codec: Says how many.

        Returns:
            ``b tokens c``.
        """
        return self._packed(mask.repeat(1, codec.channels, 1, 1))

    @op
    def pack_channels(self, channels: Channels) -> Channels:
        """Packs what the model reads beside the latents.

        Args:
            channels: ``b c h w``.

        Returns:
            ``b tokens c``.
        """
        return self._packed(channels)

    @op
    def pack_control(self, latents: Latents) -> Channels:
        """Packs the latents of a picture that the model is controlled by.

        Args:
            latents: ``b c h w``.

        Returns:
            ``b tokens c``.
        """
        return self._packed(latents)

    @op
    def unpack(self, latents: Latents, shape: LatentShape) -> Latents:
        """Gives packed latents their height and width back, for the codec.

        Args:
            latents: ``b tokens c``.
            shape: Of the latents before they were packed.

        Returns:
            ``b c h w``.
        """
        height, width = shape.shape[-2:]
        rows, columns = height // self.side, width // self.side
        squares = latents.reshape(len(latents), rows, columns, -1, self.side, self.side)
        return squares.permute(0, 3, 1, 4, 2, 5).reshape(len(latents), -1, height, width)

    def unused_inputs(self, op: str, known: Mapping[str, Any]) -> frozenset[str]:
        """Says that the picture which a run begins with is not read unless that is asked for.

        Args:
            op: The op that will be run.
            known: Values of its inputs that are known.
        """
        never = op == "positions" and known.get("reads_begun", "never") == "never"
        return frozenset({"begun"} if never else ())

    def check_inputs(self, op: str, known: Mapping[str, Any]) -> None:
        """Refuses sizes that are none, and warns of those that will be made smaller.

        Args:
            op: The op that will be run.
            known: Values of its inputs that are known.

        Raises:
            InputError: Height or width is no positive number.
        """
        if op != "size":
            return
        codec = known.get("codec")
        scale = codec.scale if codec is not None else 1
        step = self.side * scale
        least = {"height": step, "width": step, "max_area": step * step}
        given = {name: known[name] for name in least if known.get(name) is not None}
        for name, value in given.items():
            check_count(name, value, least=least[name])
        if "height" in given and "width" in given:
            wanted = PictureSize(given["height"], given["width"])
            made = self._whole(scale, *wanted, given.get("max_area"))
            if made != wanted:
                _log.warning(
                    "The picture is made %d pixels high and %d wide in the place of %d and %d: "
                    "both are multiples of %d.", *made, *wanted, step,
                )  # fmt: skip

    def _whole(self, scale: int, height: int, width: int, area: int | None) -> PictureSize:
        """Gives the nearest smaller size in whole squares, or one of an area and a shape."""
        step = self.side * scale
        if area is not None:
            shape = width / height
            height, width = round((area / shape) ** 0.5), round((area * shape) ** 0.5)
        return PictureSize(height // step * step, width // step * step)

    def _packed(self, tensor: Tensor) -> Tensor:
        batch, channels, height, width = tensor.shape
        rows, columns = height // self.side, width // self.side
        squares = tensor.reshape(batch, channels, rows, self.side, columns, self.side)
        return squares.permute(0, 2, 4, 1, 3, 5).reshape(batch, rows * columns, -1)

    def _in_line(self, pictures: Sequence[Tensor]) -> Tensor:
        """Packs several pictures, one behind the other; each for one sample or for all."""
        batch = max(map(len, pictures))
        packed = [self._packed(each) for each in pictures]
        return torch.cat([each.expand(batch, -1, -1) for each in packed], dim=1)

    def _grid(self, number: int, shape: tuple[int, ...]) -> Tensor:
        """Gives picture, row and column of each token, ``tokens axes``."""
        rows, columns = shape[-2] // self.side, shape[-1] // self.side
        ids = torch.zeros(rows, columns, self.axes)
        ids[..., 0] = number
        ids[..., 1] += torch.arange(rows)[:, None]
        ids[..., 2] += torch.arange(columns)[None, :]
        return ids.reshape(rows * columns, self.axes)
