"""Serial numbers of objects: unlike an address, never given to a second one."""

from __future__ import annotations

import itertools
import weakref

__all__ = ["serial_of"]

_numbers = itertools.count()
_held: dict[int, tuple[weakref.ref[object], int]] = {}


def serial_of(value: object) -> int:
    """Gives the number of an object; the same one as long as the object lives.

    Args:
        value: Anything. What cannot be weakly referenced gets a new number each time, so that it
            is never taken for something else.
    """
    key = id(value)
    held = _held.get(key)
    if held is not None and held[0]() is value:
        return held[1]
    number = next(_numbers)

    def forget(_: weakref.ref[object]) -> None:
        if _held.get(key, (None, -1))[1] == number:
            del _held[key]

    try:
        _held[key] = (weakref.ref(value, forget), number)
    except TypeError:  # no weak references to it: its number is not kept
        return number
    return number
