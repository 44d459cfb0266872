"""Kinds that backbones exchange with inner modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from torch import Tensor

from yggdrasil.core.kinds import Kind

__all__ = ["PatchEmbedder"]

PatchEmbedder = Annotated[Callable[[Tensor], Tensor], Kind("patch_embedder")]
"""Latents ``b c h w`` to the tokens of a transformer, ``b tokens width``, positions included."""
