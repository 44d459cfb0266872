"""The scale of LoRAs that a call gives, as Diffusers' pipelines take it for text encoders too."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from diffusers.utils import scale_lora_layers, unscale_lora_layers
from torch import nn

__all__ = ["lora_scaled", "without_scale"]

_ARGUMENTS = ("cross_attention_kwargs", "joint_attention_kwargs")


def _scale_in(arguments: Mapping[str, Any] | None) -> float | None:
    """Gives the scale among arguments for the backbone, such as ``cross_attention_kwargs``."""
    held = (arguments or {}).get
    found = [each["scale"] for name in _ARGUMENTS if "scale" in (each := held(name) or {})]
    return found[0] if found else None


@contextlib.contextmanager
def lora_scaled(model: nn.Module, arguments: Mapping[str, Any] | None) -> Iterator[None]:
    """Scales the LoRAs in a model, for as long as the context is open.

    Args:
        model: A text encoder.
        arguments: Those for the backbone, which hold the scale.
    """
    scale = _scale_in(arguments)
    if scale is None:
        yield
        return
    scale_lora_layers(model, scale)
    try:
        yield
    finally:
        unscale_lora_layers(model, scale)


def without_scale(known: Mapping[str, Any]) -> frozenset[str]:
    """Says for ``unused_inputs`` of a text encoder that arguments without a scale are not read.

    Args:
        known: Values of its inputs that are known.
    """
    arguments = known.get("model_arguments")
    return frozenset({"model_arguments"}) if _scale_in(arguments) is None else frozenset()
