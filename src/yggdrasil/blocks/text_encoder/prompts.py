"""Which prompt each of several text encoders reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from yggdrasil.blocks.checks import check_count
from yggdrasil.blocks.clip_tokens import as_texts
from yggdrasil.core.errors import InputError
from yggdrasil.core.kinds import Prompts

__all__ = ["check_prompts", "negative_texts", "own_texts", "texts_for_each"]

_COUNTS = ("num_images_per_prompt", "max_sequence_length")
_PROMPTS = ("prompt", "own_prompt", "negative_prompt", "own_negative_prompt")


def check_prompts(known: Mapping[str, Any]) -> None:
    """Refuses counts that cannot be, and prompts that are none.

    Args:
        known: Values of an op's inputs that are known.

    Raises:
        InputError: A value cannot be right.
    """
    for name in _COUNTS:
        if name in known:
            check_count(name, known[name])
    for name in _PROMPTS:
        if known.get(name) is not None:
            as_texts(name, known[name])


def own_texts(name: str, prompt: Prompts, own: Prompts | None) -> list[str]:
    """Gives the prompts of an encoder: its own, or those for all.

    Args:
        name: Of the input, for messages.
        prompt: For all encoders.
        own: For this one; an empty text is none, as in Diffusers.

    Raises:
        InputError: There is no prompt, or not as many of its own as for all.
    """
    texts = as_texts(name, prompt)
    if not own:
        return texts
    mine = as_texts(f"{name} of one encoder", own)
    if len(mine) != len(texts):
        raise InputError(
            f"One text encoder is given {len(mine)} texts of its own and {name} has {len(texts)}: "
            "give as many, or leave its own out."
        )
    return mine


def negative_texts(prompt: Prompts, own: Prompts | None, count: int) -> list[str]:
    """Gives the negative prompts of an encoder, one for each prompt.

    Args:
        prompt: For all encoders.
        own: For this one; an empty text is none, as in Diffusers.
        count: How many prompts there are.

    Raises:
        InputError: There are not as many as prompts.
    """
    return texts_for_each("negative_prompt", own or prompt, count, "prompts")


def texts_for_each(name: str, prompt: Prompts, count: int, what: str) -> list[str]:
    """Gives as many texts as there are things that they are for.

    Args:
        name: Of the input, for messages.
        prompt: One text for all, or one for each.
        count: How many things there are.
        what: What they are, for messages.

    Raises:
        InputError: There are not as many texts.
    """
    texts = as_texts(name, prompt)
    if isinstance(prompt, str):
        return texts * count
    if len(texts) != count:
        raise InputError(
            f"{name} has {len(texts)} texts for {count} {what}: give one text for all, or one for "
            "each."
        )
    return texts
