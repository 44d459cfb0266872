"""Tiny pipelines that make pictures."""

from __future__ import annotations

import torch
from diffusers import (
    AuraFlowTransformer2DModel,
    AutoencoderDC,
    ChromaTransformer2DModel,
    CMStochasticIterativeScheduler,
    DDIMScheduler,
    DDPMScheduler,
    DDPMWuerstchenScheduler,
    DiTTransformer2DModel,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    HunyuanDiT2DModel,
    Kandinsky3UNet,
    LCMScheduler,
    Lumina2Transformer2DModel,
    PixArtTransformer2DModel,
    PNDMScheduler,
    PriorTransformer,
    SanaTransformer2DModel,
    StableCascadeUNet,
    T2IAdapter,
    UnCLIPScheduler,
    VQModel,
)
from diffusers.pipelines.deprecated.wuerstchen import PaellaVQModel
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    BertConfig,
    BertModel,
    BertTokenizer,
    Gemma2Config,
    Gemma2Model,
    PreTrainedTokenizerFast,
)

from tests.tiny_models import WORDS
from tests.tiny_t5 import tiny_t5, tiny_t5_tokenizer
from tests.tiny_whole.parts import (
    BETAS,
    Made,
    clip_pictures,
    clip_texts,
    clip_vision,
    half_vae,
    picture,
    pixel_unet,
    projected_texts,
    t5_texts,
    text_unet,
    tiny,
)

TEXT = {"prompt": "a photo of a red cat", "num_inference_steps": 2, "output_type": "np"}
SIZED = {**TEXT, "height": 16, "width": 16}


@tiny("DDPMPipeline")
def ddpm() -> Made:
    return (
        {"unet": pixel_unet(), "scheduler": DDPMScheduler()},
        {"num_inference_steps": 2, "output_type": "np"},
    )


@tiny("DDIMPipeline")
def ddim() -> Made:
    return (
        {"unet": pixel_unet(), "scheduler": DDIMScheduler()},
        {"num_inference_steps": 2, "eta": 0.5, "batch_size": 2, "output_type": "np"},
    )


@tiny("ConsistencyModelPipeline")
def consistency() -> Made:
    scheduler = CMStochasticIterativeScheduler(num_train_timesteps=40)
    return (
        {"unet": pixel_unet(num_class_embeds=4), "scheduler": scheduler},
        {"num_inference_steps": None, "timesteps": [22, 0], "class_labels": 1, "output_type": "np"},
    )


@tiny("LDMSuperResolutionPipeline")
def super_resolution() -> Made:
    vqvae = VQModel(
        block_out_channels=(8, 16),
        latent_channels=3,
        norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
    )
    unet = pixel_unet(in_channels=6, out_channels=3)
    return (
        {"vqvae": vqvae, "unet": unet, "scheduler": DDIMScheduler()},
        {"image": picture(), "num_inference_steps": 2, "output_type": "np"},
    )


@tiny("DiTPipeline")
def dit() -> Made:
    transformer = DiTTransformer2DModel(
        sample_size=8,
        num_layers=2,
        patch_size=2,
        attention_head_dim=8,
        num_attention_heads=2,
        in_channels=4,
        out_channels=8,
    )
    return (
        {"transformer": transformer, "vae": half_vae(), "scheduler": DDIMScheduler()},
        {"class_labels": [1, 3], "num_inference_steps": 2, "output_type": "np"},
    )


def pixart(**config: object) -> Made:
    transformer = PixArtTransformer2DModel(
        sample_size=8,
        num_layers=2,
        patch_size=2,
        attention_head_dim=8,
        num_attention_heads=3,
        caption_channels=32,
        in_channels=4,
        cross_attention_dim=24,
        out_channels=8,
        norm_type="ada_norm_single",
        **config,
    )
    parts = {"transformer": transformer, "vae": half_vae(), "scheduler": DDIMScheduler()}
    call = {**SIZED, "use_resolution_binning": False, "clean_caption": False}
    return {**parts, **t5_texts()}, call


@tiny("PixArtAlphaPipeline")
def pixart_alpha() -> Made:
    return pixart()


@tiny("PixArtSigmaPipeline")
def pixart_sigma() -> Made:
    return pixart(use_additional_conditions=False)


@tiny("ChromaPipeline")
def chroma() -> Made:
    transformer = ChromaTransformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        axes_dims_rope=[4, 4, 8],
        approximator_hidden_dim=32,
        approximator_layers=1,
        approximator_num_channels=16,
    )
    vae = half_vae(shift_factor=0.06, use_quant_conv=False, use_post_quant_conv=False)
    scheduler = FlowMatchEulerDiscreteScheduler()
    return (
        {"transformer": transformer, "vae": vae, "scheduler": scheduler, **t5_texts()},
        {**SIZED, "negative_prompt": "ugly", "max_sequence_length": 32},
    )


@tiny("AuraFlowPipeline")
def aura_flow() -> Made:
    transformer = AuraFlowTransformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=4,
        num_mmdit_layers=1,
        num_single_dit_layers=1,
        attention_head_dim=8,
        num_attention_heads=4,
        caption_projection_dim=32,
        joint_attention_dim=32,
        out_channels=4,
        pos_embed_max_size=64,
    )
    scheduler = FlowMatchEulerDiscreteScheduler()
    parts = {"transformer": transformer, "vae": half_vae(), "scheduler": scheduler}
    return {**parts, **t5_texts()}, SIZED


@tiny("HunyuanDiTPipeline")
def hunyuan_dit() -> Made:
    transformer = HunyuanDiT2DModel(
        sample_size=8,
        num_layers=2,
        patch_size=2,
        attention_head_dim=8,
        num_attention_heads=3,
        in_channels=4,
        cross_attention_dim=32,
        cross_attention_dim_t5=32,
        pooled_projection_dim=16,
        hidden_size=24,
    )
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
    )
    t5 = tiny_t5_tokenizer()
    parts = {
        "transformer": transformer,
        "vae": half_vae(),
        "scheduler": DDPMScheduler(),
        "text_encoder": BertModel(config),
        "tokenizer": BertTokenizer(vocab={word: place for place, word in enumerate(words)}),
        "text_encoder_2": tiny_t5(len(t5)),
        "tokenizer_2": t5,
        "safety_checker": None,
        "feature_extractor": None,
        "requires_safety_checker": False,
    }
    return parts, {**SIZED, "use_resolution_binning": False}


def gemma_texts() -> dict[str, object]:
    """Makes a tokenizer of bytes and a Gemma 16 wide."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = ["<pad>", "<eos>", "<bos>", *letters]
    core = Tokenizer(models.BPE({token: place for place, token in enumerate(tokens)}, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", eos_token="<eos>", bos_token="<bos>"
    )
    config = Gemma2Config(
        vocab_size=len(tokens),
        head_dim=8,
        hidden_size=16,
        intermediate_size=32,
        num_attention_heads=2,
        num_hidden_layers=2,
        num_key_value_heads=2,
        sliding_window=64,
    )
    return {"tokenizer": tokenizer, "text_encoder": Gemma2Model(config)}


@tiny("SanaPipeline")
def sana() -> Made:
    transformer = SanaTransformer2DModel(
        patch_size=1,
        in_channels=4,
        out_channels=4,
        num_layers=1,
        num_attention_heads=2,
        attention_head_dim=4,
        num_cross_attention_heads=2,
        cross_attention_head_dim=4,
        cross_attention_dim=8,
        caption_channels=16,
        sample_size=8,
    )
    vae = AutoencoderDC(
        in_channels=3,
        latent_channels=4,
        attention_head_dim=2,
        encoder_block_types=("ResBlock", "EfficientViTBlock"),
        decoder_block_types=("ResBlock", "EfficientViTBlock"),
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        encoder_qkv_multiscales=((), (5,)),
        decoder_qkv_multiscales=((), (5,)),
        encoder_layers_per_block=(1, 1),
        decoder_layers_per_block=(1, 1),
        downsample_block_type="conv",
        upsample_block_type="interpolate",
        decoder_norm_types="rms_norm",
        decoder_act_fns="silu",
    )
    scheduler = FlowMatchEulerDiscreteScheduler(shift=7.0)
    call = {
        **TEXT,
        "height": 32,
        "width": 32,
        "max_sequence_length": 16,
        "complex_human_instruction": None,
        "use_resolution_binning": False,
    }
    parts = {"transformer": transformer, "vae": vae, "scheduler": scheduler}
    return {**parts, **gemma_texts()}, call


@tiny("Lumina2Pipeline")
def lumina2() -> Made:
    transformer = Lumina2Transformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=4,
        hidden_size=16,
        num_layers=1,
        num_refiner_layers=1,
        num_attention_heads=2,
        num_kv_heads=2,
        multiple_of=16,
        axes_dim_rope=[4, 2, 2],
        cap_feat_dim=16,
    )
    vae = half_vae(shift_factor=0.06, use_quant_conv=False, use_post_quant_conv=False)
    scheduler = FlowMatchEulerDiscreteScheduler()
    parts = {"transformer": transformer, "vae": vae, "scheduler": scheduler}
    return {**parts, **gemma_texts()}, {
        **TEXT,
        "height": 64,
        "width": 64,
        "max_sequence_length": 32,
    }


def movq() -> VQModel:
    return VQModel(
        block_out_channels=(32, 64),
        down_block_types=("DownEncoderBlock2D", "AttnDownEncoderBlock2D"),
        up_block_types=("AttnUpDecoderBlock2D", "UpDecoderBlock2D"),
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=8,
        norm_type="spatial",
        num_vq_embeddings=12,
        vq_embed_dim=4,
    )


@tiny("Kandinsky3Pipeline")
def kandinsky3() -> Made:
    unet = Kandinsky3UNet(
        in_channels=4,
        time_embedding_dim=4,
        groups=2,
        attention_head_dim=4,
        layers_per_block=3,
        block_out_channels=(16, 32),
        cross_attention_dim=4,
        encoder_hid_dim=32,
    )
    scheduler = DDPMScheduler(beta_schedule="squaredcos_cap_v2", steps_offset=1)
    return {"unet": unet, "scheduler": scheduler, "movq": movq(), **t5_texts()}, SIZED


@tiny("KandinskyV22PriorPipeline")
def kandinsky_prior() -> Made:
    prior = PriorTransformer(
        num_attention_heads=2, attention_head_dim=12, embedding_dim=32, num_layers=1
    )
    scheduler = UnCLIPScheduler(
        variance_type="fixed_small_log",
        prediction_type="sample",
        clip_sample=True,
        clip_sample_range=10.0,
    )
    parts = {
        "prior": prior,
        "image_encoder": clip_vision(),
        "scheduler": scheduler,
        "image_processor": clip_pictures(),
    }
    call = {"prompt": "a red cat", "num_inference_steps": 2, "guidance_scale": 4.0}
    return {**parts, **projected_texts()}, call


def kandinsky_unet() -> dict[str, object]:
    unet = text_unet(
        out_channels=8,
        addition_embed_type="image",
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        encoder_hid_dim=32,
        encoder_hid_dim_type="image_proj",
        resnet_time_scale_shift="scale_shift",
    )
    scheduler = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, clip_sample=False, set_alpha_to_one=False
    )
    return {"unet": unet, "scheduler": scheduler, "movq": movq()}


def image_embeds() -> dict[str, torch.Tensor]:
    return {"image_embeds": torch.randn(1, 32), "negative_image_embeds": torch.randn(1, 32)}


@tiny("KandinskyV22Pipeline")
def kandinsky_decoder() -> Made:
    call = {"height": 64, "width": 64, "num_inference_steps": 2, "output_type": "np"}
    return kandinsky_unet(), {**call, **image_embeds()}


@tiny("KandinskyV22Img2ImgPipeline")
def kandinsky_img2img() -> Made:
    call = {"image": picture(64), "height": 64, "width": 64, "strength": 0.5}
    more = {"num_inference_steps": 4, "output_type": "np"}
    return kandinsky_unet(), {**call, **more, **image_embeds()}


@tiny("StableCascadePriorPipeline")
def cascade_prior() -> Made:
    prior = StableCascadeUNet(
        conditioning_dim=32,
        block_out_channels=(32, 32),
        num_attention_heads=(2, 2),
        down_num_layers_per_block=(1, 1),
        up_num_layers_per_block=(1, 1),
        switch_level=(False,),
        clip_image_in_channels=24,
        clip_text_in_channels=32,
        clip_text_pooled_in_channels=32,
        dropout=(0.1, 0.1),
    )
    parts = {
        "prior": prior,
        "scheduler": DDPMWuerstchenScheduler(),
        "feature_extractor": None,
        "image_encoder": None,
    }
    call = {"prompt": "a red cat", "height": 256, "width": 256, "num_inference_steps": 2}
    return {**parts, **projected_texts()}, call


@tiny("StableCascadeDecoderPipeline")
def cascade_decoder() -> Made:
    blocks = ["SDCascadeResBlock", "SDCascadeTimestepBlock"]
    decoder = StableCascadeUNet(
        in_channels=4,
        out_channels=4,
        conditioning_dim=32,
        block_out_channels=[16, 32],
        num_attention_heads=[-1, 2],
        down_num_layers_per_block=[1, 1],
        up_num_layers_per_block=[1, 1],
        down_blocks_repeat_mappers=[1, 1],
        up_blocks_repeat_mappers=[1, 1],
        block_types_per_layer=[blocks, [*blocks, "SDCascadeAttnBlock"]],
        switch_level=None,
        clip_text_pooled_in_channels=32,
        effnet_in_channels=16,
        dropout=[0.1, 0.1],
    )
    vqgan = PaellaVQModel(bottleneck_blocks=1, num_vq_embeddings=8, embed_dim=16)
    parts = {
        "decoder": decoder,
        "vqgan": vqgan,
        "scheduler": DDPMWuerstchenScheduler(),
        "latent_dim_scale": 4.0,
    }
    call = {"image_embeddings": torch.randn(1, 16, 4, 4), **TEXT, "guidance_scale": 2.0}
    return {**parts, **projected_texts()}, call


@tiny("StableDiffusionAdapterPipeline")
def t2i_adapter() -> Made:
    adapter = T2IAdapter(channels=(16, 32), num_res_blocks=1, downscale_factor=2)
    parts = {
        "adapter": adapter,
        "unet": text_unet(),
        "vae": half_vae(),
        "scheduler": PNDMScheduler(**BETAS, skip_prk_steps=True, steps_offset=1),
        "safety_checker": None,
        "feature_extractor": None,
        "requires_safety_checker": False,
    }
    return {**parts, **clip_texts()}, {**SIZED, "image": picture(16)}


@tiny("StableDiffusionPAGPipeline")
def attention_perturbed() -> Made:
    parts = {
        "unet": text_unet(),
        "vae": half_vae(),
        "scheduler": EulerDiscreteScheduler(**BETAS),
        "safety_checker": None,
        "feature_extractor": None,
        "requires_safety_checker": False,
    }
    return {**parts, **clip_texts()}, {**SIZED, "pag_scale": 2.0}


@tiny("StableDiffusionUpscalePipeline")
def upscale() -> Made:
    parts = {
        "unet": text_unet(in_channels=7, num_class_embeds=100),
        "vae": half_vae(),
        "low_res_scheduler": DDPMScheduler(),
        "scheduler": DDIMScheduler(prediction_type="v_prediction"),
        "max_noise_level": 90,
    }
    return {**parts, **clip_texts()}, {**TEXT, "image": picture(16), "noise_level": 10}


@tiny("StableDiffusionImageVariationPipeline")
def variation() -> Made:
    parts = {
        "unet": text_unet(),
        "vae": half_vae(),
        "image_encoder": clip_vision(),
        "feature_extractor": clip_pictures(),
        "scheduler": PNDMScheduler(**BETAS, skip_prk_steps=True, steps_offset=1),
        "safety_checker": None,
        "requires_safety_checker": False,
    }
    call = {"image": picture(), "height": 16, "width": 16}
    return parts, {**call, "num_inference_steps": 2, "output_type": "np"}


@tiny("MarigoldDepthPipeline")
def depth() -> Made:
    scheduler = LCMScheduler(**BETAS, prediction_type="v_prediction", clip_sample=False)
    parts = {
        "unet": text_unet(in_channels=8),
        "vae": half_vae(),
        "scheduler": scheduler,
        "prediction_type": "depth",
    }
    call = {"image": picture(), "num_inference_steps": 1, "processing_resolution": 0}
    return {**parts, **clip_texts()}, {**call, "ensemble_size": 3}
