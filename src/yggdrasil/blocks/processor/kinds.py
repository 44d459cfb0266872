"""Kinds that processors exchange with one another."""

from __future__ import annotations

from typing import Annotated

from torch import Tensor

from yggdrasil.core.kinds import Kind

__all__ = ["CropRegion", "Flags", "LatentMask", "LatentSet", "PictureSet"]

CropRegion = Annotated[tuple[int, int, int, int], Kind("crop_region")]
"""A part of a picture: left, top, right and bottom in pixels, right and bottom excluded."""

LatentMask = Annotated[Tensor, Kind("latent_mask", "b 1 h w")]
"""A mask in latent pixels, 0 or 1, one for each sample."""

Flags = Annotated[list[bool], Kind("flags")]
"""For each picture whether it was held back."""

PictureSet = Annotated[tuple[Tensor, ...], Kind("picture_set", "n c h w each")]
"""Pictures of sizes of their own as a model sees them, in [-1, 1], all of them for every sample."""

LatentSet = Annotated[tuple[Tensor, ...], Kind("latent_set", "b c h w each")]
"""The latents of such pictures."""
