"""Guidance without a classifier, beside a guidance scale that the model reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from yggdrasil.blocks.checks import check_finite
from yggdrasil.core.errors import InputError
from yggdrasil.core.kinds import Prompts
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

__all__ = ["TrueGuidance"]


@register_block("guidance/true_cfg")
class TrueGuidance(AbstractGuidance):
    """Classifier-free guidance for models distilled to do without: on only where it is asked for.

    Each step evaluates both branches, positive first, at a scale above 1 where the caller gives
    what the picture is to be unlike.

    Source:
        Ho and Salimans 2022 (arXiv:2207.12598), equation 6; when it is on: ``FluxPipeline`` of
        Diffusers.
    """

    @op
    def branches(
        self,
        positive: Conditioning,
        negative: Conditioning | None = None,
        adopted: Conditioning | None = None,
        negative_prompt: Prompts | None = None,
        true_cfg_scale: float = 1.0,
    ) -> BranchedConditioning:
        """Joins the conditionings that each step evaluates.

        Args:
            positive: What the picture is to be like.
            negative: What it is to be unlike, of a prompt; read where there is one.
            adopted: The same, of embeddings that the caller computed.
            negative_prompt: Says whether there is one.
            true_cfg_scale: How far to go; guidance is on above 1.

        Raises:
            InputError: A negative prompt and embeddings are both given.
        """
        if adopted is not None and negative_prompt is not None:
            raise InputError(
                "negative_prompt and negative_prompt_embeds are both given: give one of them."
            )
        unlike = negative if adopted is None else adopted
        asked = adopted is not None or negative_prompt is not None
        if true_cfg_scale <= 1 or not asked or unlike is None:
            return BranchedConditioningValue.of({"positive": positive})
        return BranchedConditioningValue.of({"positive": positive, "negative": unlike})

    @op
    def combine(self, prediction: ModelOutput, true_cfg_scale: float = 1.0) -> ModelOutput:
        """Weighs the branches' predictions against each other.

        Args:
            prediction: One for each branch; a plain tensor is passed on.
            true_cfg_scale: How far to go from the negative towards the positive prediction.

        Returns:
            One prediction.
        """
        if not isinstance(prediction, BranchedValue):
            return prediction
        positive, negative = prediction["positive"], prediction["negative"]
        guided: Tensor = negative + true_cfg_scale * (positive - negative)
        return guided

    def check_inputs(self, op: str, known: Mapping[str, Any]) -> None:
        """Refuses a scale that is no finite number.

        Args:
            op: The op that will be run.
            known: Values of its inputs that are known.

        Raises:
            InputError: The scale is NaN, infinite or no number.
        """
        del op
        if "true_cfg_scale" in known:
            check_finite("true_cfg_scale", known["true_cfg_scale"])

    def unused_inputs(self, op: str, known: Mapping[str, Any]) -> frozenset[str]:
        """Says that nothing negative is read while guidance is off.

        Args:
            op: The op that will be run.
            known: Values of its inputs that are known.
        """
        if op != "branches":
            return frozenset()
        if known.get("true_cfg_scale", 1.0) <= 1:
            return frozenset({"negative", "adopted"})
        return frozenset() if known.get("negative_prompt") is not None else frozenset({"negative"})
