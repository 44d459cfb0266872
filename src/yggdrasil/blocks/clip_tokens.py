"""Prompts as the tokens of a text encoder."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from diffusers.loaders import TextualInversionLoaderMixin
from torch import Tensor

from yggdrasil.core.errors import InputError

__all__ = ["as_texts", "pad_tokens", "spell_out", "tokenize"]

_log = logging.getLogger(__name__)


def as_texts(name: str, prompts: object) -> list[str]:
    """Gives prompts as a list.

    Args:
        name: Of the input, for messages.
        prompts: A text, or a list of texts.

    Raises:
        InputError: There is none, or something is no text.
    """
    texts: object = [prompts] if isinstance(prompts, str) else prompts
    if (
        not isinstance(texts, Sequence)
        or not texts
        or not all(isinstance(text, str) for text in texts)
    ):
        raise InputError(
            f"{name} is {prompts!r}: give a text, or a list with one for each picture."
        )
    return list(texts)


def tokenize(
    tokenizer: Any, texts: list[str], tokens: int | None = None, reader: str = "CLIP"
) -> tuple[Tensor, Tensor]:
    """Gives ids and attention mask, ``b tokens``, and says so when a prompt was too long.

    Args:
        tokenizer: Any of transformers.
        texts: The prompts.
        tokens: How many to give; as many as the tokenizer says, unless given.
        reader: What reads them, for that remark.
    """
    texts = spell_out(tokenizer, texts)
    longest = tokens or tokenizer.model_max_length
    inputs = pad_tokens(tokenizer, texts, longest)
    ids = inputs["input_ids"]
    whole = tokenizer(texts, padding="longest", return_tensors="pt")["input_ids"]
    if whole.shape[-1] >= ids.shape[-1] and not torch.equal(ids, whole):
        lost = tokenizer.batch_decode(whole[:, longest - 1 : -1])
        _log.warning("%s reads %d tokens; this was cut off the prompt: %s", reader, longest, lost)
    return ids, inputs["attention_mask"]


def spell_out(tokenizer: Any, texts: list[str]) -> list[str]:
    """Writes all the tokens of an embedding that was learnt as several vectors.

    Diffusers adds such an embedding as ``<cat>``, ``<cat>_1``, ...; a prompt says ``<cat>``.

    Args:
        tokenizer: With the tokens that were added.
        texts: The prompts.
    """
    spelt: list[str] = TextualInversionLoaderMixin().maybe_convert_prompt(texts, tokenizer)
    return spelt


def pad_tokens(tokenizer: Any, texts: list[str], tokens: int) -> Mapping[str, Tensor]:
    """Gives ``input_ids`` and ``attention_mask``, both ``b tokens``.

    Args:
        tokenizer: Any of transformers.
        texts: The prompts, whole.
        tokens: How many; prompts are cut or padded to it.
    """
    padded: Mapping[str, Tensor] = tokenizer(
        texts, padding="max_length", max_length=tokens, truncation=True, return_tensors="pt"
    )
    return padded
