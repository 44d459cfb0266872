"""Refusals of values that cannot be right, in the same words everywhere."""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Integral, Real

from yggdrasil.core.errors import InputError, nearest

__all__ = [
    "check_choice",
    "check_count",
    "check_finite",
    "check_layers",
    "check_multiple",
    "check_range",
]

_PIXELS = 512
"""A size that pictures often have, for examples."""


def check_count(name: str, value: object, *, least: int = 1) -> None:
    """Refuses what is no whole number, or too small a one.

    Args:
        name: The input's name.
        value: What was given for it.
        least: The smallest number that can be.

    Raises:
        InputError: It is no integer, or smaller; a ``bool`` is no number here.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise InputError(
            f"{name} is {value!r}: give a whole number of at least {least}, such as "
            f"{name}={max(least, 1)}."
        )


def check_layers(name: str, layers: object, count: int | None) -> None:
    """Refuses layers that a model does not have.

    Args:
        name: The input's name.
        layers: What was given for it.
        count: How many layers there are; None where that is not known.

    Raises:
        InputError: It is no list of whole numbers from 0, or one is too great.
    """
    if not isinstance(layers, list | tuple):
        raise InputError(f"{name} is {layers!r}: give a list of layers, such as [7, 8, 9].")
    for layer in layers:
        check_count(f"a layer of {name}", layer, least=0)
        if count is not None and layer >= count:
            raise InputError(
                f"{name} names layer {layer}, but the model has {count}, 0 to {count - 1}."
            )


def check_finite(name: str, value: object) -> None:
    """Refuses what is no finite number.

    Args:
        name: The input's name.
        value: What was given for it.

    Raises:
        InputError: It is no real number, NaN or infinite.
    """
    _finite(name, value)


def check_range(name: str, value: object, low: float, high: float) -> None:
    """Refuses what is no number between two bounds, both included.

    Args:
        name: The input's name.
        value: What was given for it.
        low: The smallest number that can be.
        high: The largest.

    Raises:
        InputError: It is no number, or lies outside.
    """
    number = _finite(name, value)
    if not low <= number <= high:
        closest = min(max(number, low), high)
        raise InputError(
            f"{name} is {value!r}: it lies between {low} and {high}; the nearest is {closest}."
        )


def check_multiple(name: str, value: object, step: int) -> None:
    """Refuses what is no positive multiple of a number.

    Args:
        name: The input's name.
        value: What was given for it, in pixels.
        step: What it must be a multiple of.

    Raises:
        InputError: It is no such multiple; the message names the nearest.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        example = max(step, _PIXELS // step * step)
        raise InputError(
            f"{name} is {value!r}: give a whole number of pixels, a multiple of {step} such as "
            f"{name}={example}."
        )
    if int(value) % step:
        closest = max(step, round(int(value) / step) * step)
        raise InputError(
            f"{name} is {value}: it must be a multiple of {step} pixels; the nearest is "
            f"{name}={closest}."
        )


def check_choice(name: str, value: object, choices: Iterable[str]) -> None:
    """Refuses what is none of a few words.

    Args:
        name: The input's name.
        value: What was given for it.
        choices: The words that can be.

    Raises:
        InputError: It is none of them; the message names the nearest.
    """
    known = tuple(choices)
    if value not in known:
        raise InputError(f"{name} is {value!r}, which is not known.{nearest(str(value), known)}")


def _finite(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise InputError(f"{name} is {value!r}: give a finite number, such as {name}=1.0.")
    return float(value)
