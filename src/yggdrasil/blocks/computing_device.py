"""Where a model computes, which need not be where its weights lie now."""

from __future__ import annotations

import itertools

import torch
from diffusers.utils.torch_utils import get_module_execution_device
from torch import nn

__all__ = ["computing_device"]

# Of accelerate and Diffusers: while a model is offloaded, they know where its inputs belong.
_HOOKS = frozenset({"_hf_hook", "_diffusers_hook"})


def computing_device(model: nn.Module) -> torch.device:
    """Gives the device that a model's inputs have to be on.

    Diffusers' ``get_module_execution_device`` looks through the modules three times, which takes
    longer than a step's arithmetic; a model without hooks is where its weights are.

    Args:
        model: Loaded.
    """
    if _is_hooked(model):
        device: torch.device = get_module_execution_device(model)
        return device
    return next(itertools.chain(model.parameters(), model.buffers())).device


def _is_hooked(model: nn.Module) -> bool:
    """Says whether any of its modules has a hook; ``modules()`` takes ten times as long."""
    waiting: list[nn.Module | None] = [model]
    while waiting:
        module = waiting.pop()
        if module is None:
            continue
        held = vars(module)
        if not _HOOKS.isdisjoint(held):
            return True
        waiting.extend(held["_modules"].values())
    return False
