"""From a LoRA's file to what Diffusers loads: its converters, chosen by the backbone's class."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from peft import LoraConfig
from safetensors.torch import load_file
from torch import Tensor

from yggdrasil.blocks.adapter.lora_families import Family, family_of
from yggdrasil.blocks.adapter.lora_file import (
    PEFT_CONFIG,
    PEFT_PREFIX,
    Held,
    check_form,
    is_peft,
    looks_like,
    not_zero,
    read_shapes,
    shown,
)
from yggdrasil.blocks.adapter.lora_part import LoraPart
from yggdrasil.blocks.configuration import with_defaults
from yggdrasil.core.block import AbstractBaseBlock
from yggdrasil.core.errors import ModelError

__all__ = ["LoraPart", "read_parts"]

_log = logging.getLogger(__name__)

_KOHYA = "lora_"

_REFUSALS = (ValueError, KeyError, IndexError, AttributeError, TypeError, RuntimeError,
             NotImplementedError, AssertionError)  # fmt: skip
"""What Diffusers' converters raise at names that they do not know."""


def read_parts(held: Held, among: Sequence[AbstractBaseBlock]) -> dict[str, LoraPart]:
    """Reads a LoRA by Diffusers' converters.

    Args:
        held: A safetensors file of any layout that Diffusers reads, or that PEFT writes, or what
            such a file holds.
        among: The blocks that it changes; the backbone says which converters are used.

    Returns:
        What it changes, by component; at least one that such a model may have.

    Raises:
        ModelError: It is no LoRA, or the converters do not know its layout.
        ConfigError: No backbone that LoRAs are read for is among the blocks.
    """
    family, backbone = family_of(among)
    shapes = read_shapes(held)
    source = str(held) if isinstance(held, Path) else "The LoRA given as tensors"
    left_out = [name for name in shapes if any(mark in name for mark in family.leaves_out)]
    check_form(source, shapes, left_out)
    if left_out and (counting := not_zero(held, left_out)):
        _log.warning(
            "%s holds %s, which Diffusers' loader leaves out: without them it is another LoRA.",
            source, shown(counting),
        )  # fmt: skip
    like = looks_like(shapes)
    if is_peft(shapes):
        return {family.folder: _of_peft(held, source, family, like)}
    state, alphas, metadata = _converted(held, source, family, backbone, like)
    parts: dict[str, dict[str, Tensor]] = {}
    for key, value in state.items():
        parts.setdefault(key.partition(".")[0], {})[key] = value
    if not any(name in family.components for name in parts):
        if any(name.startswith(_KOHYA) for name in parts):
            raise ModelError(
                f"{source} is in kohya's layout ({shown(shapes)}), which Diffusers does not read "
                f"for {family.backbone}: save it in the layout of Diffusers."
            )
        raise ModelError(
            f"{source} changes nothing here: its names are {shown(shapes)}"
            f"{f', which look like those of a LoRA for {like}' if like else ''}, and read for "
            f"{family.backbone} are those of {', '.join(family.components)}. Use a LoRA made for "
            "this model, in a layout that Diffusers reads for it."
        )
    return {
        name: LoraPart(name, each, alphas, metadata, source, like, family)
        for name, each in parts.items()
    }


def _converted(
    held: Held, source: str, family: Family, backbone: AbstractBaseBlock, like: str
) -> tuple[dict[str, Tensor], dict[str, Any] | None, dict[str, Any] | None]:
    """Gives factors, what they are scaled by, and the configuration, as the loader has them."""
    slot = next(each for each in backbone.slots().values() if each.folder == family.folder)
    config = with_defaults(slot.cls, backbone.component_config(slot.name))
    where: Any = dict(held) if not isinstance(held, Path) else str(held.parent)  # it is emptied
    file = {"weight_name": held.name} if isinstance(held, Path) else {}
    try:
        state, *alphas, metadata = family.loader.lora_state_dict(
            where,
            **file,
            use_safetensors=True,
            local_files_only=True,
            return_lora_metadata=True,
            return_alphas=True,
            unet_config=SimpleNamespace(**config),
        )
    except _REFUSALS as error:
        raise ModelError(
            f"{source} is in no layout of LoRAs for {family.backbone}"
            f"{f'; it looks like a LoRA for {like}' if like else ''}: {str(error).strip()[:300]}"
        ) from error
    return state, (alphas[0] or None) if alphas else None, metadata or None


def _of_peft(held: Held, source: str, family: Family, like: str) -> LoraPart:
    """Reads what PEFT's ``save_pretrained`` wrote of a backbone, its configuration beside it."""
    tensors = load_file(held) if isinstance(held, Path) else held
    state = {
        f"{family.folder}.{key.removeprefix(PEFT_PREFIX)}": value for key, value in tensors.items()
    }
    metadata = None
    if isinstance(held, Path) and (beside := held.parent / PEFT_CONFIG).is_file():
        known = {each.name for each in dataclasses.fields(LoraConfig)}
        told = json.loads(beside.read_text(encoding="utf-8"))
        metadata = {f"{family.folder}.{k}": v for k, v in told.items() if k in known}
    return LoraPart(family.folder, state, None, metadata, source, like, family)
