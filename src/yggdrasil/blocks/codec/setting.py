"""A model set otherwise for the length of a call: in float32, in tiles, in slices."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

__all__ = ["alone_with", "in_float32", "switched"]

_locks: weakref.WeakKeyDictionary[nn.Module, threading.RLock] = weakref.WeakKeyDictionary()


@contextmanager
def alone_with(model: nn.Module) -> Iterator[None]:
    """Keeps other threads that ask for the same model out, while it is set otherwise.

    Args:
        model: That several pipelines may share.
    """
    with _locks.setdefault(model, threading.RLock()):
        yield


@contextmanager
def in_float32(model: nn.Module) -> Iterator[None]:
    """Casts a model to float32, and afterwards gives it back the very weights that it had.

    The weights are not cast back: they lie where they lay, so nothing that knows the model by its
    memory takes it for another one.

    Args:
        model: Of any dtype; one that is in float32 is left as it is.

    Source:
        Diffusers 0.42, ``StableDiffusionXLPipeline.__call__``, which casts and casts back.
    """
    before = next(model.parameters()).dtype
    kept = {
        id(each): (each, each.data)
        for each in _tensors(model)
        if each.is_floating_point() and each.dtype != torch.float32
    }
    try:
        for tensor, data in kept.values():
            tensor.data = data.float()
        yield
    finally:
        for each in _tensors(model):
            if id(each) in kept:
                each.data = kept[id(each)][1]
            elif kept and each.is_meta and each.is_floating_point():
                # Hooks that load weights for one forward leave others behind, of the dtype asked.
                each.data = each.data.to(before)


@contextmanager
def switched(model: nn.Module, **switches: bool | None) -> Iterator[None]:
    """Sets attributes of a model, and afterwards sets them as they were.

    Args:
        model: The model.
        **switches: By name; None leaves one as it is.
    """
    wanted = {name: value for name, value in switches.items() if value is not None}
    before = {name: getattr(model, name) for name in wanted}
    try:
        for name, value in wanted.items():
            setattr(model, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(model, name, value)


def _tensors(model: nn.Module) -> list[torch.Tensor]:
    return [*model.parameters(), *model.buffers()]
