"""Guidance by an instruction and by the picture that it is to change."""

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
    BranchedConditioning,
    BranchedConditioningValue,
    BranchedValue,
    Conditioning,
    ModelOutput,
)

__all__ = ["UNSEEN", "InstructGuidance"]

_SCALE, _PICTURE_SCALE = 7.5, 1.5
_SEEN = "seen"
UNSEEN = "negative"
"""The branch that neither the prompt nor the picture is for."""


@register_block("guidance/instruct")
class InstructGuidance(AbstractGuidance):
    """Classifier-free guidance of two kinds: towards the picture, and from it to what is asked.

    Each step evaluates three branches: prompt and picture, the picture alone, neither of them. How
    a branch sees the picture is said by extras, those of ``conditioner/edited_picture``.

    Source:
        Brooks et al. 2022 (arXiv:2211.09800), equation 3; the order of the branches:
        ``StableDiffusionInstructPix2PixPipeline`` of Diffusers.
    """

    @op
    def branches(
        self,
        positive: Conditioning,
        negative: Conditioning | None = None,
        guidance_scale: float = _SCALE,
        image_guidance_scale: float = _PICTURE_SCALE,
    ) -> BranchedConditioning:
        """Joins the conditionings that each step evaluates.

        Args:
            positive: What is to be done.
            negative: What the picture is to be unlike; needed while guidance is on.
            guidance_scale: How far to go towards what is asked; guidance is on above 1.
            image_guidance_scale: How far to go towards the picture; guidance is on from 1.

        Raises:
            InputError: Guidance is on without a negative conditioning.
        """
        if not _guides(guidance_scale, image_guidance_scale):
            return BranchedConditioningValue.of({"positive": positive})
        if negative is None:
            raise InputError(
                f"guidance_scale is {guidance_scale}, which needs a negative conditioning, and "
                "there is none: give negative_prompt or negative_prompt_embeds, or "
                "guidance_scale=1.0 for no guidance."
            )
        return BranchedConditioningValue.of(
            {"positive": positive, _SEEN: negative, UNSEEN: negative}
        )

    @op
    def combine(
        self,
        prediction: ModelOutput,
        guidance_scale: float = _SCALE,
        image_guidance_scale: float = _PICTURE_SCALE,
        guidance_rescale: float = 0.0,
    ) -> ModelOutput:
        """Weighs the branches' predictions against each other.

        Args:
            prediction: ``b c h w`` for each branch; a plain tensor is passed on.
            guidance_scale: How far to go from the picture towards what is asked.
            image_guidance_scale: How far to go from neither towards the picture.
            guidance_rescale: How much of the positive prediction's contrast to give back, 0 to 1.

        Returns:
            One prediction ``b c h w``.
        """
        if not isinstance(prediction, BranchedValue):
            return prediction
        asked, seen, unseen = (prediction[name] for name in ("positive", _SEEN, UNSEEN))
        result: Tensor = (
            unseen + guidance_scale * (asked - seen) + image_guidance_scale * (seen - unseen)
        )
        if guidance_rescale > 0.0:
            result = rescale_noise_cfg(result, asked, guidance_rescale=guidance_rescale)
        return result

    def check_inputs(self, op: str, known: Mapping[str, Any]) -> None:
        """Refuses scales that are no finite numbers.

        Args:
            op: The op that will be run.
            known: Values of its inputs that are known.

        Raises:
            InputError: A scale is NaN, infinite or no number.
        """
        del op
        for name in ("guidance_scale", "image_guidance_scale", "guidance_rescale"):
            if name in known:
                check_finite(name, known[name])

    def unused_inputs(self, op: str, known: Mapping[str, Any]) -> frozenset[str]:
        """Says that the negative conditioning is not read while guidance is off.

        Args:
            op: The op that will be run.
            known: Values of its inputs that are known.
        """
        scale = known.get("guidance_scale", _SCALE)
        towards = known.get("image_guidance_scale", _PICTURE_SCALE)
        off = op == "branches" and not _guides(scale, towards)
        return frozenset({"negative"} if off else ())


def _guides(scale: float, towards_picture: float) -> bool:
    """Says whether guidance is on."""
    return scale > 1.0 and towards_picture >= 1.0
