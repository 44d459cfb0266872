"""Any value in plain ones that say which it is, for cache keys."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, TypeGuard

import numpy as np
import torch
from torch import Tensor

from yggdrasil.core.fingerprint import fingerprint
from yggdrasil.core.serials import serial_of

__all__ = ["PLAIN", "content_of", "is_mapping", "told"]

PLAIN = frozenset({bool, int, float, complex, str, bytes, type(None)})
"""Types of what is told by itself."""


_VALUES = (torch.dtype, torch.device, torch.layout, range, slice, np.generic)
_DEPTH = 8
"""Containers inside containers, beyond which a value is told by which object it is."""


def told(value: object, depth: int = _DEPTH) -> object:
    """Gives a value by its content as far as it has one, else by which object it is.

    Args:
        value: Anything.
        depth: How many containers deep to look.
    """
    kind = type(value)
    if kind in PLAIN:
        return value
    if depth and isinstance(value, list | tuple | deque):
        below = depth - 1
        return tuple([each if type(each) in PLAIN else told(each, below) for each in value])
    if depth and is_mapping(value):
        below = depth - 1
        return tuple([(told(key, below), told(each, below)) for key, each in value.items()])
    if isinstance(value, Tensor | np.ndarray):
        content = content_of(value)
        return (kind.__qualname__, serial_of(value)) if content is None else content
    if isinstance(value, _VALUES):
        return (kind.__qualname__, repr(value))
    return (kind.__qualname__, serial_of(value))


def is_mapping(value: object) -> TypeGuard[Mapping[Any, Any]]:
    """Says whether a value is a mapping that is nothing more than what it holds.

    Args:
        value: Anything.
    """
    return isinstance(value, Mapping) and type(value).__module__ in ("builtins", "collections")


def content_of(array: Tensor | np.ndarray) -> bytes | None:
    """Gives the fingerprint of an array, or None of one without plain memory (meta, sparse, ...).

    Args:
        array: Any.
    """
    try:
        return fingerprint(array)
    except (NotImplementedError, RuntimeError, TypeError, ValueError):
        return None
