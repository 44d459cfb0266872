"""Choosing one of several options at random."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

T = TypeVar("T")


def choose(options: Sequence[T], rng: np.random.Generator) -> T:
    """Return one of the options, each with the same probability.

    Unlike ``Generator.choice`` it returns the option itself, not a NumPy copy of it.

    Args:
        options: What to choose from; not empty.
        rng: Source of the choice.
    """
    return options[int(rng.integers(len(options)))]
