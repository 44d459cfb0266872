"""The shape of a picture's latents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from yggdrasil.blocks.checks import check_multiple
from yggdrasil.blocks.pictures import are_latents, default_size
from yggdrasil.core.kinds import Image, Latents
from yggdrasil.core.ports import op
from yggdrasil.core.registry import register_block
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
            the scale of its codec.
    """

    def __init__(self, multiple: int = 8) -> None:
        self.multiple = multiple

    @op
    def shape(
        self,
        conditioning: Conditioning,
        codec: CodecSpec,
        backbone: BackboneSpec,
        image: Image | None = None,
        height: int | None = None,
        width: int | None = None,
    ) -> LatentShape:
        """Gives the shape that the noise of a run must have.

        The size is that of the picture; without one, ``height`` and ``width`` where both are
        given; else what the backbone was trained at.

        Args:
            conditioning: Gives batch, dtype and device.
            codec: Gives channels and scale.
            backbone: Gives the size where nothing else does.
            image: A preprocessed picture ``b c H W``, or latents.
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
            elif not height or not width:  # half a size is none, as in Diffusers
                height, width = default_size(codec, backbone)
            rows, columns = height // codec.scale, width // codec.scale
        return LatentShapeValue(
            shape=(conditioning.batch, codec.channels, rows, columns),
            dtype=conditioning.dtype,
            device=conditioning.device,
        )

    @op
    def match(self, latents: Latents) -> LatentShape:
        """Gives the shape of latents that are there, for noise to be added to them.

        Args:
            latents: ``b c h w``.
        """
        return LatentShapeValue(
            shape=tuple(latents.shape), dtype=latents.dtype, device=latents.device
        )

    @op
    def batch(self, conditioning: Conditioning) -> int:
        """Gives how many samples a run makes, for what must be repeated to fit.

        Args:
            conditioning: Of the run.
        """
        return conditioning.batch

    def check_inputs(self, op: str, known: Mapping[str, Any]) -> None:
        """Refuses sizes that the model cannot make.

        Args:
            op: The op that will be run.
            known: Values of its inputs that are known.

        Raises:
            InputError: Height or width is no positive multiple.
        """
        del op
        for name in ("height", "width"):
            if known.get(name) is not None:
                check_multiple(name, known[name], self.multiple)
