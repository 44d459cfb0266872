"""Fitting what was given once to a batch, and random generators to what they draw."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from yggdrasil.core.errors import InputError

__all__ = [
    "GeneratorArgument",
    "as_generators",
    "concatenate_to",
    "copies",
    "repeat_each",
    "repeat_to",
]

GeneratorArgument = torch.Generator | list[torch.Generator] | None
"""A generator as Diffusers' functions take it: it must be a list where there are several."""


def copies(have: int, batch: int, what: str) -> int:
    """Says how often a few samples are to be repeated to make a batch.

    Args:
        have: How many there are.
        batch: How many there must be.
        what: What they are, for the message.

    Raises:
        InputError: The batch is no multiple of them.
    """
    if have == 0 or batch % have:
        raise InputError(
            f"{have} {what} cannot be shared out to a batch of {batch}: give one, one for each "
            f"sample, or a number that divides {batch}."
        )
    return batch // have


def repeat_to(tensor: Tensor, batch: int, what: str) -> Tensor:
    """Repeats samples along the batch axis, all in order and then all again.

    What is repeated comes out contiguous, whatever its memory format was; where nothing is missing
    the tensor itself is given. Convolutions round otherwise in another memory format, so it counts
    where Diffusers repeats and where it concatenates.

    Args:
        tensor: ``n c h w``.
        batch: How many there must be, a multiple of ``n``.
        what: What they are, for the message.

    Raises:
        InputError: The batch is no multiple of them.
    """
    count = copies(len(tensor), batch, what)
    return tensor if count == 1 else tensor.repeat(count, 1, 1, 1)


def concatenate_to(tensor: Tensor, batch: int, what: str) -> Tensor:
    """Does what ``repeat_to`` does, and keeps the memory format.

    Args:
        tensor: ``n c h w``.
        batch: How many there must be, a multiple of ``n``.
        what: What they are, for the message.

    Raises:
        InputError: The batch is no multiple of them.
    """
    count = copies(len(tensor), batch, what)
    return tensor if count == 1 else torch.cat([tensor] * count)


def repeat_each(tensor: Tensor, count: int) -> Tensor:
    """Repeats each sample along the batch axis, its copies following one another.

    Args:
        tensor: ``n ...``.
        count: How often.

    Returns:
        ``n*count ...``.
    """
    return tensor if count == 1 else tensor.repeat_interleave(count, dim=0)


def as_generators(
    generator: torch.Generator | Sequence[torch.Generator] | None, batch: int | None = None
) -> GeneratorArgument:
    """Gives generators in the form that Diffusers' functions take.

    Args:
        generator: One for the batch, one for each sample, or none (the global one).
        batch: How many samples are drawn; None where that is not known.

    Raises:
        InputError: There are several, but not one for each sample.
    """
    if generator is None or isinstance(generator, torch.Generator):
        return generator
    several = list(generator)
    if batch is not None and len(several) != batch:
        raise InputError(
            f"{len(several)} generators were given for a batch of {batch}: give one for all of "
            "it, or a list with one for each sample."
        )
    return several
