"""T5's encoder as one of several text encoders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from transformers import T5EncoderModel, T5TokenizerFast

from yggdrasil.blocks.checks import check_count
from yggdrasil.blocks.clip_tokens import tokenize
from yggdrasil.blocks.text_encoder.sequence import AbstractSequenceEncoder
from yggdrasil.core.component import Component
from yggdrasil.core.registry import register_block

__all__ = ["T5TextEncoder"]

_TOKENS = 512


@register_block("text_encoder/t5")
class T5TextEncoder(AbstractSequenceEncoder):
    """T5's encoder as one of several: its last hidden states, padding included.

    Args:
        encoder: What the encoder is called by the block that joins the states.
        number: Which of the model's encoders it is; the third is in ``text_encoder_3``.
        most_tokens: How many tokens a call may ask for at most.

    Source:
        Raffel et al. 2020 (arXiv:1910.10683); Esser et al. 2024 (arXiv:2403.03206), section 5;
        ``_get_t5_prompt_embeds`` of Diffusers' ``StableDiffusion3Pipeline`` and ``FluxPipeline``,
        which mask no padding.
    """

    tokenizer = Component[Any](T5TokenizerFast, optional=True)
    text_encoder = Component[Any](T5EncoderModel, optional=True)

    def __init__(self, encoder: str, number: int = 1, most_tokens: int = _TOKENS) -> None:
        super().__init__(encoder, most_tokens=most_tokens)
        check_count("number", number)
        suffix = "" if number == 1 else f"_{number}"
        self.move_slot("tokenizer", folder=f"tokenizer{suffix}")
        self.move_slot("text_encoder", folder=f"text_encoder{suffix}")

    def tokenized(self, texts: list[str], tokens: int) -> Mapping[str, Tensor]:
        """Makes tokens of texts, and says so when one was too long.

        Args:
            texts: The prompts.
            tokens: How many of each.
        """
        return {"input_ids": tokenize(self.tokenizer, texts, tokens, reader="T5")[0]}
