"""Checkpoints of Stable Diffusion 3 and FLUX.1 in the names of the repositories they came from.

This is the other way than that of Diffusers' converters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from tests.single_files import vae_tensors

_EMBEDDERS = {
    "time_text_embed.timestep_embedder": ("t_embedder.mlp", "time_in"),
    "time_text_embed.text_embedder": ("y_embedder.mlp", "vector_in"),
    "time_text_embed.guidance_embedder": ("", "guidance_in"),
}
_SD3_LAYERS = {
    "norm1.linear": "x_block.adaLN_modulation.1", "attn.to_out.0": "x_block.attn.proj",
    "norm1_context.linear": "context_block.adaLN_modulation.1",
    "attn.to_add_out": "context_block.attn.proj", "attn2.to_out.0": "x_block.attn2.proj",
    "ff.net.0.proj": "x_block.mlp.fc1", "ff.net.2": "x_block.mlp.fc2",
    "ff_context.net.0.proj": "context_block.mlp.fc1", "ff_context.net.2": "context_block.mlp.fc2",
    "attn.norm_q": "x_block.attn.ln_q", "attn.norm_k": "x_block.attn.ln_k",
    "attn2.norm_q": "x_block.attn2.ln_q", "attn2.norm_k": "x_block.attn2.ln_k",
    "attn.norm_added_q": "context_block.attn.ln_q", "attn.norm_added_k": "context_block.attn.ln_k",
}  # fmt: skip
_FLUX_DOUBLE = {
    "norm1.linear": "img_mod.lin", "norm1_context.linear": "txt_mod.lin",
    "attn.to_out.0": "img_attn.proj", "attn.to_add_out": "txt_attn.proj",
    "ff.net.0.proj": "img_mlp.0", "ff.net.2": "img_mlp.2",
    "ff_context.net.0.proj": "txt_mlp.0", "ff_context.net.2": "txt_mlp.2",
    "attn.norm_q": "img_attn.norm.query_norm", "attn.norm_k": "img_attn.norm.key_norm",
    "attn.norm_added_q": "txt_attn.norm.query_norm", "attn.norm_added_k": "txt_attn.norm.key_norm",
}  # fmt: skip
_FLUX_SINGLE = {
    "norm.linear": "modulation.lin", "proj_out": "linear2",
    "attn.norm_q": "norm.query_norm", "attn.norm_k": "norm.key_norm",
}  # fmt: skip
# The first of three that are one in the original, with what those are called.
_SD3_JOINED = {
    "attn.to_q": "x_block.attn.qkv", "attn2.to_q": "x_block.attn2.qkv",
    "attn.add_q_proj": "context_block.attn.qkv",
}  # fmt: skip
_FLUX_JOINED = {"attn.to_q": "img_attn.qkv", "attn.add_q_proj": "txt_attn.qkv"}


def sd3_tensors(components: Mapping[str, Any]) -> dict[str, Tensor]:
    """Gives the tensors of a checkpoint of Stable Diffusion 3, text encoders included."""
    found = {f"model.diffusion_model.{n}": t for n, t in sd3_transformer(components["transformer"])}
    found |= {f"first_stage_model.{n}": t for n, t in vae_tensors(components["vae"])}
    parts = {"text_encoder": "clip_l", "text_encoder_2": "clip_g", "text_encoder_3": "t5xxl"}
    for name, short in parts.items():
        if components.get(name) is not None:
            state = components[name].state_dict()
            found |= {f"text_encoders.{short}.transformer.{n}": t for n, t in state.items()}
    return found


def sd3_transformer(model: Any) -> Iterator[tuple[str, Tensor]]:
    """Gives the tensors of a transformer by the names of github.com/Stability-AI/sd3.5."""
    state, last = model.state_dict(), model.config.num_layers - 1
    plain = {
        "pos_embed.proj": "x_embedder.proj", "context_embedder": "context_embedder",
        "proj_out": "final_layer.linear", "norm_out.linear": "final_layer.adaLN_modulation.1",
    }  # fmt: skip
    for name, tensor in state.items():
        layer, _, end = name.rpartition(".")
        found = re.fullmatch(r"transformer_blocks\.(\d+)\.(.+)", layer)
        if name == "pos_embed.pos_embed":
            yield "pos_embed", tensor
        elif found is None and layer in plain:
            yield (
                f"{plain[layer]}.{end}",
                _swapped(tensor) if layer == "norm_out.linear" else tensor,
            )
        elif found is None:
            start, number = layer.rsplit(".linear_", 1)
            yield f"{_EMBEDDERS[start][0]}.{2 * int(number) - 2}.{end}", tensor
        elif found[2] in _SD3_LAYERS:
            ends = found[2] == "norm1_context.linear" and int(found[1]) == last
            value = _swapped(tensor) if ends else tensor
            yield f"joint_blocks.{found[1]}.{_SD3_LAYERS[found[2]]}.{end}", value
        elif found[2] in _SD3_JOINED:
            three = _three(state, layer, end)
            yield f"joint_blocks.{found[1]}.{_SD3_JOINED[found[2]]}.{end}", three


def flux_transformer(model: Any) -> Iterator[tuple[str, Tensor]]:
    """Gives the tensors of a transformer by the names of github.com/black-forest-labs/flux."""
    state = model.state_dict()
    plain = {
        "x_embedder": "img_in", "context_embedder": "txt_in", "proj_out": "final_layer.linear",
        "norm_out.linear": "final_layer.adaLN_modulation.1",
    }  # fmt: skip
    for name, tensor in state.items():
        layer, _, end = name.rpartition(".")
        found = re.fullmatch(r"(single_)?transformer_blocks\.(\d+)\.(.+)", layer)
        if found is None and layer in plain:
            yield (
                f"{plain[layer]}.{end}",
                _swapped(tensor) if layer == "norm_out.linear" else tensor,
            )
        elif found is None:
            start, number = layer.rsplit(".linear_", 1)
            side = "in_layer" if number == "1" else "out_layer"
            yield f"{_EMBEDDERS[start][1]}.{side}.{end}", tensor
        elif found[1]:
            block = f"single_blocks.{found[2]}"
            if found[3] in _FLUX_SINGLE:
                yield f"{block}.{_FLUX_SINGLE[found[3]]}.{_scale(found[3], end)}", tensor
            elif found[3] == "attn.to_q":
                start = layer.removesuffix("attn.to_q")
                mlp = state[f"{start}proj_mlp.{end}"]
                yield f"{block}.linear1.{end}", torch.cat([_three(state, layer, end), mlp])
        else:
            block = f"double_blocks.{found[2]}"
            if found[3] in _FLUX_DOUBLE:
                yield f"{block}.{_FLUX_DOUBLE[found[3]]}.{_scale(found[3], end)}", tensor
            elif found[3] in _FLUX_JOINED:
                yield f"{block}.{_FLUX_JOINED[found[3]]}.{end}", _three(state, layer, end)


def _scale(layer: str, end: str) -> str:
    return "scale" if "attn.norm" in layer else end


def _three(state: Mapping[str, Tensor], layer: str, end: str) -> Tensor:
    """Joins what reads queries, keys and values."""
    start, _, last = layer.rpartition(".")
    names = [f"{start}.{last.replace('q', letter, 1)}" for letter in "qkv"]
    return torch.cat([state[f"{name}.{end}"] for name in names])


def _swapped(tensor: Tensor) -> Tensor:
    """Puts the shift before the scale, as the originals do."""
    scale, shift = tensor.chunk(2)
    return torch.cat([shift, scale])
