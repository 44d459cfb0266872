"""Checkpoints of one file: models of Diffusers in the names of the repositories they came from.

This is the other way than that of Diffusers' converters.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_ATTENTION = {
    "group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out",
}  # fmt: skip
_OPEN_CLIP = {
    "layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}  # fmt: skip


def save_checkpoint(
    path: Path, components: Mapping[str, nn.Module], metadata: Mapping[str, str] | None = None
) -> Path:
    """Writes UNet, VAE and text encoder of a pipeline as a checkpoint of one file."""
    tensors = {name: value.contiguous() for name, value in checkpoint_tensors(components).items()}
    save_file(tensors, path, metadata={"format": "pt", **(metadata or {})})
    return path


def checkpoint_tensors(components: Mapping[str, Any]) -> dict[str, Tensor]:
    """Gives the tensors of a checkpoint, with some of those that nobody reads."""
    unet = components["unet"]
    return {
        **_prefixed("model.diffusion_model.", _unet(unet)),
        **_prefixed("first_stage_model.", vae_tensors(components["vae"])),
        **_texts(components),
        "betas": torch.linspace(0, 1, 8),
        "model_ema.decay": torch.tensor(0.9999),
        "model_ema.num_updates": torch.tensor(7, dtype=torch.int32),
    }


def _texts(components: Mapping[str, Any]) -> dict[str, Tensor]:
    first, second = components["text_encoder"], components.get("text_encoder_2")
    if second is None:
        # Stable Diffusion 2 has OpenCLIP's text encoder.
        text = _open_clip if components["unet"].config.use_linear_projection else _clip
        return _prefixed("cond_stage_model.", text(first))
    if first is None:  # the refiner of Stable Diffusion XL
        return _prefixed("conditioner.embedders.0.", _open_clip(second))
    return {
        **_prefixed("conditioner.embedders.0.", _clip(first)),
        **_prefixed("conditioner.embedders.1.", _open_clip(second)),
    }


def save_header(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> Path:
    """Writes a checkpoint of half-precision zeros that take no room: a header and a hole."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt", **(metadata or {})}}
    end = 0
    for name, tensor in tensors.items():
        start, end = end, end + 2 * tensor.numel()
        header[name] = {"dtype": "F16", "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
    return path


def _unet(unet: Any) -> Iterable[tuple[str, Tensor]]:
    """The blocks in a row: a convolution, then resnets and what changes the size."""
    each = unet.config.layers_per_block + 1
    with_attention = [kind.startswith("CrossAttn") for kind in unet.config.up_block_types]
    plain = {
        "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
        "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2",
        "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2",
    }  # fmt: skip
    middle = {"resnets.0": 0, "attentions.0": 1, "resnets.1": 2}
    part = {"resnets": 0, "attentions": 1}
    for name, tensor in unet.state_dict().items():
        if found := re.fullmatch(r"down_blocks\.(\d+)\.(resnets|attentions)\.(\d+)\.(.+)", name):
            level, kind, number, rest = found.groups()
            block = 1 + int(level) * each + int(number)
            yield f"input_blocks.{block}.{part[kind]}.{_inner(kind, rest)}", tensor
        elif found := re.fullmatch(r"down_blocks\.(\d+)\.downsamplers\.0\.conv\.(.+)", name):
            yield f"input_blocks.{(int(found[1]) + 1) * each}.0.op.{found[2]}", tensor
        elif found := re.fullmatch(r"mid_block\.((resnets|attentions)\.\d)\.(.+)", name):
            yield f"middle_block.{middle[found[1]]}.{_inner(found[2], found[3])}", tensor
        elif found := re.fullmatch(r"up_blocks\.(\d+)\.(resnets|attentions)\.(\d+)\.(.+)", name):
            level, kind, number, rest = found.groups()
            block = int(level) * each + int(number)
            yield f"output_blocks.{block}.{part[kind]}.{_inner(kind, rest)}", tensor
        elif found := re.fullmatch(r"up_blocks\.(\d+)\.upsamplers\.0\.conv\.(.+)", name):
            level = int(found[1])
            place = 2 if with_attention[level] else 1
            yield f"output_blocks.{level * each + each - 1}.{place}.conv.{found[2]}", tensor
        else:
            layer, _, end = name.rpartition(".")
            yield f"{plain[layer]}.{end}", tensor


def _inner(kind: str, rest: str) -> str:
    if kind == "attentions":
        return rest
    layer, _, end = rest.rpartition(".")
    return f"{_RESNET[layer]}.{end}"


def vae_tensors(vae: Any) -> Iterable[tuple[str, Tensor]]:
    """Gives the tensors of an autoencoder by their names in a checkpoint."""
    last = len(vae.config.block_out_channels) - 1
    for name, tensor in vae.state_dict().items():
        layer, _, end = name.rpartition(".")
        if found := re.fullmatch(r"(.+)\.mid_block\.attentions\.0\.(.+)", layer):
            square = tensor[:, :, None, None] if tensor.ndim == 2 else tensor
            yield f"{found[1]}.mid.attn_1.{_ATTENTION[found[2]]}.{end}", square
            continue
        layer = layer.replace("conv_shortcut", "nin_shortcut")
        layer = layer.replace("conv_norm_out", "norm_out")
        layer = re.sub(
            r"mid_block\.resnets\.(\d)", lambda found: f"mid.block_{int(found[1]) + 1}", layer
        )
        layer = re.sub(r"down_blocks\.(\d)\.resnets", r"down.\1.block", layer)
        layer = re.sub(r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample", layer)
        layer = re.sub(
            r"up_blocks\.(\d)\.resnets", lambda found: f"up.{last - int(found[1])}.block", layer
        )
        layer = re.sub(
            r"up_blocks\.(\d)\.upsamplers\.0",
            lambda found: f"up.{last - int(found[1])}.upsample",
            layer,
        )
        yield f"{layer}.{end}", tensor


def _clip(encoder: Any) -> Iterable[tuple[str, Tensor]]:
    for name, tensor in encoder.state_dict().items():
        yield f"transformer.text_model.{name.removeprefix('text_model.')}", tensor
    positions = torch.arange(encoder.config.max_position_embeddings)[None]
    yield "transformer.text_model.embeddings.position_ids", positions


def _open_clip(encoder: Any) -> Iterable[tuple[str, Tensor]]:
    state = {name.removeprefix("text_model."): t for name, t in encoder.state_dict().items()}
    plain = {
        "embeddings.token_embedding.weight": "token_embedding.weight",
        "embeddings.position_embedding.weight": "positional_embedding",
        "final_layer_norm.weight": "ln_final.weight",
        "final_layer_norm.bias": "ln_final.bias",
    }
    for name, tensor in state.items():
        if name == "text_projection.weight":
            yield "model.text_projection", tensor.T.contiguous()
            continue
        found = re.fullmatch(r"encoder\.layers\.(\d+)\.(.+)\.(weight|bias)", name)
        if found is None:
            yield f"model.{plain[name]}", tensor
            continue
        block = f"model.transformer.resblocks.{found[1]}"
        layer, end = found[2], found[3]
        if layer in _OPEN_CLIP:
            yield f"{block}.{_OPEN_CLIP[layer]}.{end}", tensor
        elif layer == "self_attn.q_proj":
            start = name.removesuffix(f"q_proj.{end}")
            three = [state[f"{start}{which}_proj.{end}"] for which in "qkv"]
            yield f"{block}.attn.in_proj_{end}", torch.cat(three)
    yield "model.logit_scale", torch.tensor(1.0)


def _prefixed(prefix: str, named: Iterable[tuple[str, Tensor]]) -> dict[str, Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in named}
