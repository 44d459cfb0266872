"""Calls made ready to be run many times, as in a loop.

An op is called by the names of its ports. Where its method takes them by position too, that is
three times as quick, and a loop calls seven ops a step.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from operator import itemgetter
from types import FunctionType, MethodType
from typing import Any

from yggdrasil.core.plan import Call, Slot

__all__ = ["arguments_of", "bind"]


def arguments_of(call: Call, values: list[Any]) -> dict[str, Any]:
    """Gives the arguments of a call by name.

    Args:
        call: Which.
        values: The run's values by slot.
    """
    arguments: dict[str, Any] = {}
    for port, slot in call.arguments:  # a comprehension would cost a frame
        if type(slot) is int:
            arguments[port] = values[slot]
        else:
            arguments[port] = tuple([values[each] for each in slot])  # type: ignore[union-attr] # slots
    return arguments


def bind(call: Call, values: list[Any]) -> Callable[[], Any]:
    """Makes a call ready.

    Args:
        call: Which.
        values: The run's values by slot; read anew each time.

    Returns:
        What runs the op and gives its result.
    """
    method: Callable[..., Any] = getattr(call.block, call.spec.name)
    slots = _in_order(call, method)
    if slots is None:
        return lambda: method(**arguments_of(call, values))
    if len(slots) == 1:
        (slot,) = slots
        return lambda: method(values[slot])
    if not slots:
        return method
    read = itemgetter(*slots)
    return lambda: method(*read(values))


def _in_order(call: Call, method: Callable[..., Any]) -> tuple[Slot, ...] | None:
    """Gives the slots of the arguments by position, or None where names are needed."""
    if not isinstance(method, MethodType) or not isinstance(method.__func__, FunctionType):
        return None  # somebody put a function of his own there
    given = dict(call.arguments)
    slots: list[Slot] = []
    defaults = _parameters(method.__func__)
    for name in defaults:
        slot = given.get(name)
        if not isinstance(slot, int):
            break
        slots.append(slot)
        del given[name]
    # None of many is what most methods take for granted.
    by_name = [name for name, slot in given.items() if slot != () or defaults.get(name) != ()]
    return None if by_name else tuple(slots)


@functools.lru_cache(1024)
def _parameters(function: FunctionType) -> Mapping[str, Any]:
    """Gives the parameters that may be given by position, but for the first, and defaults."""
    found: dict[str, Any] = {}
    for name, parameter in list(
        inspect.signature(function, follow_wrapped=False).parameters.items()
    )[1:]:
        if parameter.kind is not parameter.POSITIONAL_OR_KEYWORD:
            break
        found[name] = parameter.default
    return found
