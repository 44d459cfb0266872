"""Guidance away from what the model answers with some of its layers left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from yggdrasil.blocks.checks import check_finite, check_layers
from yggdrasil.blocks.guidance.cfg import ClassifierFreeGuidance, guided, guides
from yggdrasil.core.ports import op
from yggdrasil.core.registry import register_block
from yggdrasil.core.values import (
    AsideValue,
    BackboneSpec,
    BranchedConditioning,
    BranchedConditioningValue,
    BranchedValue,
    Conditioning,
    ModelOutput,
)

__all__ = ["SkipLayerGuidance"]

_SCALE = 7.0
_SKIP_SCALE = 2.8
_START, _STOP = 0.01, 0.2
_SKIPPED = "skipped"


@register_block("guidance/skip_layers")
class SkipLayerGuidance(ClassifierFreeGuidance):
    """Classifier-free guidance, and away from the model without some of its layers.

    In some of the steps, those early on, the positive conditioning is evaluated once more, by
    itself, with layers left out. Without layers to skip it is classifier-free guidance alone.

    Args:
        argument: What the model's forward calls the layers to skip.

    Source:
        The reference implementation of Stable Diffusion 3.5 medium; ``skip_guidance_layers`` of
        Diffusers' ``StableDiffusion3Pipeline``.
    """

    def __init__(self, argument: str = "skip_layers") -> None:
        super().__init__()
        self.argument = argument

    @op
    def branches(
        self,
        positive: Conditioning,
        negative: Conditioning | None = None,
        guidance_scale: float = _SCALE,
        backbone: BackboneSpec | None = None,
        skip_guidance_layers: list[int] | None = None,
        skip_layer_guidance_start: float = _START,
        skip_layer_guidance_stop: float = _STOP,
    ) -> BranchedConditioning:
        """Joins the conditionings that each step evaluates.

        Args:
            positive: What the picture is to be like.
            negative: What it is to be unlike; needed while guidance is on.
            guidance_scale: How far to go; all guidance is on above 1.
            backbone: What the backbone says of itself.
            skip_guidance_layers: The layers to leave out, counted from 0; None for none.
            skip_layer_guidance_start: The share of the steps after which they are left out.
            skip_layer_guidance_stop: The share of the steps before which they are.

        Raises:
            InputError: Guidance is on without a negative conditioning.
        """
        free = super().branches(positive, negative, guidance_scale, backbone)
        if skip_guidance_layers is None or not guides(guidance_scale, backbone):
            return free
        aside = AsideValue(
            arguments={self.argument: list(skip_guidance_layers)},
            window=(skip_layer_guidance_start, skip_layer_guidance_stop),
        )
        branches = {name: free[name] for name in free.names}
        return BranchedConditioningValue.of({**branches, _SKIPPED: positive}, {_SKIPPED: aside})

    @op
    def combine(
        self,
        prediction: ModelOutput,
        guidance_scale: float = _SCALE,
        guidance_rescale: float = 0.0,
        skip_layer_guidance_scale: float = _SKIP_SCALE,
    ) -> ModelOutput:
        """Weighs the branches' predictions against each other.

        Args:
            prediction: ``b c h w`` for each branch; a plain tensor is passed on.
            guidance_scale: How far to go from the negative towards the positive prediction.
            guidance_rescale: How much of the positive prediction's contrast to give back, 0 to 1.
            skip_layer_guidance_scale: How far to go from the prediction with layers left out.

        Returns:
            One prediction ``b c h w``.
        """
        result = guided(prediction, guidance_scale, guidance_rescale)
        if isinstance(prediction, BranchedValue) and _SKIPPED in prediction.names:
            apart: Tensor = prediction["positive"] - prediction[_SKIPPED]
            result = result + apart * skip_layer_guidance_scale
        return result

    def check_inputs(self, op: str, known: Mapping[str, Any]) -> None:
        """Refuses scales that are no finite numbers, and layers that the model does not have.

        Args:
            op: The op that will be run.
            known: Values of its inputs that are known.

        Raises:
            InputError: A value cannot be right.
        """
        super().check_inputs(op, known)
        for name, value in known.items():
            if name.startswith("skip_layer_"):
                check_finite(name, value)
        layers, backbone = known.get("skip_guidance_layers"), known.get("backbone")
        if layers is not None:
            check_layers("skip_guidance_layers", layers, backbone and backbone.layers)
