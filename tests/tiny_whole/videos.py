"""Tiny pipelines that make moving pictures and sound."""

from __future__ import annotations

from diffusers import (
    AutoencoderKLCogVideoX,
    AutoencoderKLLTXVideo,
    AutoencoderKLTemporalDecoder,
    AutoencoderKLWan,
    AutoencoderOobleck,
    CogVideoXTransformer3DModel,
    CosineDPMSolverMultistepScheduler,
    DDIMScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    LatteTransformer3DModel,
    LTXVideoTransformer3DModel,
    MotionAdapter,
    StableAudioDiTModel,
    UNetSpatioTemporalConditionModel,
    UniPCMultistepScheduler,
    WanTransformer3DModel,
)
from diffusers.pipelines.stable_audio.modeling_stable_audio import StableAudioProjectionModel

from tests.tiny_whole.parts import (
    BETAS,
    Made,
    clip_pictures,
    clip_texts,
    clip_vision,
    half_vae,
    picture,
    t5_texts,
    text_unet,
    tiny,
)

TEXT = {"prompt": "a photo of a red cat", "num_inference_steps": 2, "output_type": "np"}
SIZED = {**TEXT, "height": 16, "width": 16}


@tiny("AnimateDiffPipeline")
def animate_diff() -> Made:
    adapter = MotionAdapter(
        block_out_channels=(16, 32),
        motion_layers_per_block=1,
        motion_norm_num_groups=8,
        motion_num_attention_heads=4,
    )
    parts = {
        "unet": text_unet(),
        "vae": half_vae(),
        "motion_adapter": adapter,
        "scheduler": DDIMScheduler(**{**BETAS, "beta_schedule": "linear"}, clip_sample=False),
        "feature_extractor": None,
        "image_encoder": None,
    }
    return {**parts, **clip_texts()}, {**SIZED, "num_frames": 3}


@tiny("StableVideoDiffusionPipeline")
def stable_video() -> Made:
    unet = UNetSpatioTemporalConditionModel(
        block_out_channels=(32, 64),
        layers_per_block=1,
        sample_size=8,
        down_block_types=("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
        up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
        cross_attention_dim=32,
        num_attention_heads=8,
        projection_class_embeddings_input_dim=96,
        addition_time_embed_dim=32,
    )
    vae = AutoencoderKLTemporalDecoder(
        block_out_channels=(32, 32), down_block_types=("DownEncoderBlock2D",) * 2
    )
    scheduler = EulerDiscreteScheduler(
        **BETAS, prediction_type="v_prediction", timestep_type="continuous", use_karras_sigmas=True,
        sigma_min=0.002, sigma_max=700.0,
    )  # fmt: skip
    parts = {
        "unet": unet,
        "vae": vae,
        "image_encoder": clip_vision(224),
        "feature_extractor": clip_pictures(224),
        "scheduler": scheduler,
    }
    call = {"image": picture(), "height": 32, "width": 32, "num_frames": 2}
    return parts, {**call, "num_inference_steps": 2, "output_type": "np"}


@tiny("LTXPipeline")
def ltx() -> Made:
    transformer = LTXVideoTransformer3DModel(
        in_channels=8,
        out_channels=8,
        num_attention_heads=4,
        attention_head_dim=8,
        cross_attention_dim=32,
        num_layers=1,
        caption_channels=32,
    )
    vae = AutoencoderKLLTXVideo(
        latent_channels=8,
        block_out_channels=(8, 8, 8, 8),
        decoder_block_out_channels=(8, 8, 8, 8),
        layers_per_block=(1, 1, 1, 1, 1),
        decoder_layers_per_block=(1, 1, 1, 1, 1),
        spatio_temporal_scaling=(True, True, False, False),
        decoder_spatio_temporal_scaling=(True, True, False, False),
        decoder_inject_noise=(False,) * 5,
        upsample_residual=(False,) * 4,
        upsample_factor=(1,) * 4,
        timestep_conditioning=False,
        patch_size=1,
        patch_size_t=1,
    )
    scheduler = FlowMatchEulerDiscreteScheduler()
    parts = {"transformer": transformer, "vae": vae, "scheduler": scheduler, **t5_texts()}
    call = {**TEXT, "height": 32, "width": 32, "num_frames": 9, "max_sequence_length": 16}
    return parts, call


@tiny("CogVideoXPipeline")
def cog_video() -> Made:
    transformer = CogVideoXTransformer3DModel(
        num_attention_heads=4,
        attention_head_dim=8,
        in_channels=4,
        out_channels=4,
        time_embed_dim=2,
        text_embed_dim=32,
        num_layers=1,
        sample_width=2,
        sample_height=2,
        sample_frames=9,
        patch_size=2,
        temporal_compression_ratio=4,
        max_text_seq_length=16,
    )
    vae = AutoencoderKLCogVideoX(
        block_out_channels=(8,) * 4,
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=2,
        temporal_compression_ratio=4,
    )
    parts = {"transformer": transformer, "vae": vae, "scheduler": DDIMScheduler(), **t5_texts()}
    return parts, {**SIZED, "num_frames": 8, "max_sequence_length": 16}


@tiny("WanPipeline")
def wan() -> Made:
    transformer = WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=16,
        out_channels=16,
        text_dim=32,
        freq_dim=32,
        ffn_dim=32,
        num_layers=2,
        cross_attn_norm=True,
        qk_norm="rms_norm_across_heads",
        rope_max_seq_len=32,
    )
    vae = AutoencoderKLWan(
        base_dim=3,
        z_dim=16,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
    )
    scheduler = UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
    )
    parts = {"transformer": transformer, "vae": vae, "scheduler": scheduler, **t5_texts()}
    return parts, {**SIZED, "num_frames": 5, "max_sequence_length": 16}


@tiny("LattePipeline")
def latte() -> Made:
    transformer = LatteTransformer3DModel(
        sample_size=8,
        num_layers=1,
        patch_size=2,
        attention_head_dim=8,
        num_attention_heads=3,
        caption_channels=32,
        in_channels=4,
        cross_attention_dim=24,
        out_channels=8,
        norm_type="ada_norm_single",
        video_length=2,
    )
    parts = {"transformer": transformer, "vae": half_vae(), "scheduler": DDIMScheduler()}
    call = {**SIZED, "video_length": 2, "clean_caption": False}
    return {**parts, **t5_texts()}, call


@tiny("StableAudioPipeline")
def stable_audio() -> Made:
    transformer = StableAudioDiTModel(
        sample_size=4,
        in_channels=3,
        num_layers=2,
        attention_head_dim=4,
        num_attention_heads=2,
        num_key_value_attention_heads=2,
        out_channels=3,
        cross_attention_dim=4,
        time_proj_dim=8,
        global_states_input_dim=8,
        cross_attention_input_dim=4,
    )
    vae = AutoencoderOobleck(
        encoder_hidden_size=6,
        downsampling_ratios=[1, 2],
        decoder_channels=3,
        decoder_input_channels=3,
        audio_channels=2,
        channel_multiples=[2, 4],
        sampling_rate=4,
    )
    projection = StableAudioProjectionModel(
        text_encoder_dim=32, conditioning_dim=4, min_value=0, max_value=32
    )
    parts = {
        "transformer": transformer,
        "vae": vae,
        "projection_model": projection,
        "scheduler": CosineDPMSolverMultistepScheduler(sigma_schedule="exponential"),
    }
    call = {"prompt": "a red cat", "num_inference_steps": 2, "output_type": "np"}
    return {**parts, **t5_texts()}, call
