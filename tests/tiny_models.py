"""Stable Diffusion in miniature: whole Diffusers pipelines with random weights, made in a moment.

Every parameter is random, since the zeros that models begin with (gates, output projections) hide
mistakes in the wiring.
"""

from __future__ import annotations

import logging
import math
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    LCMScheduler,
    PNDMScheduler,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

KINDS = ("sd15", "sd15_inpaint", "sd15_edit", "sd2", "sd2_inpaint", "lcm")
"""Epsilon with PNDM; nine and eight channels; v-prediction with DDIM; a guidance embedding with
LCM."""

WORDS = ("a", "photo", "of", "cat", "dog", "red", "blue", "ugly", "blurry", "house", "on", "the")

_BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}

_UNETS: dict[str, dict[str, Any]] = {
    "sd15": {"attention_head_dim": 4},
    "sd15_inpaint": {"attention_head_dim": 4, "in_channels": 9},
    "sd15_edit": {"attention_head_dim": 4, "in_channels": 8},
    "sd2": {"attention_head_dim": (2, 4), "use_linear_projection": True},
    "sd2_inpaint": {"attention_head_dim": (2, 4), "use_linear_projection": True, "in_channels": 9},
    "lcm": {"attention_head_dim": 4, "time_cond_proj_dim": 16},
}


def tiny_pipeline(kind: str = "sd15", cls: type | None = None, seed: int = 0) -> Any:
    """Makes a Diffusers pipeline; pictures are 64 pixels wide and high.

    Args:
        kind: One of ``KINDS``.
        cls: The pipeline's class; that of the kind unless given.
        seed: Of the weights.
    """
    usual = StableDiffusionInpaintPipeline if kind.endswith("_inpaint") else StableDiffusionPipeline
    pipeline = (cls or usual)(**tiny_components(kind, seed))
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def tiny_components(kind: str = "sd15", seed: int = 0) -> dict[str, Any]:
    """Makes a pipeline's components by name, the absent ones included.

    Args:
        kind: One of ``KINDS``.
        seed: Of the weights.
    """
    # The toy configurations draw remarks that would drown those of the tests.
    logging.getLogger("diffusers").setLevel(logging.ERROR)
    logging.getLogger("transformers").setLevel(logging.ERROR)
    tokenizer = tiny_clip_tokenizer(pad_token="!" if kind.startswith("sd2") else "<|endoftext|>")
    models = {
        "vae": tiny_vae(),
        "text_encoder": tiny_clip_text(len(tokenizer), layers=3 if kind.startswith("sd2") else 2),
        "unet": tiny_unet(**_UNETS[kind]),
    }
    for number, model in enumerate(models.values()):
        randomize(model, seed + number)
    return {
        **models,
        "tokenizer": tokenizer,
        "scheduler": tiny_scheduler(kind),
        "safety_checker": None,
        "feature_extractor": None,
        "image_encoder": None,
        "requires_safety_checker": False,
    }


def tiny_unet(**config: Any) -> UNet2DConditionModel:
    """Makes a UNet of two levels, both with attention, for latents 8 wide and high."""
    return UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=32,
        norm_num_groups=8,
        **config,
    )


def tiny_vae(**config: Any) -> AutoencoderKL:
    """Makes a VAE of four levels: eight pixels to a latent pixel."""
    return AutoencoderKL(
        block_out_channels=(8, 8, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        norm_num_groups=4,
        sample_size=64,
        **{"latent_channels": 4, **config},
    )


def tiny_clip_text(vocab_size: int, layers: int = 2) -> CLIPTextModel:
    """Makes a text encoder; pooling takes the largest id, as the first CLIP's does."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=vocab_size,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=layers,
            num_attention_heads=4,
            max_position_embeddings=77,
            bos_token_id=vocab_size - 2,
            eos_token_id=2,
            pad_token_id=1,
        )
    )


def tiny_clip_tokenizer(pad_token: str = "<|endoftext|>") -> CLIPTokenizer:
    """Makes a tokenizer that knows every byte and a few words, and needs no file."""
    letters = _byte_letters()
    vocab = [*letters, *(f"{letter}</w>" for letter in letters)]
    merges: list[tuple[str, str]] = []
    for word in WORDS:
        parts = [*word[:-1], f"{word[-1]}</w>"]
        while len(parts) > 1:
            merges.append((parts[0], parts[1]))
            parts[:2] = [parts[0] + parts[1]]
            vocab.append(parts[0])
    # Pooling takes the largest id, so the end of the text comes last.
    tokens = [*dict.fromkeys(vocab), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(
        vocab={token: number for number, token in enumerate(tokens)},
        merges=list(dict.fromkeys(merges)),
        model_max_length=77,
        pad_token=pad_token,
    )


def tiny_scheduler(kind: str = "sd15") -> Any:
    """Makes the scheduler that models of a kind are published with."""
    if kind.startswith("sd2"):
        return DDIMScheduler(
            **_BETAS,
            clip_sample=False,
            set_alpha_to_one=False,
            steps_offset=1,
            prediction_type="v_prediction",
        )
    if kind == "lcm":
        return LCMScheduler(**_BETAS, steps_offset=1)
    return PNDMScheduler(**_BETAS, skip_prk_steps=True, set_alpha_to_one=False, steps_offset=1)


def randomize(model: nn.Module, seed: int) -> nn.Module:
    """Fills every parameter so that activations keep their size, and sets evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            drawn = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim > 1:
                parameter.copy_(drawn / math.sqrt(parameter[0].numel()))
            else:
                parameter.copy_(0.1 * drawn + (1.0 if name.endswith("weight") else 0.0))
    return model.eval()


def _byte_letters() -> list[str]:
    """Gives the 256 letters that stand for bytes, the printable ones for themselves and first."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = 256 - len(printable)
    return [chr(code) for code in (*printable, *range(256, 256 + others))]
