"""LoRAs in miniature for the tiny pipelines: random factors, in the layouts that are met."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

NAME = "pytorch_lora_weights.safetensors"
TEXT = ("q_proj", "v_proj", "out_proj", "fc1")
NETWORK = ("to_q", "to_k", "to_v", "to_out.0")
SD = {"unet": NETWORK, "text_encoder": TEXT}
SDXL = {"unet": NETWORK, "text_encoder": TEXT, "text_encoder_2": TEXT}
SD3 = {"transformer": (*NETWORK, "add_k_proj"), "text_encoder": TEXT, "text_encoder_2": TEXT}
FLUX = {"transformer": (*NETWORK, "add_k_proj", "proj_mlp"), "text_encoder": TEXT}

_KOHYA = {"unet": "unet", "transformer": "unet", "text_encoder": "te1", "text_encoder_2": "te2"}


def tiny_lora(
    folder: Path,
    pipe: Any,
    parts: Mapping[str, Sequence[str]],
    *,
    seed: int = 1,
    rank: int = 4,
) -> Path:
    """Writes a LoRA in the layout of Diffusers, and gives its folder.

    Args:
        folder: Where.
        pipe: A tiny pipeline of the LoRA's family.
        parts: By component, the ends of the names of the layers that the LoRA changes.
        seed: Of the factors.
        rank: Of the factors.
    """
    return write(folder, tiny_factors(pipe, parts, seed=seed, rank=rank))


def tiny_factors(
    pipe: Any, parts: Mapping[str, Sequence[str]], *, seed: int = 1, rank: int = 4
) -> dict[str, Tensor]:
    """Gives the factors of a LoRA, named as Diffusers saves them; see ``tiny_lora``."""
    generator = torch.Generator().manual_seed(seed)
    state: dict[str, Tensor] = {}
    for component, ends in parts.items():
        for name, module in getattr(pipe, component).named_modules():
            if isinstance(module, nn.Linear) and name.endswith(tuple(f".{end}" for end in ends)):
                wide, narrow = module.in_features, module.out_features
                down = torch.randn(rank, wide, generator=generator) / math.sqrt(wide)
                up = torch.randn(narrow, rank, generator=generator) / math.sqrt(rank)
                state[f"{component}.{name}.lora_A.weight"] = down
                state[f"{component}.{name}.lora_B.weight"] = up
    return state


def as_kohya(state: Mapping[str, Tensor], alpha: float = 2.0) -> dict[str, Tensor]:
    """Gives a LoRA's factors as kohya's scripts name them, with what they are scaled by.

    Args:
        state: Named as Diffusers saves them.
        alpha: What they are scaled by, times the rank.
    """
    made: dict[str, Tensor] = {}
    for key, value in state.items():
        component, _, rest = key.partition(".")
        layer, _, factor = rest.partition(".lora_")
        text = component.startswith("text") and not layer.startswith("text_model.")
        layer = f"text_model.{layer}" if text else layer
        name = f"lora_{_KOHYA[component]}_{layer.replace('.', '_')}"
        made[f"{name}.lora_{'down' if factor.startswith('A') else 'up'}.weight"] = value
        made[f"{name}.alpha"] = torch.tensor(alpha)
    return made


_FLUX_BLOCKS = {
    "attn.to_out.0": "img_attn_proj", "ff.net.0.proj": "img_mlp_0", "ff.net.2": "img_mlp_2",
}  # fmt: skip


def as_kohya_flux(state: Mapping[str, Tensor], alpha: float = 2.0) -> dict[str, Tensor]:
    """Gives the factors of some of FLUX's layers as kohya's scripts name them, who read its own."""
    made = {
        key: value for key, value in as_kohya(state, alpha).items() if key.startswith("lora_te1_")
    }
    for key, value in state.items():
        layer, _, factor = key.removeprefix("transformer.transformer_blocks.").partition(".lora_")
        number, _, place = layer.partition(".")
        if place in _FLUX_BLOCKS:
            name = f"lora_unet_double_blocks_{number}_{_FLUX_BLOCKS[place]}"
            made[f"{name}.lora_{'down' if factor.startswith('A') else 'up'}.weight"] = value
            made[f"{name}.alpha"] = torch.tensor(alpha)
    return made


def write(folder: Path, state: Mapping[str, Tensor], name: str = NAME) -> Path:
    """Writes tensors as a LoRA's file, and gives the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({key: value.contiguous() for key, value in state.items()}, folder / name)
    return folder
