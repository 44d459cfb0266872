"""What a block is at this moment, for cache keys: two equal identities compute equal numbers.

A key that misses a change gives an old picture without a word, so everything that a change is
commonly made by is part of it: weights (replaced, written to, swapped behind autograd's back),
hooks, adapters and whatever else is an attribute of a module, tokenizers, the class itself. What
cannot be told by its content is told by which object it is.
"""

from __future__ import annotations

import marshal
from collections.abc import Callable

import torch

from yggdrasil.core.block import AbstractBaseBlock
from yggdrasil.core.fingerprint import digest
from yggdrasil.core.module_watch import watch_of
from yggdrasil.core.serials import serial_of
from yggdrasil.core.telling import PLAIN, told

__all__ = ["block_identity", "note_surroundings", "surroundings"]

_OF_BLOCKS = frozenset({"sources", "placement", "components_version", "training", "inner_graph"})

_SWITCHES = (
    (torch.backends.cudnn, "enabled"),
    (torch.backends.cudnn, "benchmark"),
    (torch.backends.cudnn, "deterministic"),
    (torch.backends.cudnn, "allow_tf32"),
    (torch.backends.cuda.matmul, "allow_tf32"),
    (torch.backends.mkldnn, "enabled"),
)
_KERNELS: tuple[Callable[[], bool], ...] = (
    torch.backends.cuda.flash_sdp_enabled,
    torch.backends.cuda.mem_efficient_sdp_enabled,
    torch.backends.cuda.cudnn_sdp_enabled,
    torch.backends.cuda.math_sdp_enabled,
)

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
        parts += (name, value if type(value) in PLAIN else told(value))
    parts.append(len(parts))
    for name, value in attributes.items():
        if name[0] != "_" and name not in _OF_BLOCKS:
            parts += (name, value if type(value) in PLAIN else told(value))
    watch = watch_of(block)
    parts += (watch.told, watch.weights())
    settled = block.settled_by()
    parts.append(told(settled) if settled else None)
    for name in block.slots():
        held = attributes.get(name)
        if held is not None:
            parts += (name, _of_object(held))
    # Everything is plain by now, or told by a number.
    return digest(marshal.dumps(parts, _BY_VALUE))


_settings: list[Callable[[], object]] = []


def note_surroundings(setting: Callable[[], object]) -> None:
    """Has a setting of the whole process told in every key: of a library above, which core is not.

    Args:
        setting: Gives the setting as it is now, whose ``repr`` tells it from others.
    """
    _settings.append(setting)


def surroundings() -> bytes:
    """Gives the settings of PyTorch and of other libraries that change what blocks compute."""
    accelerator = torch.accelerator.current_accelerator()
    kinds = {"cpu", "cuda", *([accelerator.type] if accelerator is not None else ())}
    autocast = [
        (kind, torch.get_autocast_dtype(kind))
        for kind in sorted(kinds)
        if torch.is_autocast_enabled(kind)
    ]
    settings = (
        autocast,
        torch.get_default_dtype(),
        torch.get_float32_matmul_precision(),
        torch.are_deterministic_algorithms_enabled(),
        *(getattr(owner, name) for owner, name in _SWITCHES),
        *(enabled() for enabled in _KERNELS),
        *(setting() for setting in _settings),
    )
    return digest(repr(settings).encode())


def _of_object(value: object) -> tuple[object, ...]:
    """Gives what a component that is no module is, with its settings.

    Tokens that are added to a tokenizer make it longer.
    """
    try:
        length = len(value)  # type: ignore[arg-type] # that is what is tried
    except (TypeError, AttributeError):  # one of Diffusers' schedulers has a length that fails
        length = -1
    # A scheduler's attributes are how far it has come; what it computes is in its configuration.
    attributes = {} if hasattr(value, "config") else getattr(value, "__dict__", {})
    parts: list[object] = [serial_of(type(value)), serial_of(value), length]
    for name, each in attributes.items():
        if type(each) in PLAIN:
            parts += (name, each)
        elif length < 0 and type(each) is dict:  # a processor's sizes, and no vocabulary
            parts += (name, told(each))
    return tuple(parts)
