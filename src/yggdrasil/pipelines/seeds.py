"""Seeds to generators."""

from __future__ import annotations

import operator
from collections.abc import Sequence

import torch

from yggdrasil.core.errors import InputError

__all__ = ["make_generators"]

Generators = torch.Generator | list[torch.Generator] | None


def make_generators(
    seed: int | Sequence[int] | None,
    generator: torch.Generator | Sequence[torch.Generator] | None,
) -> Generators:
    """Gives the generators of a call, on the CPU so that a seed means the same on every device.

    Args:
        seed: A number for the batch, or one for each sample.
        generator: In its place, generators.

    Raises:
        InputError: Both are given, or a seed is no integer of 64 bits.
    """
    if seed is not None and generator is not None:
        raise InputError("seed and generator are both given; give one of them.")
    given = list(generator) if isinstance(generator, Sequence) else [generator]
    for each in given:
        if each is not None and not isinstance(each, torch.Generator):
            raise InputError(
                f"generator={each!r} is no torch.Generator; a number is given as seed=..."
            )
    if isinstance(generator, Sequence):
        # One generator in a list is one for the batch, as in Diffusers' randn_tensor.
        return list(generator) if len(generator) != 1 else generator[0]
    if seed is None:
        return generator
    if isinstance(seed, Sequence):
        return [_seeded(each) for each in seed]
    return _seeded(seed)


def _seeded(seed: int) -> torch.Generator:
    # bool is an integer to Python; True as a seed is a slip.
    is_integer = hasattr(seed, "__index__") and not isinstance(seed, bool)
    if not is_integer or not -(2**63) <= operator.index(seed) < 2**64:
        raise InputError(f"seed={seed!r} is no integer of 64 bits.")
    return torch.Generator("cpu").manual_seed(operator.index(seed))
