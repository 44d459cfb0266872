"""Stable Diffusion 3 in miniature: 3.0, 3.5 and inpainting, with random weights."""

from __future__ import annotations

import logging
from typing import Any

from diffusers import (
    FlowMatchEulerDiscreteScheduler,
    SD3Transformer2DModel,
    StableDiffusion3InpaintPipeline,
    StableDiffusion3Pipeline,
)
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from tests.tiny_models import randomize, tiny_clip_tokenizer, tiny_vae
from tests.tiny_t5 import tiny_t5, tiny_t5_tokenizer

KINDS = ("sd3", "sd35", "sd3_inpaint", "sd3_no_t5")
"""3.0; two attentions a block and a schedule shifted by size; 33 channels; without T5."""

_WIDTH = 80


def tiny_sd3(kind: str = "sd3", cls: type | None = None, seed: int = 0) -> Any:
    """Makes a Diffusers pipeline; pictures are 64 pixels wide and high.

    Args:
        kind: One of ``KINDS``.
        cls: The pipeline's class; that of the kind unless given.
        seed: Of the weights.
    """
    logging.getLogger("diffusers").setLevel(logging.ERROR)
    logging.getLogger("transformers").setLevel(logging.ERROR)
    inpaints, newer = kind == "sd3_inpaint", kind == "sd35"
    cls = cls or (StableDiffusion3InpaintPipeline if inpaints else StableDiffusion3Pipeline)
    first, second = tiny_clip_tokenizer(), tiny_clip_tokenizer(pad_token="!")
    third = None if kind == "sd3_no_t5" else tiny_t5_tokenizer()
    models = {
        "vae": tiny_vae(
            latent_channels=16,
            shift_factor=0.0609,
            scaling_factor=1.5305,
            use_quant_conv=False,
            use_post_quant_conv=False,
        ),
        "text_encoder": _projecting(len(first), width=32, projected=24, act="quick_gelu"),
        "text_encoder_2": _projecting(len(second), width=40, projected=40, act="gelu"),
        "text_encoder_3": None if third is None else tiny_t5(len(third), width=_WIDTH),
        "transformer": SD3Transformer2DModel(
            sample_size=8,
            patch_size=2,
            in_channels=33 if inpaints else 16,
            out_channels=16,
            num_layers=3,
            attention_head_dim=8,
            num_attention_heads=4,
            joint_attention_dim=_WIDTH,
            caption_projection_dim=32,
            pooled_projection_dim=24 + 40,
            pos_embed_max_size=12,
            dual_attention_layers=(0, 1) if newer else (),
            qk_norm="rms_norm" if newer else None,
        ),
    }
    for number, model in enumerate(models.values()):
        if model is not None:
            randomize(model, seed + number)
    shift = {"use_dynamic_shifting": True, "max_shift": 1.15} if newer else {"shift": 3.0}
    pipeline = cls(
        **models,
        tokenizer=first,
        tokenizer_2=second,
        tokenizer_3=third,
        scheduler=FlowMatchEulerDiscreteScheduler(**shift),
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _projecting(
    vocab_size: int, *, width: int, projected: int, act: str
) -> CLIPTextModelWithProjection:
    return CLIPTextModelWithProjection(
        CLIPTextConfig(
            vocab_size=vocab_size,
            hidden_size=width,
            intermediate_size=48,
            num_hidden_layers=3,
            num_attention_heads=4,
            max_position_embeddings=77,
            bos_token_id=vocab_size - 2,
            eos_token_id=2,
            pad_token_id=1,
            projection_dim=projected,
            hidden_act=act,
        )
    )
