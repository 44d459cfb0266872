"""The guidance scale as an input of the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from yggdrasil.blocks.checks import check_finite
from yggdrasil.core.ports import op
from yggdrasil.core.registry import register_block
from yggdrasil.core.roles import AbstractConditioner
from yggdrasil.core.values import BackboneSpec, Conditioning, Extras, ExtrasValue

__all__ = ["GuidanceEmbedding"]


@register_block("conditioner/guidance_embedding")
class GuidanceEmbedding(AbstractConditioner):
    """The guidance scale for backbones distilled to read it: ``timestep_cond``, ``b width``.

    Args:
        plain: Give the scale as it is, ``guidance``, ``b``, to a backbone that embeds it itself.

    Source:
        Meng et al. 2022 (arXiv:2210.03142), section 3.1; Luo et al. 2023 (arXiv:2310.04378). The
        form of the embedding and its factor 1000: google-research/vdm@dc27b98,
        ``model_vdm.py:get_timestep_embedding``.
    """

    def __init__(self, *, plain: bool = False) -> None:
        self.plain = plain

    @op
    def embed(
        self, conditioning: Conditioning, backbone: BackboneSpec, guidance_scale: float = 7.5
    ) -> Extras:
        """Embeds the guidance scale.

        Args:
            conditioning: Gives batch, dtype and device.
            backbone: Says how wide an embedding the backbone reads, if it reads one.
            guidance_scale: How far guidance goes; 1 is no guidance.
        """
        width = backbone.guidance_embedding
        if width is None:
            return ExtrasValue()
        if self.plain:
            scale = torch.full([1], guidance_scale, dtype=torch.float32, device=conditioning.device)
            return ExtrasValue(tensors={"guidance": scale})
        # The models were trained on the weight that is 0 without guidance: the scale minus 1.
        weights = torch.tensor(guidance_scale - 1).repeat(conditioning.batch)
        embedded = sinusoids(weights, width).to(conditioning.device, conditioning.dtype)
        return ExtrasValue(tensors={"timestep_cond": embedded})

    def declines(self, op: str, facts: Mapping[str, Any]) -> bool:
        """Says that a backbone which embeds no guidance scale needs none of this.

        Args:
            op: The op.
            facts: Values of its inputs that are known from configuration.
        """
        backbone = facts.get("backbone")
        return op == "embed" and backbone is not None and backbone.guidance_embedding is None

    def check_inputs(self, op: str, known: Mapping[str, Any]) -> None:
        """Refuses a scale that is no finite number.

        Args:
            op: The op that will be run.
            known: Values of its inputs that are known.

        Raises:
            InputError: The scale is NaN, infinite or no number.
        """
        del op
        if "guidance_scale" in known:
            check_finite("guidance_scale", known["guidance_scale"])


def sinusoids(weights: Tensor, width: int) -> Tensor:
    """Embeds numbers as sines and cosines of falling frequencies.

    Args:
        weights: ``b``, in units of 1/1000 of the period's scale.
        width: Of the embedding; at least 4.

    Returns:
        ``b width``, float32, in [-1, 1]; an odd width ends with a zero.
    """
    half = width // 2
    exponent = torch.log(torch.tensor(10000.0)) / (half - 1)
    frequencies = torch.exp(torch.arange(half, dtype=torch.float32) * -exponent)
    angles = (weights * 1000.0).to(torch.float32)[:, None] * frequencies[None, :]
    embedded = torch.cat([torch.sin(angles), torch.cos(angles)], dim=1)
    return torch.nn.functional.pad(embedded, (0, width % 2))
