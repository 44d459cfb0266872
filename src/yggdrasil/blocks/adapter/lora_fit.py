"""Whether a LoRA fits a model: which layers it names, and how wide they are."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from torch import nn

from yggdrasil.blocks.adapter.lora_file import looks_like, shown
from yggdrasil.blocks.adapter.lora_formats import LoraPart
from yggdrasil.core.errors import ModelError

__all__ = ["fitting"]

_log = logging.getLogger(__name__)


def fitting(
    part: LoraPart, model: nn.Module, source: str, shapes: Mapping[str, tuple[int, ...]]
) -> LoraPart:
    """Gives what of a LoRA fits a model; what fits no layer is left out, with a warning.

    Args:
        part: What it changes in the component that the model is.
        model: The model, without adapters.
        source: The LoRA's file, for messages.
        shapes: Of the tensors in the file, for messages.

    Raises:
        ModelError: It fits no layer, or layers of the same names have other sizes.
    """
    layers = dict(model.named_modules())
    flat = not hasattr(model, "text_model")  # newer transformers have one level less in CLIP
    missing, wrong = [], []
    for layer in part.layers:
        name = layer.removeprefix("text_model.") if flat else layer
        if name not in layers:
            missing.append(layer)
        elif not _as_wide(part, layer, layers[name]):
            wrong.append(layer)
    like = looks_like(shapes)
    seems = f" It looks like a LoRA for {like}." if like else ""
    what = f"{part.component} ({type(model).__name__})"
    if len(missing) == len(part.layers):
        raise ModelError(
            f"{source} fits no layer of {what}: {shown(missing)} are not there.{seems} Use a LoRA "
            "made for this model, or the model that it was made for."
        )
    if wrong:
        raise ModelError(
            f"{source} was made for another model than {what}: {_sizes(part, wrong[0], layers)} "
            f"{len(wrong)} of {len(part.layers)} layers have other sizes.{seems} Use a LoRA made "
            "for this model."
        )
    if missing:
        _log.warning(
            "%s names %d layers that %s has not, of %d; they are left over: %s.%s",
            source, len(missing), what, len(part.layers), shown(missing), seems,
        )  # fmt: skip
        return part.without(missing)
    return part


def _as_wide(part: LoraPart, layer: str, module: nn.Module) -> bool:
    """Says whether a layer reads and gives what the factors read and give."""
    weight = getattr(module, "weight", None)
    if weight is None:
        return False
    for factor, key in part.layers[layer]:
        shape = part.state[key].shape
        if len(shape) < 2:
            continue
        if factor.startswith("lora_A") and shape[1] != weight.shape[1]:
            return False
        if factor.startswith("lora_B") and shape[0] != weight.shape[0]:
            return False
    return True


def _sizes(part: LoraPart, layer: str, layers: Mapping[str, nn.Module]) -> str:
    found = {factor[:6]: part.state[key].shape for factor, key in part.layers[layer]}
    module = layers.get(layer) or layers[layer.removeprefix("text_model.")]
    weight = tuple(module.weight.shape)
    theirs = [found["lora_B"][0], found["lora_A"][1]]
    return f"{layer} has {list(weight[:2])} there and {theirs} in the LoRA;"
