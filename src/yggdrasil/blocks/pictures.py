"""What pictures and latents have in common, and how they are told apart."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from yggdrasil.core.errors import InputError
from yggdrasil.core.values import BackboneSpecValue, CodecSpecValue

__all__ = ["PictureSize", "are_latents", "default_size", "size_of_run"]


class PictureSize(NamedTuple):
    """Height and width of a picture in pixels."""

    height: int
    width: int


def are_latents(image: Tensor, codec: CodecSpecValue) -> bool:
    """Says whether an image is latents already, which its channels tell.

    Args:
        image: ``b c h w``.
        codec: Says how many channels its latents have; where they have three, three channels are
            taken for a picture.
    """
    return image.shape[1] == codec.channels != 3


def default_size(codec: CodecSpecValue, backbone: BackboneSpecValue) -> tuple[int, int]:
    """Gives the height and width in pixels that a backbone was trained at.

    Raises:
        InputError: The backbone's configuration does not say.
    """
    if backbone.sample_size is None:
        raise InputError(
            "height and width were not given, and the backbone's configuration has no sample_size "
            "to take them from: give both, such as height=512, width=512."
        )
    height, width = backbone.sample_size
    return height * codec.scale, width * codec.scale


def size_of_run(
    codec: CodecSpecValue, backbone: BackboneSpecValue, height: int | None, width: int | None
) -> PictureSize:
    """Gives each side as it was given, or as the backbone was trained.

    Raises:
        InputError: Nothing tells the size.
    """
    if height and width:
        return PictureSize(height, width)
    rows, columns = default_size(codec, backbone)
    return PictureSize(height or rows, width or columns)
