"""Any value in plain ones that say which it is, for cache keys."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from yggdrasil.core.fingerprint import fingerprint
from yggdrasil.core.serials import serial_of

__all__ = ["PLAIN", "told"]

PLAIN = frozenset({bool, int, float, complex, str, bytes, type(None)})
"""Types of what is told by itself."""


def told(value: object) -> object:
    """Gives a value by its content as far as it has one, else by which object it is.

    Args:
        value: Anything.
    """
    kind = type(value)
    if kind in PLAIN:
        return value
    if kind in (list, tuple):
        return tuple(
            [each if type(each) in PLAIN else told(each) for each in value]  # type: ignore[attr-defined] # a list or tuple
        )
    if isinstance(value, Mapping) and kind.__module__ in ("builtins", "collections"):
        return tuple([(told(key), told(each)) for key, each in value.items()])
    if isinstance(value, Tensor | np.ndarray):
        return fingerprint(value)
    if isinstance(value, torch.dtype | torch.device):
        return str(value)
    return (kind.__qualname__, serial_of(value))
