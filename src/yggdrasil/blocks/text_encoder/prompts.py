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


def check_prompts(known: Mapping[str, Any], number: int = 1) -> None:
    """Refuses counts that cannot be, and prompts that are none, by the names that a call has.

    Args:
        known: Values of an op's inputs that are known.
        number: Which of the model's encoders it is.

    Raises:
        InputError: A count is no whole number above 0, or a prompt neither a text nor a list of
            texts.
    """
    for name in _COUNTS:
        if name in known:
            check_count(name, known[name])
    suffix = "" if number == 1 else f"_{number}"
    for name in ("prompt", "negative_prompt"):
        for port, said in ((name, name), (f"own_{name}", f"{name}{suffix}")):
            if known.get(port) is not None:
                as_texts(said, known[port])


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
