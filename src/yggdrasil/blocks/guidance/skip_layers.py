"""Guidance away from what the model answers with some of its layers left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from yggdrasil.blocks.checks import check_count, check_finite
from yggdrasil.blocks.guidance.cfg import free_branches, guided, guides
from yggdrasil.core.errors import InputError
from yggdrasil.core.ports import op
from yggdrasil.core.registry import register_block
from yggdrasil.core.roles import AbstractGuidance
from yggdrasil.core.values import (
    AsideValue,
    BackboneSpec,
    BackboneSpecValue,
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
class SkipLayerGuidance(AbstractGuidance):
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
        self.argument = argument

    @op
    def branches(
        self,
        positive: Conditioning,
        negative: Conditioning | None = None,
        guidance_scale: float = _SCALE,
        skip_guidance_layers: list[int] | None = None,
        skip_layer_guidance_start: float = _START,
        skip_layer_guidance_stop: float = _STOP,
        backbone: BackboneSpec | None = None,
    ) -> BranchedConditioning:
        """Joins the conditionings that each step evaluates.

        Args:
            positive: What the picture is to be like.
            negative: What it is to be unlike; needed while guidance is on.
            guidance_scale: How far to go; all guidance is on above 1.
            skip_guidance_layers: The layers to leave out, counted from 0; None for none.
            skip_layer_guidance_start: The share of the steps after which they are left out.
            skip_layer_guidance_stop: The share of the steps before which they are.
            backbone: What the backbone says of itself.

        Raises:
            InputError: Guidance is on without a negative conditioning.
        """
        branches = free_branches(positive, negative, guidance_scale, backbone)
        if skip_guidance_layers is None or not guides(guidance_scale, backbone):
            return BranchedConditioningValue.of(branches)
        aside = AsideValue(
            arguments={self.argument: list(skip_guidance_layers)},
            window=(skip_layer_guidance_start, skip_layer_guidance_stop),
        )
        return BranchedConditioningValue.of({**branches, _SKIPPED: positive}, {_SKIPPED: aside})

    @op
    def combine(
        self,
        prediction: ModelOutput,
        guidance_scale: float = _SCALE,
        skip_layer_guidance_scale: float = _SKIP_SCALE,
    ) -> ModelOutput:
        """Weighs the branches' predictions against each other.

        Args:
            prediction: ``b c h w`` for each branch; a plain tensor is passed on.
            guidance_scale: How far to go from the negative towards the positive prediction.
            skip_layer_guidance_scale: How far to go from the prediction with layers left out.

        Returns:
            One prediction ``b c h w``.
        """
        result = guided(prediction, guidance_scale)
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
        del op
        for name, value in known.items():
            if name == "guidance_scale" or name.startswith("skip_layer_"):
                check_finite(name, value)
        layers = known.get("skip_guidance_layers")
        if layers is not None:
            _check_layers(layers, known.get("backbone"))

    def unused_inputs(self, op: str, known: Mapping[str, Any]) -> frozenset[str]:
        """Says that the negative conditioning is not read while guidance is off.

        Args:
            op: The op that will be run.
            known: Values of its inputs that are known.
        """
        scale = known.get("guidance_scale", _SCALE)
        if op == "branches" and not guides(scale, known.get("backbone")):
            return frozenset({"negative"})
        return frozenset()


def _check_layers(layers: object, backbone: BackboneSpecValue | None) -> None:
    if not isinstance(layers, list | tuple):
        raise InputError(
            f"skip_guidance_layers is {layers!r}: give a list of layers, such as [7, 8, 9]."
        )
    for layer in layers:
        check_count("a layer of skip_guidance_layers", layer, least=0)
        if backbone is not None and backbone.layers is not None and layer >= backbone.layers:
            raise InputError(
                f"skip_guidance_layers names layer {layer}, but the model has {backbone.layers}, "
                f"0 to {backbone.layers - 1}."
            )
