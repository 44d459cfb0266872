"""Stable Diffusion XL in miniature: base, refiner and inpainting, with random weights."""

from __future__ import annotations

import logging
from typing import Any

from diffusers import (
    EulerDiscreteScheduler,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInpaintPipeline,
    StableDiffusionXLInstructPix2PixPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from tests.tiny_models import randomize, tiny_clip_text, tiny_clip_tokenizer, tiny_vae

KINDS = ("sdxl", "sdxl_inpaint", "sdxl_edit", "sdxl_refiner")
"""The base; nine and eight channels; one text encoder, reading how beautiful the picture is to
be."""

_CLASSES = {
    "sdxl": StableDiffusionXLPipeline,
    "sdxl_inpaint": StableDiffusionXLInpaintPipeline,
    "sdxl_edit": StableDiffusionXLInstructPix2PixPipeline,
    "sdxl_refiner": StableDiffusionXLImg2ImgPipeline,
}
_TIME, _PROJECTED = 8, 24
_CHANNELS = {"sdxl_inpaint": 9, "sdxl_edit": 8}


def tiny_sdxl(
    kind: str = "sdxl",
    cls: type | None = None,
    seed: int = 0,
    *,
    unet: dict[str, Any] | None = None,
    **settings: Any,
) -> Any:
    """Makes a Diffusers pipeline; pictures are 64 pixels wide and high.

    Args:
        kind: One of ``KINDS``.
        cls: The pipeline's class; that of the kind unless given.
        seed: Of the weights.
        unet: Of its configuration.
        settings: Of the whole pipeline.
    """
    logging.getLogger("diffusers").setLevel(logging.ERROR)
    logging.getLogger("transformers").setLevel(logging.ERROR)
    refines = kind == "sdxl_refiner"
    cls = cls or _CLASSES[kind]
    first, second = tiny_clip_tokenizer(), tiny_clip_tokenizer(pad_token="!")
    models = {
        "vae": tiny_vae(),
        "text_encoder": None if refines else tiny_clip_text(len(first), layers=3),
        "text_encoder_2": _projecting(len(second)),
        "unet": UNet2DConditionModel(
            sample_size=8,
            in_channels=_CHANNELS.get(kind, 4),
            block_out_channels=(16, 32),
            layers_per_block=1,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            attention_head_dim=(2, 4),
            transformer_layers_per_block=(1, 2),
            use_linear_projection=True,
            cross_attention_dim=40 if refines else 72,
            addition_embed_type="text_time",
            addition_time_embed_dim=_TIME,
            projection_class_embeddings_input_dim=(5 if refines else 6) * _TIME + _PROJECTED,
            norm_num_groups=8,
            **(unet or {}),
        ),
    }
    for number, model in enumerate(models.values()):
        if model is not None:
            randomize(model, seed + number)
    settings = {"force_zeros_for_empty_prompt": not refines, **settings}
    if cls not in (StableDiffusionXLPipeline, StableDiffusionXLInstructPix2PixPipeline):
        settings = {"requires_aesthetics_score": refines, **settings}
    pipeline = cls(
        **models,
        tokenizer=None if refines else first,
        tokenizer_2=second,
        scheduler=EulerDiscreteScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            timestep_spacing="leading",
            steps_offset=1,
            use_karras_sigmas=False,
        ),
        add_watermarker=False,
        **settings,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _projecting(vocab_size: int) -> CLIPTextModelWithProjection:
    return CLIPTextModelWithProjection(
        CLIPTextConfig(
            vocab_size=vocab_size,
            hidden_size=40,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=77,
            bos_token_id=vocab_size - 2,
            eos_token_id=2,
            pad_token_id=1,
            projection_dim=_PROJECTED,
            hidden_act="gelu",
        )
    )
