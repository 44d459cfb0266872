"""What tiny pipelines have in common, and the table of them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import diffusers
import numpy as np
import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel, UNet2DModel
from PIL import Image
from torch import nn
from transformers import (
    CLIPImageProcessor,
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

from tests.tiny_models import randomize, tiny_clip_text, tiny_clip_tokenizer
from tests.tiny_t5 import tiny_t5, tiny_t5_tokenizer

Made = tuple[dict[str, Any], dict[str, Any]]
"""The arguments of a pipeline's constructor, and those of a call."""

MADE: dict[str, Callable[[], Made]] = {}
"""By the class, what makes a tiny pipeline of it."""

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
TWO_LEVELS = {
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
}


def tiny(name: str) -> Callable[[Callable[[], Made]], Callable[[], Made]]:
    """Enters a function that makes a pipeline's components and a call into the table."""

    def enter(make: Callable[[], Made]) -> Callable[[], Made]:
        MADE[name] = make
        return make

    return enter


def tiny_whole(name: str, seed: int = 0) -> Any:
    """Makes a pipeline.

    Args:
        name: Of its class.
        seed: Of the weights.
    """
    logging.getLogger("diffusers").setLevel(logging.ERROR)
    logging.getLogger("transformers").setLevel(logging.ERROR)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        components, _ = MADE[name]()
    for number, part in enumerate(components.values()):
        if isinstance(part, nn.Module):
            randomize(part, seed + number)
    pipeline = getattr(diffusers, name)(**components)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def call_of(name: str, seed: int = 0) -> dict[str, Any]:
    """Gives the arguments of a call, with a generator where the class takes one.

    Args:
        name: Of the class.
        seed: Of the generator.
    """
    with torch.random.fork_rng():
        torch.manual_seed(0)
        _, call = MADE[name]()
    return {**call, "generator": torch.Generator().manual_seed(seed)}


def tiny_ddpm(cls: type, **options: Any) -> Any:
    """Makes a pipeline of one UNet and its scheduler."""
    pipeline = cls(unet=randomize(pixel_unet(), 0), scheduler=DDPMScheduler(), **options)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def pixel_unet(**config: Any) -> UNet2DModel:
    """Makes a UNet without conditions, of pictures 8 wide and high."""
    return UNet2DModel(
        sample_size=8,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        **config,
    )


def text_unet(**config: Any) -> UNet2DConditionModel:
    """Makes a UNet for latents 8 wide and high, with conditions 32 wide."""
    return UNet2DConditionModel(
        **{
            "sample_size": 8,
            "block_out_channels": (16, 32),
            "layers_per_block": 1,
            "attention_head_dim": 4,
            "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
            "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
            "cross_attention_dim": 32,
            "norm_num_groups": 8,
            **config,
        }
    )


def half_vae(**config: Any) -> AutoencoderKL:
    """Makes a VAE of two levels: two pixels to a latent pixel."""
    return AutoencoderKL(
        **{
            "block_out_channels": (8, 16),
            "layers_per_block": 1,
            "latent_channels": 4,
            "norm_num_groups": 4,
            **TWO_LEVELS,
            **config,
        }
    )


def clip_texts() -> dict[str, Any]:
    """Makes a tokenizer and a text encoder 32 wide."""
    tokenizer = tiny_clip_tokenizer()
    return {"tokenizer": tokenizer, "text_encoder": tiny_clip_text(len(tokenizer))}


def projected_texts(width: int = 32) -> dict[str, Any]:
    """Makes a tokenizer and a text encoder with a projection."""
    tokenizer = tiny_clip_tokenizer()
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        projection_dim=width,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        bos_token_id=len(tokenizer) - 2,
        eos_token_id=2,
        pad_token_id=1,
    )
    return {"tokenizer": tokenizer, "text_encoder": CLIPTextModelWithProjection(config)}


def t5_texts() -> dict[str, Any]:
    """Makes T5's tokenizer and an encoder 32 wide."""
    tokenizer = tiny_t5_tokenizer()
    return {"tokenizer": tokenizer, "text_encoder": tiny_t5(len(tokenizer))}


def clip_vision(size: int = 32, width: int = 32) -> CLIPVisionModelWithProjection:
    """Makes an encoder of pictures."""
    config = CLIPVisionConfig(
        hidden_size=width,
        projection_dim=width,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=size,
        patch_size=size // 4,
    )
    return CLIPVisionModelWithProjection(config)


def clip_pictures(size: int = 32) -> CLIPImageProcessor:
    """Makes what prepares pictures for ``clip_vision``."""
    return CLIPImageProcessor(
        crop_size={"height": size, "width": size}, size={"shortest_edge": size}
    )


def picture(side: int = 32) -> Image.Image:
    """Draws a picture."""
    rows = np.linspace(0, 255, side)
    pixels = np.stack([np.add.outer(rows, each * rows) / 2 for each in (0.2, 0.6, 1.0)], axis=-1)
    return Image.fromarray(pixels.astype("uint8"))
