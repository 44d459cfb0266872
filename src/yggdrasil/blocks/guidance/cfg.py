"""Guidance without a classifier."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, ClassVar

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
    ConditioningValue,
    ModelOutput,
)

__all__ = ["ClassifierFreeGuidance", "free_branches", "guided", "guides"]

# The scale of the first Stable Diffusion's paper figures, and Diffusers' default.
_SCALE = 7.5

_log = logging.getLogger(__name__)


@register_block("guidance/cfg")
class ClassifierFreeGuidance(AbstractGuidance):
    """Classifier-free guidance: away from the negative prompt, towards the positive one.

    Each step evaluates both branches, negative first. At a scale of 1 or less, and for a backbone
    that embeds the scale itself, there is only the positive one.

    Args:
        positive_first: Evaluate the positive branch first.
        distilled: Whether the model was distilled to few steps, so that guidance is never on;
            ``is_distilled`` of the model says it.
        optional: Whether guidance is off, and nothing is missing, where there is no negative
            conditioning: for models that were distilled to do without.

    Source:
        Ho and Salimans 2022 (arXiv:2207.12598), equation 6, with the scale of Saharia et al. 2022
        (arXiv:2205.11487), equation 2: 1 is no guidance. Rescaling: Lin et al. 2023
        (arXiv:2305.08891), section 3.4.
    """

    pipeline_settings: ClassVar[Mapping[str, str]] = {"distilled": "is_distilled"}

    def __init__(
        self,
        positive_first: bool = False,  # noqa: FBT001, FBT002 - configuration, given by name
        distilled: bool = False,  # noqa: FBT001, FBT002 - the same
        optional: bool = False,  # noqa: FBT001, FBT002 - the same
    ) -> None:
        self.positive_first = bool(positive_first)
        self.distilled = bool(distilled)
        self.optional = bool(optional)

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
        if self.distilled or (self.optional and negative is None):
            return BranchedConditioningValue.of({"positive": positive})
        branches = free_branches(positive, negative, guidance_scale, backbone)
        if self.positive_first:
            branches = dict(reversed(branches.items()))
        return BranchedConditioningValue.of(branches)

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
        return guided(prediction, guidance_scale, guidance_rescale)

    def check_inputs(self, op: str, known: Mapping[str, Any]) -> None:
        """Refuses scales that are no finite numbers, and warns of one that nothing follows.

        Args:
            op: The op that will be run.
            known: Values of its inputs that are known.

        Raises:
            InputError: A scale is NaN, infinite or no number.
        """
        for name in ("guidance_scale", "guidance_rescale"):
            if name in known:
                check_finite(name, known[name])
        scale = known.get("guidance_scale", 1.0)
        if op == "branches" and self.distilled and scale > 1:
            _log.warning(
                "guidance_scale is %s, which a model distilled to few steps does not follow.", scale
            )

    def unused_inputs(self, op: str, known: Mapping[str, Any]) -> frozenset[str]:
        """Says that the negative conditioning is not read while guidance is off.

        Args:
            op: The op that will be run.
            known: Values of its inputs that are known.
        """
        scale = known.get("guidance_scale", _SCALE)
        off = self.distilled or not guides(scale, known.get("backbone"))
        if op == "branches" and off:
            return frozenset({"negative"})
        return frozenset()


def guides(scale: float, backbone: BackboneSpecValue | None) -> bool:
    """Says whether guidance is on.

    Args:
        scale: On above 1.
        backbone: Off if it embeds the scale itself.
    """
    return scale > 1 and (backbone is None or backbone.guidance_embedding is None)


def free_branches(
    positive: ConditioningValue,
    negative: ConditioningValue | None,
    scale: float,
    backbone: BackboneSpecValue | None,
) -> dict[str, ConditioningValue]:
    """Gives the conditionings by branch: negative and positive, or the positive one alone.

    Args:
        positive: What the picture is to be like.
        negative: What it is to be unlike.
        scale: How far to go.
        backbone: What it says of itself.

    Raises:
        InputError: Guidance is on without a negative conditioning.
    """
    if not guides(scale, backbone):
        return {"positive": positive}
    if negative is None:
        raise InputError(
            f"guidance_scale is {scale}, which needs a negative conditioning, and there is none: "
            "give negative_prompt or negative_prompt_embeds, or guidance_scale=1.0 for no guidance."
        )
    return {"negative": negative, "positive": positive}


def guided(prediction: Tensor | BranchedValue, scale: float, rescale: float = 0.0) -> Tensor:
    """Weighs negative and positive predictions against each other.

    Args:
        prediction: ``b c h w`` for each branch; a plain tensor is passed on.
        scale: How far to go from the negative towards the positive one.
        rescale: How much of the positive prediction's contrast to give back, 0 to 1.

    Returns:
        ``b c h w``.
    """
    if not isinstance(prediction, BranchedValue):
        return prediction
    names, tensors = prediction.names, prediction.tensors
    positive = tensors[names.index("positive")]
    if "negative" not in names:
        return positive
    negative = tensors[names.index("negative")]
    result: Tensor = negative + scale * (positive - negative)
    if rescale > 0.0:
        result = rescale_noise_cfg(result, positive, guidance_rescale=rescale)
    return result
