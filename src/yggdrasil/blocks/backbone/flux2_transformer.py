"""The transformer of FLUX.2."""

from __future__ import annotations

from typing import Any, ClassVar

from diffusers import Flux2Transformer2DModel

from yggdrasil.blocks.backbone.flux_transformer import FluxTransformerBackbone
from yggdrasil.core.component import Component
from yggdrasil.core.registry import register_block

__all__ = ["Flux2TransformerBackbone"]


@register_block("backbone/flux2_transformer")
class Flux2TransformerBackbone(FluxTransformerBackbone):
    """Transformer over text and pictures together, one token a pixel of its codec's latents.

    Args:
        sample_size: Height and width it was trained at, in latent pixels; its configuration does
            not say.

    Source:
        Black Forest Labs 2025, FLUX.2; Diffusers' ``Flux2Transformer2DModel``.
    """

    patch: ClassVar[int] = 1

    transformer = Component[Any](Flux2Transformer2DModel)

    def __init__(self, sample_size: int = 64) -> None:
        super().__init__(sample_size)
