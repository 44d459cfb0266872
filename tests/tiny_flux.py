"""FLUX.1 in miniature: dev and schnell, with random weights."""

from __future__ import annotations

import logging
from typing import Any

from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxPriorReduxPipeline,
    FluxTransformer2DModel,
)
from diffusers.pipelines.flux.modeling_flux import ReduxImageEncoder
from transformers import SiglipImageProcessor, SiglipVisionConfig, SiglipVisionModel

from tests.tiny_models import randomize, tiny_clip_text, tiny_clip_tokenizer
from tests.tiny_t5 import tiny_t5, tiny_t5_tokenizer

KINDS = ("flux", "flux_schnell", "flux_fill", "flux_control")
"""Dev, which reads a guidance scale; schnell, which does not; mask and picture, or a picture, as
further channels."""

_LATENTS = 4
# Squares of 2 x 2 latent pixels; a mask has 8 x 8 pixels for each of them.
_FURTHER = {"flux_fill": 4 * (_LATENTS + 64), "flux_control": 4 * _LATENTS}


def tiny_flux(
    kind: str = "flux",
    cls: type | None = None,
    seed: int = 0,
    latents: int = _LATENTS,
    **flow: Any,
) -> Any:
    """Makes a Diffusers pipeline; a token is 16 pixels wide and high.

    Args:
        kind: One of ``KINDS``.
        cls: The pipeline's class; that of text to image unless given.
        seed: Of the weights.
        latents: Channels of the latents; Diffusers knows the 16 of true models by their number.
        flow: Options of the scheduler.
    """
    logging.getLogger("diffusers").setLevel(logging.ERROR)
    logging.getLogger("transformers").setLevel(logging.ERROR)
    clip, t5 = tiny_clip_tokenizer(), tiny_t5_tokenizer()
    dev = kind != "flux_schnell"
    models = {
        "vae": _vae(latents),
        "text_encoder": tiny_clip_text(len(clip)),
        "text_encoder_2": tiny_t5(len(t5)),
        "transformer": FluxTransformer2DModel(
            in_channels=4 * latents + _FURTHER.get(kind, 0),
            out_channels=4 * latents,
            num_layers=1,
            num_single_layers=2,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=32,
            pooled_projection_dim=32,
            guidance_embeds=dev,
            axes_dims_rope=(4, 4, 8),
        ),
    }
    for number, model in enumerate(models.values()):
        randomize(model, seed + number)
    shift = {"shift": 3.0, "use_dynamic_shifting": True} if dev else {"shift": 1.0}
    pipeline = (cls or FluxPipeline)(
        **models,
        tokenizer=clip,
        tokenizer_2=t5,
        scheduler=FlowMatchEulerDiscreteScheduler(**{**shift, **flow}),
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _vae(latents: int) -> AutoencoderKL:
    """Makes a VAE of four levels whose latents are shifted, and not projected."""
    return AutoencoderKL(
        block_out_channels=(8, 8, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        latent_channels=latents,
        norm_num_groups=4,
        sample_size=64,
        scaling_factor=0.3611,
        shift_factor=0.1159,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )


def tiny_redux(*, texts: bool = True, seed: int = 0) -> FluxPriorReduxPipeline:
    """Makes the pipeline that reads pictures in the place of a prompt.

    Args:
        texts: Whether it has text encoders.
        seed: Of the weights.
    """
    logging.getLogger("transformers").setLevel(logging.ERROR)
    clip, t5 = tiny_clip_tokenizer(), tiny_t5_tokenizer()
    width = 32 if texts else 4096  # which Diffusers takes for granted without encoders
    vision = SiglipVisionConfig(
        hidden_size=24,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=32,
        patch_size=16,
    )
    models = {
        "image_encoder": SiglipVisionModel(vision),
        "image_embedder": ReduxImageEncoder(redux_dim=24, txt_in_features=width),
        "text_encoder": tiny_clip_text(len(clip)) if texts else None,
        "text_encoder_2": tiny_t5(len(t5)) if texts else None,
    }
    for number, model in enumerate(models.values()):
        if model is not None:
            randomize(model, seed + number)
    return FluxPriorReduxPipeline(
        **models,
        feature_extractor=SiglipImageProcessor(size={"height": 32, "width": 32}),
        tokenizer=clip if texts else None,
        tokenizer_2=t5 if texts else None,
    )
