"""Options of memory that change numbers, as files say them: workflows, and records in pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from yggdrasil.core.dtypes import name_of_dtype
from yggdrasil.core.errors import GraphFileError

__all__ = ["REMEMBERED", "as_words", "restore"]

REMEMBERED = (
    "enable_vae_tiling",
    "enable_vae_slicing",
    "enable_attention_slicing",
    "set_attention_backend",
    "enable_layerwise_casting",
)
"""The methods of a pipeline that set them. Offloading moves weights and changes no number."""

_DTYPE = "_dtype"


def as_words(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Gives the arguments of such a method as plain data.

    Args:
        arguments: By name.
    """
    return {
        name: name_of_dtype(value)
        if isinstance(value, torch.dtype)
        else list(value)
        if isinstance(value, tuple)
        else value
        for name, value in arguments.items()
        if value is not None
    }


def restore(pipe: Any, options: Mapping[str, Mapping[str, Any]]) -> None:
    """Sets options of memory as a file says them.

    Args:
        pipe: The pipeline.
        options: By the name of the method the arguments of its call, in order.

    Raises:
        GraphFileError: The arguments are none that the method takes.
        ConfigError: A value cannot be right.
    """
    for method, arguments in options.items():
        given = _as_dtypes(arguments, f"memory: {method}")
        try:
            getattr(pipe, method)(**given)
        except TypeError as error:
            raise GraphFileError(f"memory: {method} takes other arguments: {error}.") from error


def _as_dtypes(arguments: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Gives the arguments of such a method from plain data."""
    found = dict(arguments)
    for name, value in arguments.items():
        if name.endswith(_DTYPE):
            found[name] = getattr(torch, str(value), None)
            if not isinstance(found[name], torch.dtype):
                raise GraphFileError(f"{where}: {name} is {value!r}, which is no dtype.")
    return found
