"""A codec as a value, for blocks that encode pictures of their own."""

from __future__ import annotations

from typing import Annotated, Protocol

from torch import Tensor

from yggdrasil.blocks.codec.posterior import PosteriorValue
from yggdrasil.core.kinds import Kind

__all__ = ["Coder", "PictureCoder"]


class PictureCoder(Protocol):
    """What a codec can do for another block: each ControlNet has a picture of its own to encode."""

    def encode(self, image: Tensor, one_by_one: bool = False) -> PosteriorValue:  # noqa: FBT001, FBT002 - a port
        """Encodes pictures ``b c H W`` in [-1, 1]."""
        ...

    def scale(self, raw_latents: Tensor, shift_latents: bool = True) -> Tensor:  # noqa: FBT001, FBT002 - a port
        """Scales latents ``b c h w`` as the backbone expects them."""
        ...


Coder = Annotated[PictureCoder, Kind("coder")]
