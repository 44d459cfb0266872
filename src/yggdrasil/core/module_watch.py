"""What the models in a block are, told anew only where something about them has changed.

A model is told from every attribute of each of its modules: milliseconds for some hundreds of
modules, at every call. Nearly always nothing has changed. So what was seen is kept, copied as deep
as it can be written to, and compared in one go with what there is now.
"""

from __future__ import annotations

import functools
import marshal
import weakref
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor, nn

from yggdrasil.core.fingerprint import digest, fingerprint
from yggdrasil.core.serials import serial_of
from yggdrasil.core.telling import PLAIN, told
from yggdrasil.core.travelling import Travel, TravellingWatch, travel_of
from yggdrasil.core.weights import WeightsWatch

__all__ = ["ModuleWatch", "forget_modules", "watch_of"]

_TENSORS_AND_MODULES = frozenset({"_parameters", "_buffers", "_modules"})
_CONTAINERS = frozenset({dict, OrderedDict, list, tuple, set})

# Of accelerate and Diffusers: they note what passes through them.
_HOOKS = frozenset({"_hf_hook", "_diffusers_hook"})

# What is told by its content, or by which one it is.
_TOLD_OTHERWISE = (
    Tensor, np.ndarray, nn.Module, type,
    FunctionType, BuiltinFunctionType, MethodType, functools.partial,
)  # fmt: skip

# Of the forms of ``marshal`` the one that depends on nothing but the values.
_BY_VALUE = 2


class _Held(NamedTuple):
    """What a block holds as a module."""

    parameters: Mapping[str, Any]
    buffers: Mapping[str, Any]
    modules: Mapping[str, Any]


class _Same:
    """Equal to one object, and to no other that has the same content."""

    __slots__ = ("_value",)
    # Arrays leave the comparison to this class.
    __array_ufunc__ = None

    def __init__(self, value: object) -> None:
        self._value = value

    def __eq__(self, other: object) -> bool:
        return other is self._value

    def __hash__(self) -> int:
        return id(self._value)


class ModuleWatch:
    """What the modules inside a block were when they were told.

    It holds them with their tensors and attributes, but not the block.

    Args:
        block: The block.

    Attributes:
        told: What they were, but for their tensors.
    """

    def __init__(self, block: nn.Module) -> None:
        self._held = _copied(_held(block))
        self._modules = list(_inside(block))
        self._classes = [*map(type, self._modules)]
        self._parents = [each for each in self._modules if len(_children(each)) > 1]
        self._orders = [*map(_order, self._parents)]
        attributes = [vars(each) for each in self._modules]
        self._attributes = [_copied(each) for each in attributes]
        # Written to in place they are still the same objects.
        self._arrays = [array for each in attributes for array in _arrays(each)]
        self._contents = [*map(fingerprint, self._arrays)]
        # Processors and configurations are written to in place as well.
        self._objects = list(_objects(attributes))
        self._settings = [_copied(vars(each)) for each in self._objects]
        self._travels = _travels(block)
        parts = _tell(block, self._modules)
        parts += [told(each) for each in self._settings]
        parts += [each and each.how for each in self._travels]
        self.told = digest(marshal.dumps(parts, _BY_VALUE))
        away = {id(each) for model in _travellers(block) for each in (model, *_inside(model))}
        staying = [each for each in self._modules if id(each) not in away]
        home = [each for travel in self._travels if travel is not None for each in travel.home]
        self._weights = WeightsWatch([*_tensors((block, *staying)), *home])
        moving = [each for each in self._modules if id(each) in away]
        self._moving = TravellingWatch(_tensors(moving)) if moving else None

    def unchanged(self, block: nn.Module) -> bool:
        """Says whether telling would give the same as it gave.

        Args:
            block: That the watch was made for.
        """
        modules = self._modules
        try:
            return (
                self._held == _held(block)
                and self._attributes == [*map(vars, modules)]
                and self._classes == [*map(type, modules)]
                and self._orders == [*map(_order, self._parents)]
                and self._contents == [*map(fingerprint, self._arrays)]
                and self._settings == [*map(vars, self._objects)]
                and self._travels == _travels(block)
            )
        except (RuntimeError, TypeError, ValueError):
            # An attribute that has no yes or no to the question whether it equals another.
            return False

    def weights(self) -> bytes:
        """Gives what changes when one of the tensors is replaced or written to."""
        if self._moving is None:
            return self._weights.mark()
        return digest(self._weights.mark() + self._moving.mark())


_watches: weakref.WeakKeyDictionary[nn.Module, ModuleWatch] = weakref.WeakKeyDictionary()


def watch_of(block: nn.Module) -> ModuleWatch:
    """Gives the watch over what a block holds now.

    Args:
        block: The block.
    """
    watch = _watches.get(block)
    if watch is None or not watch.unchanged(block):
        watch = _watches[block] = ModuleWatch(block)
    return watch


def forget_modules(block: nn.Module) -> None:
    """Lets go of what a block held, so that its memory is given back at once.

    Args:
        block: The block.
    """
    _watches.pop(block, None)


def _held(block: nn.Module) -> _Held:
    attributes = vars(block)
    return _Held(attributes["_parameters"], attributes["_buffers"], attributes["_modules"])


def _inside(block: nn.Module) -> Iterator[nn.Module]:
    """Gives the modules inside a block, each once."""
    seen: set[int] = set()
    waiting = _children(block)
    while waiting:
        each = waiting.pop()
        if id(each) not in seen:
            seen.add(id(each))
            yield each
            waiting += _children(each)


def _children(module: nn.Module) -> list[nn.Module]:
    return [child for child in vars(module)["_modules"].values() if child is not None]


def _travels(block: nn.Module) -> list[Travel | None]:
    """Says of each component of a block how its weights move."""
    return [travel_of(each) for each in _children(block)]


def _travellers(block: nn.Module) -> list[nn.Module]:
    return [each for each in _children(block) if travel_of(each) is not None]


def _objects(attributes: Iterable[Mapping[str, Any]]) -> Iterator[object]:
    """Gives the objects among attributes that have attributes of their own, each once."""
    seen: set[int] = set()
    for each in attributes:
        for name, value in each.items():
            if name not in _HOOKS and hasattr(value, "__dict__") and id(value) not in seen:
                seen.add(id(value))
                if type(value) not in _CONTAINERS and not isinstance(value, _TOLD_OTHERWISE):
                    yield value


def _order(module: nn.Module) -> tuple[str, ...]:
    # Sequences of modules run in the order of these names, which no comparison of dicts tells.
    return tuple(vars(module)["_modules"])


def _tensors(modules: Iterable[nn.Module]) -> list[Tensor]:
    """Gives the parameters and buffers of modules; one that several share may come again."""
    return [
        tensor
        for module in modules
        for name in ("_parameters", "_buffers")
        for tensor in vars(module)[name].values()
        if tensor is not None
    ]


def _copied(value: Any) -> Any:
    """Copies what can be written to in place; of the rest, the object says what it is."""
    kind = type(value)
    if kind in PLAIN:
        return value
    if isinstance(value, Tensor | np.ndarray):
        return _Same(value)
    if kind in (list, set):
        return kind(map(_copied, value))
    if isinstance(value, tuple):
        copies = map(_copied, value)
        return kind(*copies) if hasattr(kind, "_fields") else tuple(copies)
    if isinstance(value, Mapping) and kind.__module__ in ("builtins", "collections"):
        return {key: _copied(each) for key, each in value.items()}
    return value


def _arrays(value: Any) -> Iterator[Tensor | np.ndarray]:
    """Gives the arrays among attributes that are no parameters and no buffers."""
    if isinstance(value, Tensor | np.ndarray):
        yield value
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _arrays(each)
    elif isinstance(value, Mapping) and type(value).__module__ in ("builtins", "collections"):
        for name, each in value.items():
            if name not in _TENSORS_AND_MODULES:
                yield from _arrays(each)


def _tell(block: nn.Module, modules: Iterable[nn.Module]) -> list[object]:
    """Tells what modules are, but for their tensors."""
    parts: list[object] = [*_order(block)]
    numbers: dict[int, int] = {}
    for each in modules:
        numbers[id(each)] = len(numbers)
    for each in modules:
        parts.append(serial_of(type(each)))
        for name, value in vars(each).items():
            kind = type(value)
            if kind in PLAIN:
                parts += (name, value)
            elif kind in _CONTAINERS and not value:
                continue  # most are hooks that nobody registered
            elif name == "_modules":
                # Which one is where: models of the same modules may run them in another order.
                parts += [(key, numbers.get(id(child))) for key, child in value.items()]
            elif name not in _TENSORS_AND_MODULES:
                parts += (name, told(value))
    return parts
