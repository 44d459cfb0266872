"""Kinds: what a value means, beside what Python type it has.

``Latents`` is a plain ``Tensor`` to a type checker and the kind ``latents`` to the graph. Two ports
may be joined when they share a kind. The letters of a layout are those of einops: ``b`` batch,
``c`` channels, ``h`` and ``w`` height and width (of latents in latent pixels).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import torch
from torch import Tensor

__all__ = [
    "ANY",
    "MANY",
    "Channels",
    "Generator",
    "Image",
    "Kind",
    "Latents",
    "Loss",
    "Many",
    "Mask",
    "ModelArguments",
    "Noise",
    "Pictures",
    "PooledEmbeds",
    "PromptEmbeds",
    "Prompts",
    "Residuals",
    "Timestep",
    "TokenCount",
]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Kind:
    """The meaning of a value that flows through a port.

    Attributes:
        name: The noun of the value, such as ``latents``.
        layout: Its axes in einops letters, such as ``b c h w``; empty for what is no tensor.
    """

    name: str
    layout: str = ""

    def __str__(self) -> str:
        """Gives ``name (layout)``."""
        return f"{self.name} ({self.layout})" if self.layout else self.name


class _ManyMarker:
    """Marks a port that takes every source it is offered, in order."""

    def __repr__(self) -> str:
        return "MANY"


ANY = Kind("any")
"""Fits every kind: for blocks that pass values through."""

MANY = _ManyMarker()

Many = Annotated[tuple[T, ...], MANY]
"""``Many[Residuals]``: a tuple of all available sources, ordered by their nodes' ``order``."""

Prompts = Annotated[str | Sequence[str], Kind("prompt")]
"""One text, or one text for each sample of the batch."""

PromptEmbeds = Annotated[Tensor, Kind("prompt_embeds", "b tokens width")]

PooledEmbeds = Annotated[Tensor, Kind("pooled_embeds", "b width")]
"""One vector for each text."""

Pictures = Annotated[Any, Kind("pictures")]
"""Pictures as people hold them: PIL images, arrays ``b h w c`` or tensors ``b c h w`` in [0, 1]."""

Image = Annotated[Tensor, Kind("image", "b c h w")]
"""A picture as a model sees it, in [-1, 1]."""

Mask = Annotated[Tensor, Kind("mask", "b 1 h w")]
"""1 where the picture is to be painted anew, 0 where it is kept."""

Latents = Annotated[Tensor, Kind("latents", "b c h w")]
"""A codec's latents, scaled as the backbone expects them."""

Noise = Annotated[Tensor, Kind("noise", "b c h w")]
"""Standard normal noise in the shape of the latents."""

TokenCount = Annotated[int, Kind("token_count")]
"""How many tokens a backbone makes of a picture's latents."""

Channels = Annotated[Tensor, Kind("channels", "b c h w")]
"""What a backbone reads beside the latents, joined to them along the channel axis."""

Timestep = Annotated[Tensor, Kind("timestep", "b or scalar")]
"""A position on the solver's schedule, in the unit of the model's training."""

Residuals = Annotated[Any, Kind("residuals")]
"""What an inner module adds to a backbone's hidden states."""

ModelArguments = Annotated[Mapping[str, Any], Kind("model_arguments")]
"""Keyword arguments handed to the model's forward as they are."""

Generator = Annotated[torch.Generator | Sequence[torch.Generator], Kind("generator")]
"""The source of random numbers: one for the batch, or one for each sample."""

Precision = Annotated[torch.dtype, Kind("precision")]
"""The dtype that a model computes in."""

Loss = Annotated[Tensor, Kind("loss", "")]
"""A scalar to be made small."""
