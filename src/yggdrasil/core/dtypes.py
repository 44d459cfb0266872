"""Dtypes of weights by name, as files and callers give them."""

from __future__ import annotations

import torch

from yggdrasil.core.errors import ConfigError, nearest

__all__ = ["DTYPES", "dtype_of", "name_of_dtype"]

DTYPES = ("float16", "bfloat16", "float32", "float64")
"""The names of those that weights are loaded in."""

_SHORT = {"fp16": "float16", "half": "float16", "bf16": "bfloat16", "fp32": "float32"}


def dtype_of(value: object, where: str) -> torch.dtype:
    """Gives a dtype of weights.

    Args:
        value: One of PyTorch's, or its name, such as ``bfloat16``.
        where: Who says so, for the message.

    Raises:
        ConfigError: It is no dtype of weights.
    """
    text = str(value).removeprefix("torch.")
    found = value if isinstance(value, torch.dtype) else getattr(torch, text, None)
    named = isinstance(value, torch.dtype) or text in DTYPES
    if named and isinstance(found, torch.dtype) and found.is_floating_point:
        return found
    meant = _SHORT.get(text)
    near = nearest(text, DTYPES) if meant is None else f" Did you mean {meant!r}?"
    raise ConfigError(
        f"{where} is {value!r}, which is no dtype of weights.{near} Give one of "
        "PyTorch's, such as torch.float16; a model is loaded in float32 without."
    )


def name_of_dtype(dtype: torch.dtype) -> str:
    """Gives the name of a dtype, as files have it.

    Args:
        dtype: One of PyTorch's.
    """
    return str(dtype).removeprefix("torch.")
