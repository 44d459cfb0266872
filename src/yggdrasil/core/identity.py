"""What a block is at this moment, for cache keys: two equal identities compute equal numbers.

A key that misses a change gives an old picture without a word, so everything that a change is
commonly made by is part of it: weights (replaced, written to, swapped behind autograd's back),
hooks, adapters and whatever else is an attribute of a module, tokenizers, the class itself. What
cannot be told by its content is told by which object it is.

Each block is looked at in each run, a thousand modules or more: hence the plain loops.
"""

from __future__ import annotations

import marshal
from collections import OrderedDict
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from yggdrasil.core.block import AbstractBaseBlock
from yggdrasil.core.fingerprint import digest, fingerprint
from yggdrasil.core.serials import serial_of

__all__ = ["block_identity", "surroundings"]

_TENSORS_AND_MODULES = frozenset({"_parameters", "_buffers", "_modules"})
_CONTAINERS = frozenset({dict, OrderedDict, list, tuple, set})
_OF_BLOCKS = frozenset({"sources", "placement", "components_version", "training", "inner_graph"})
_PLAIN = frozenset({bool, int, float, complex, str, bytes, type(None)})

# Of the forms of ``marshal`` the one that depends on nothing but the values.
_BY_VALUE = 2


def block_identity(block: AbstractBaseBlock, around: bytes = b"") -> bytes:
    """Gives the identity of a block: class, configuration, attributes, components, weights.

    Args:
        block: The block.
        around: What else decides what it computes, such as ``surroundings``.
    """
    cls = type(block)
    attributes = vars(block)
    parts: list[object] = [around, block.type_name, block.version, serial_of(cls)]
    for name, value in block.config.items():
        parts += (name, value if type(value) in _PLAIN else _told(value))
    parts.append(len(parts))
    for name, value in attributes.items():
        if name[0] != "_" and name not in _OF_BLOCKS:
            parts += (name, value if type(value) in _PLAIN else _told(value))
    weights = block.weights_version()
    parts.append(_told(weights) if weights else None)
    for name in block.slots():
        held = attributes.get(name)
        if held is not None:
            parts += (name, _of_object(held))
    for module in attributes["_modules"].values():
        if module is not None:
            _tell_modules(module, parts)
    # Everything is plain by now, or told by a number.
    return digest(marshal.dumps(parts, _BY_VALUE))


def surroundings() -> bytes:
    """Gives the settings of PyTorch that change what every block computes."""
    autocast = [
        (kind, torch.get_autocast_dtype(kind))
        for kind in ("cpu", "cuda")
        if torch.is_autocast_enabled(kind)
    ]
    return digest(repr((autocast, torch.get_default_dtype())).encode())


def _tell_modules(module: nn.Module, parts: list[object]) -> None:
    """Tells what a module and those inside it are, but for their tensors."""
    classes: dict[type, int] = {}
    seen: set[int] = set()
    waiting = [module]
    while waiting:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        cls = type(each)
        if cls not in classes:
            classes[cls] = serial_of(cls)
        parts.append(classes[cls])
        for name, value in vars(each).items():
            kind = type(value)
            if kind in _PLAIN:
                parts.append(name)
                parts.append(value)
            elif kind in _CONTAINERS and not value:
                continue  # most are hooks that nobody registered
            elif name == "_modules":
                waiting.extend(child for child in value.values() if child is not None)
            elif name not in _TENSORS_AND_MODULES:
                parts += (name, _told(value))


def _of_object(value: object) -> tuple[object, ...]:
    """Gives what a component that is no module is; tokens added to a tokenizer make it longer."""
    try:
        length = len(value)  # type: ignore[arg-type] # that is what is tried
    except (TypeError, AttributeError):  # one of Diffusers' schedulers has a length that fails
        length = -1
    return (serial_of(type(value)), serial_of(value), length)


def _told(value: object) -> object:
    """Gives a value by its content as far as it has one, else by which object it is."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if isinstance(value, list | tuple):  # a torch.Size too, which no reference can be kept of
        return tuple([each if type(each) in _PLAIN else _told(each) for each in value])
    if isinstance(value, torch.dtype | torch.device):
        return str(value)
    if isinstance(value, Mapping) and kind.__module__ in ("builtins", "collections"):
        return tuple([(_told(key), _told(each)) for key, each in value.items()])
    if isinstance(value, Tensor | np.ndarray):
        return fingerprint(value)
    return (kind.__qualname__, serial_of(value))
