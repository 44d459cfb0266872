"""Serial numbers of tensors: unlike an address, never given to a second one."""

from __future__ import annotations

import itertools
import weakref

from torch import Tensor

__all__ = ["serial_of"]

_numbers = itertools.count()
_held: dict[int, tuple[weakref.ref[Tensor], int]] = {}


def serial_of(tensor: Tensor) -> int:
    """Gives the number of a tensor; the same one as long as the tensor lives.

    Args:
        tensor: A parameter or buffer.
    """
    key = id(tensor)
    held = _held.get(key)
    if held is not None and held[0]() is tensor:
        return held[1]
    number = next(_numbers)

    def forget(_: weakref.ref[Tensor]) -> None:
        if _held.get(key, (None, -1))[1] == number:
            del _held[key]

    _held[key] = (weakref.ref(tensor, forget), number)
    return number
