"""Guidance without a classifier."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diffusers.guiders.guider_utils import rescale_noise_cfg
from torch import Tensor

from yggdrasil.blocks.checks import check_finite
from yggdrasil.core.errors import InputError
from yggdrasil.core.ports import op
from yggdrasil.core.registry import register_block
from yggdrasil.core.roles import AbstractGuidance
from yggdrasil.core.values import (
    BackboneSpec,
    BackboneSpecValue,
    BranchedConditioning,
    BranchedConditioningValue,
    BranchedValue,
    Conditioning,
    ModelOutput,
)

__all__ = ["ClassifierFreeGuidance"]

# The scale of the first Stable Diffusion's paper figures, and Diffusers' default.
_SCALE = 7.5


@register_block("guidance/cfg")
class ClassifierFreeGuidance(AbstractGuidance):
    """Classifier-free guidance: away from the negative prompt, towards the positive one.

    Each step evaluates both branches, negative first. At a scale of 1 or less, and for a backbone
    that embeds the scale itself, there is only the positive one.

    Source:
        Ho and Salimans 2022 (arXiv:2207.12598), equation 6, with the scale of Saharia et al. 2022
        (arXiv:2205.11487), equation 2: 1 is no guidance. Rescaling: Lin et al. 2023
        (arXiv:2305.08891), section 3.4.
    """

    @op
    def branches(
        self,
        positive: Conditioning,
        negative: Conditioning | None = None,
        guidance_scale: float = _SCALE,
        backbone: BackboneSpec | None = None,
    ) -> BranchedConditioning:
        """Joins the conditionings that each step evaluates.

        Args:
            positive: What the picture is to be like.
            negative: What it is to be unlike; needed while guidance is on.
            guidance_scale: How far to go; guidance is on above 1.
            backbone: What the backbone says of itself; guidance is off if it embeds the scale.

        Raises:
            InputError: Guidance is on without a negative conditioning.
        """
        if not _guides(guidance_scale, backbone):
            return BranchedConditioningValue.of({"positive": positive})
        if negative is None:
            raise InputError(
                f"guidance_scale is {guidance_scale}, which needs a negative conditioning, and "
                "there is none: give negative_prompt or negative_prompt_embeds, or "
                "guidance_scale=1.0 for no guidance."
            )
        return BranchedConditioningValue.of({"negative": negative, "positive": positive})

    @op
    def combine(
        self,
        prediction: ModelOutput,
        guidance_scale: float = _SCALE,
        guidance_rescale: float = 0.0,
    ) -> ModelOutput:
        """Weighs the branches' predictions against each other.

        Args:
            prediction: ``b c h w`` for each branch; a plain tensor is passed on.
            guidance_scale: How far to go from the negative towards the positive prediction.
            guidance_rescale: How much of the positive prediction's contrast to give back, 0 to 1.

        Returns:
            One prediction ``b c h w``.
        """
        if not isinstance(prediction, BranchedValue):
            return prediction
        positive = prediction["positive"]
        if "negative" not in prediction.names:
            return positive
        negative = prediction["negative"]
        guided: Tensor = negative + guidance_scale * (positive - negative)
        if guidance_rescale > 0.0:
            guided = rescale_noise_cfg(guided, positive, guidance_rescale=guidance_rescale)
        return guided

    def check_inputs(self, op: str, known: Mapping[str, Any]) -> None:
        """Refuses scales that are no finite numbers.

        Args:
            op: The op that will be run.
            known: Values of its inputs that are known.

        Raises:
            InputError: A scale is NaN, infinite or no number.
        """
        del op
        for name in ("guidance_scale", "guidance_rescale"):
            if name in known:
                check_finite(name, known[name])

    def unused_inputs(self, op: str, known: Mapping[str, Any]) -> frozenset[str]:
        """Says that the negative conditioning is not read while guidance is off.

        Args:
            op: The op that will be run.
            known: Values of its inputs that are known.
        """
        scale = known.get("guidance_scale", _SCALE)
        if op == "branches" and not _guides(scale, known.get("backbone")):
            return frozenset({"negative"})
        return frozenset()


def _guides(scale: float, backbone: BackboneSpecValue | None) -> bool:
    return scale > 1 and (backbone is None or backbone.guidance_embedding is None)
