"""Tiny pipelines that Diffusers keeps for those who still have such models."""

from __future__ import annotations

import torch
from diffusers import (
    AmusedScheduler,
    DDIMScheduler,
    DDPMWuerstchenScheduler,
    EulerDiscreteScheduler,
    UNet3DConditionModel,
    UVit2DModel,
    VQModel,
)
from diffusers.pipelines.deprecated.wuerstchen import (
    PaellaVQModel,
    WuerstchenDiffNeXt,
    WuerstchenPrior,
)

from tests.tiny_whole.images import TEXT
from tests.tiny_whole.parts import (
    BETAS,
    Made,
    clip_texts,
    half_vae,
    projected_texts,
    text_unet,
    tiny,
)

SIZED = {**TEXT, "height": 16, "width": 16}


@tiny("AmusedPipeline")
def amused() -> Made:
    transformer = UVit2DModel(
        hidden_size=32,
        cond_embed_dim=32,
        encoder_hidden_size=32,
        micro_cond_encode_dim=4,
        micro_cond_embed_dim=20,
        block_out_channels=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        codebook_size=16,
        vocab_size=17,
        intermediate_size=32,
        block_num_heads=2,
        num_res_blocks=1,
        sample_size=8,
    )
    vqvae = VQModel(
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=8,
        layers_per_block=1,
        norm_num_groups=4,
        num_vq_embeddings=16,
        mid_block_add_attention=False,
        lookup_from_codebook=True,
    )
    parts = {
        "transformer": transformer,
        "vqvae": vqvae,
        "scheduler": AmusedScheduler(mask_token_id=16),
    }
    return {**parts, **projected_texts()}, SIZED


@tiny("TextToVideoSDPipeline")
def text_to_video() -> Made:
    unet = UNet3DConditionModel(
        block_out_channels=(16, 32),
        layers_per_block=1,
        sample_size=8,
        down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
        up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
        cross_attention_dim=32,
        attention_head_dim=4,
        norm_num_groups=8,
    )
    parts = {"unet": unet, "vae": half_vae(), "scheduler": DDIMScheduler(**BETAS)}
    return {**parts, **clip_texts()}, {**SIZED, "num_frames": 3}


@tiny("WuerstchenPriorPipeline")
def wuerstchen_prior() -> Made:
    prior = WuerstchenPrior(c_in=2, c=8, depth=2, c_cond=32, c_r=8, nhead=2)
    parts = {"prior": prior, "scheduler": DDPMWuerstchenScheduler(), **projected_texts()}
    call = {"prompt": "a red cat", "height": 256, "width": 256, "num_inference_steps": 2}
    return {**parts, "latent_mean": 0.0}, call


@tiny("WuerstchenDecoderPipeline")
def wuerstchen_decoder() -> Made:
    decoder = WuerstchenDiffNeXt(
        c_cond=32,
        c_hidden=[16],
        nhead=[-1],
        blocks=[4],
        level_config=["CT"],
        clip_embd=32,
        inject_effnet=[False],
    )
    parts = {
        "decoder": decoder,
        "vqgan": PaellaVQModel(bottleneck_blocks=1, num_vq_embeddings=8, embed_dim=8),
        "scheduler": DDPMWuerstchenScheduler(),
        "latent_dim_scale": 4.0,
    }
    call = {"image_embeddings": torch.randn(1, 4, 4, 4), **TEXT, "guidance_scale": 2.0}
    return {**parts, **projected_texts()}, call


@tiny("StableDiffusionPanoramaPipeline")
def panorama() -> Made:
    return stable_diffusion(), {**SIZED, "view_batch_size": 1}


@tiny("StableDiffusionSAGPipeline")
def self_attention() -> Made:
    parts = {**stable_diffusion(), "scheduler": DDIMScheduler(**BETAS, clip_sample=False)}
    return parts, {**SIZED, "sag_scale": 0.75}


@tiny("SemanticStableDiffusionPipeline")
def semantic() -> Made:
    call = {**SIZED, "editing_prompt": ["a dog"], "edit_warmup_steps": 0}
    return stable_diffusion(), {**call, "num_inference_steps": 3}


def stable_diffusion() -> dict[str, object]:
    return {
        "unet": text_unet(),
        "vae": half_vae(),
        "scheduler": EulerDiscreteScheduler(**BETAS),
        "safety_checker": None,
        "feature_extractor": None,
        "requires_safety_checker": False,
        **clip_texts(),
    }
