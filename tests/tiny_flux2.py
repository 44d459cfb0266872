"""FLUX.2 in miniature: dev and klein, with random weights."""

from __future__ import annotations

import logging
from typing import Any

import torch
from diffusers import (
    AutoencoderKLFlux2,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Pipeline,
    Flux2Transformer2DModel,
)
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    Mistral3Config,
    Mistral3ForConditionalGeneration,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from tests.tiny_models import WORDS, randomize

KINDS = ("flux2", "flux2_klein")
"""Dev, which reads a guidance scale and has Mistral 3; klein, which is guided and has Qwen 3."""

_LATENTS = 4
_WIDTH = 16
_LAYERS = 3

# A message is a list of parts for Mistral, and a text for Qwen; thinking is there unless refused.
_TEMPLATES = {
    "flux2": (
        "{{ bos_token }}{% for message in messages %}[{{ message['role'] }}]"
        "{% for part in message['content'] %}{{ part['text'] }}{% endfor %} {% endfor %}"
        "{% if add_generation_prompt %}[answer]{% endif %}"
    ),
    "flux2_klein": (
        "{% for message in messages %}[{{ message['role'] }}]{{ message['content'] }} {% endfor %}"
        "{% if add_generation_prompt %}[answer]"
        "{% if enable_thinking is defined and enable_thinking is false %}[quick]{% endif %}"
        "{% endif %}"
    ),
}


def tiny_flux2(
    kind: str = "flux2", cls: type | None = None, *, seed: int = 0, layers: int = 3, **options: Any
) -> Any:
    """Makes a Diffusers pipeline; a token is 16 pixels wide and high.

    Args:
        kind: One of ``KINDS``.
        cls: The pipeline's class; that of text to image unless given.
        seed: Of the weights.
        layers: Of the text encoder.
        **options: Of the pipeline, such as ``is_distilled``.
    """
    logging.getLogger("diffusers").setLevel(logging.ERROR)
    logging.getLogger("transformers").setLevel(logging.ERROR)
    dev = kind == "flux2"
    tokenizer = tiny_chat_tokenizer(kind)
    encoder = _mistral if dev else _qwen
    parts = {
        "vae": _vae(),
        "text_encoder": encoder(len(tokenizer), layers),
        "transformer": Flux2Transformer2DModel(
            in_channels=4 * _LATENTS,
            num_layers=1,
            num_single_layers=2,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=_LAYERS * _WIDTH,
            timestep_guidance_channels=32,
            axes_dims_rope=(4, 4, 4, 4),
            guidance_embeds=dev,
        ),
    }
    for number, model in enumerate(parts.values()):
        randomize(model, seed + number)
    _randomize_statistics(parts["vae"], seed)
    pipeline = (cls or (Flux2Pipeline if dev else Flux2KleinPipeline))(
        **parts,
        tokenizer=tokenizer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        **options,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def tiny_chat_tokenizer(kind: str = "flux2") -> PreTrainedTokenizerFast:
    """Makes a tokenizer of a few words and all letters, with a template for chats.

    Args:
        kind: One of ``KINDS``; that of dev pads on the left and begins with a token of its own.
    """
    words = ["<pad>", "<s>", "<unk>", "system", "user", "answer", "quick", *"[],.-!?", *WORDS]
    words += [*"bcdefghijklmnopqrstuvwxyz", "image", "object", "You"]
    tokenizer = Tokenizer(
        models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        pad_token="<pad>",
        unk_token="<unk>",
        padding_side="left" if kind == "flux2" else "right",
        chat_template=_TEMPLATES[kind],
    )


def _vae() -> AutoencoderKLFlux2:
    """Makes a VAE of four levels, whose decoder is narrower than the encoder."""
    return AutoencoderKLFlux2(
        block_out_channels=(8, 8, 16, 16),
        decoder_block_out_channels=(4, 8, 8, 16),
        layers_per_block=1,
        latent_channels=_LATENTS,
        norm_num_groups=4,
        sample_size=64,
    )


def _randomize_statistics(vae: AutoencoderKLFlux2, seed: int) -> None:
    """Fills what a batch norm keeps, which is no parameter."""
    generator = torch.Generator().manual_seed(seed)
    count = vae.bn.num_features
    vae.bn.running_mean.copy_(0.3 * torch.randn(count, generator=generator))
    vae.bn.running_var.copy_(0.5 + torch.rand(count, generator=generator))


_SIZES = {
    "hidden_size": _WIDTH,
    "intermediate_size": 24,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "max_position_embeddings": 512,
}


def _mistral(vocab_size: int, layers: int) -> Mistral3ForConditionalGeneration:
    vision = {
        "model_type": "pixtral", "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1,
        "num_attention_heads": 1, "head_dim": 8, "image_size": 28, "patch_size": 14,
    }  # fmt: skip
    text = {
        "model_type": "mistral", "vocab_size": vocab_size, "num_hidden_layers": layers, **_SIZES
    }  # fmt: skip
    return Mistral3ForConditionalGeneration(
        Mistral3Config(vision_config=vision, text_config=text, image_token_index=2)
    )


def _qwen(vocab_size: int, layers: int) -> Qwen3ForCausalLM:
    return Qwen3ForCausalLM(Qwen3Config(vocab_size=vocab_size, num_hidden_layers=layers, **_SIZES))
