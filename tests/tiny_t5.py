"""T5 in miniature: a tokenizer that needs no file, and an encoder with random weights."""

from __future__ import annotations

import string

from transformers import T5Config, T5EncoderModel, T5TokenizerFast

from tests.tiny_models import WORDS


def tiny_t5_tokenizer() -> T5TokenizerFast:
    """Makes a tokenizer that knows the letters and a few words."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -4.0)]
    pieces += [(letter, -8.0) for letter in string.ascii_letters + string.digits + ".,!?'-()"]
    pieces += [(f"\u2581{word}", -5.0) for word in WORDS]
    return T5TokenizerFast(vocab=pieces, extra_ids=0, model_max_length=512)


def tiny_t5(vocab_size: int, width: int = 32) -> T5EncoderModel:
    """Makes an encoder of two layers with gated activations, as T5 1.1 has them.

    Args:
        vocab_size: Of the tokenizer.
        width: Of the hidden states.
    """
    return T5EncoderModel(
        T5Config(
            vocab_size=vocab_size,
            d_model=width,
            d_kv=8,
            d_ff=48,
            num_layers=2,
            num_heads=4,
            feed_forward_proj="gated-gelu",
            dense_act_fn="gelu_new",
            is_encoder_decoder=False,
            use_cache=False,
            tie_word_embeddings=False,
        )
    )
