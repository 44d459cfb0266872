"""What the models in a block are, told anew only where something about them has changed.

A model is told from every attribute of each of its modules: milliseconds for some hundreds of
modules, at every call. Nearly always nothing has changed. So what was seen is kept, copied as deep
as it can be written to, and compared in one go with what there is now.
"""

from __future__ import annotations

import functools
import marshal
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor, nn

from yggdrasil.core.fingerprint import digest
from yggdrasil.core.serials import serial_of
from yggdrasil.core.telling import PLAIN, content_of, is_mapping, told
from yggdrasil.core.travelling import Travel, TravellingWatch, travel_of
from yggdrasil.core.weights import WeightsWatch

__all__ = ["ModuleWatch", "forget_modules", "watch_of"]

_TENSORS_AND_MODULES = frozenset({"_parameters", "_buffers", "_modules"})
_CONTAINERS = frozenset({dict, OrderedDict, list, tuple, set})

# Of accelerate and Diffusers: they note what passes through them.
_HOOKS = frozenset({"_hf_hook", "_diffusers_hook"})
_NOT_LOOKED_INTO = _TENSORS_AND_MODULES | _HOOKS
# transformers puts hooks into a model when it is first asked for hidden states: they note what
# passes, and change nothing of it.
_RECORDERS = "transformers.utils.output_capturing"
_RECORDERS_THERE = "_output_capturing_hooks_installed"
_FORWARD_HOOKS = "_forward_hooks"
_TOLD_WHOLE = (
    Tensor, np.ndarray, nn.Module, type, ModuleType,
    FunctionType, BuiltinFunctionType, MethodType, functools.partial,
)  # fmt: skip
"""What is told by its content, or by which one it is."""
_WATCH = "_module_watch"
_DEPTH = 8
"""Containers inside containers, beyond which it is the object that says what it is."""

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
        # Attention processors, configurations, hooks: what decides how a module runs.
        self._things: list[Any] = [*self._modules, *_objects(self._modules)]
        self._classes = [*map(type, self._things)]
        self._parents = [each for each in self._modules if len(_children(each)) > 1]
        self._orders = [*map(_order, self._parents)]
        self._attributes = [_copied(vars(each)) for each in self._things]
        # Written to in place they are still the same objects.
        self._arrays = [array for each in self._modules for array in _arrays(vars(each))]
        self._contents = [*map(content_of, self._arrays)]
        self._travels = _travels(block)
        parts = _tell(block, self._things)
        parts += [each and each.how for each in self._travels]
        self.told = digest(marshal.dumps(parts, _BY_VALUE))
        away = {id(each) for model in _travellers(block) for each in (model, *_inside(model))}
        staying = [each for each in self._modules if id(each) not in away]
        home = [each for travel in self._travels if travel is not None for each in travel.home]
        self._weights = WeightsWatch(
            [*_tensors((block, *staying)), *home],
            [each.weight for each in staying if isinstance(each, nn.Embedding)],
            # Somebody else's hooks may move weights about while the model runs.
            stay=not any(vars(each).keys() & _HOOKS for each in self._modules),
        )
        moving = [each for each in self._modules if id(each) in away]
        self._moving = TravellingWatch(_tensors(moving)) if moving else None

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        """Gives a copy of a block no watch: it holds other modules."""
        return type(None), ()

    def unchanged(self, block: nn.Module) -> bool:
        """Says whether telling would give the same as it gave.

        Args:
            block: That the watch was made for.
        """
        try:
            return bool(
                self._held == _held(block)
                and self._attributes == [*map(vars, self._things)]
                and self._classes == [*map(type, self._things)]
                and self._orders == [*map(_order, self._parents)]
                and self._contents == [*map(content_of, self._arrays)]
                and self._travels == _travels(block)
            )
        except Exception:  # noqa: BLE001 - attributes are anyone's, and so is how they compare
            return False

    def weights(self) -> bytes:
        """Gives what changes when one of the tensors is replaced or written to."""
        if self._moving is None:
            return self._weights.mark()
        return digest(self._weights.mark() + self._moving.mark())


def watch_of(block: nn.Module) -> ModuleWatch:
    """Gives the watch over what a block holds now.

    Args:
        block: The block.
    """
    watch: ModuleWatch | None = vars(block).get(_WATCH)
    if watch is None or not watch.unchanged(block):
        watch = vars(block)[_WATCH] = ModuleWatch(block)
    return watch


def forget_modules(block: nn.Module) -> None:
    """Lets go of what a block held, so that its memory is given back at once.

    Args:
        block: The block.
    """
    vars(block).pop(_WATCH, None)


def _held(block: nn.Module) -> _Held:
    attributes = vars(block)
    return _Held(attributes["_parameters"], attributes["_buffers"], attributes["_modules"])


def _inside(block: nn.Module) -> Iterator[nn.Module]:
    """Gives the modules inside a block, each once; those in containers among attributes too."""
    seen: set[int] = set()
    waiting = _children(block)
    while waiting:
        each = waiting.pop()
        if id(each) not in seen:
            seen.add(id(each))
            yield each
            waiting += _children(each)
            waiting += [leaf for leaf in _leaves(vars(each)) if isinstance(leaf, nn.Module)]


def _children(module: nn.Module) -> list[nn.Module]:
    held = vars(module).get("_modules")
    # A traced module has them elsewhere.
    children = module.children() if held is None else held.values()
    return [child for child in children if child is not None]


def _objects(modules: Iterable[nn.Module]) -> list[object]:
    """Gives the objects among the attributes of modules that have attributes themselves."""
    found: dict[int, object] = {}
    for module in modules:
        for leaf in _leaves(vars(module)):
            if not isinstance(leaf, _TOLD_WHOLE) and hasattr(leaf, "__dict__"):
                found[id(leaf)] = leaf
    return list(found.values())


def _leaves(value: object, depth: int = _DEPTH) -> Iterator[object]:
    """Gives what is in containers inside containers."""
    if depth and is_mapping(value):
        for name, each in value.items():
            if name not in _NOT_LOOKED_INTO:
                yield from _leaves(each, depth - 1)
    elif depth and isinstance(value, list | tuple | set | frozenset | deque):
        for each in value:
            yield from _leaves(each, depth - 1)
    elif type(value) not in PLAIN:
        yield value


def _travels(block: nn.Module) -> list[Travel | None]:
    """Says of each component of a block how its weights move."""
    return [travel_of(each) for each in _children(block)]


def _travellers(block: nn.Module) -> list[nn.Module]:
    return [each for each in _children(block) if travel_of(each) is not None]


def _order(module: nn.Module) -> tuple[str, ...]:
    # Sequences of modules run in the order of these names, which no comparison of dicts tells.
    return tuple(vars(module).get("_modules", ()))


def _tensors(modules: Iterable[nn.Module]) -> list[Tensor]:
    """Gives the parameters and buffers of modules; one that several share may come again."""
    return [
        tensor
        for module in modules
        for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False))
    ]


def _copied(value: Any, depth: int = _DEPTH) -> Any:
    """Copies what can be written to in place; of the rest, the object says what it is."""
    kind = type(value)
    if isinstance(value, Tensor | np.ndarray):
        return _Same(value)
    if kind in PLAIN or not depth:
        return value
    below = depth - 1
    if kind in (list, set, deque):
        return kind(_copied(each, below) for each in value)
    if isinstance(value, tuple):
        return tuple(_copied(each, below) for each in value)  # equals one of any class
    if is_mapping(value):
        return {key: _copied(each, below) for key, each in value.items()}
    return value


def _arrays(attributes: object) -> list[Tensor | np.ndarray]:
    """Gives the arrays among attributes that are no parameters and no buffers."""
    return [leaf for leaf in _leaves(attributes) if isinstance(leaf, Tensor | np.ndarray)]


def _tell(block: nn.Module, things: Iterable[object]) -> list[object]:
    """Tells what modules, and objects among their attributes, are, but for tensors."""
    parts: list[object] = [*_order(block)]
    numbers = {id(each): number for number, each in enumerate(things)}
    for each in things:
        parts.append(serial_of(type(each)))
        for name, value in vars(each).items():
            kind = type(value)
            if name == _RECORDERS_THERE:
                continue
            if name == _FORWARD_HOOKS and value:
                value = _without_recorders(value)  # noqa: PLW2901 - the rest of them counts
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


def _without_recorders(hooks: Mapping[int, Any]) -> dict[int, Any]:
    return {k: v for k, v in hooks.items() if getattr(v, "__module__", None) != _RECORDERS}
