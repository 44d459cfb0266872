"""Models that are on the accelerator only while they compute, by accelerate's and Diffusers' hooks.

The executor says what is about to run, so models leave in the order of the plan; that they come
when they are called is the business of the hooks.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import cpu_offload, cpu_offload_with_hook
from accelerate.hooks import UserCpuOffloadHook, clear_device_cache, remove_hook_from_module
from diffusers.hooks import HookRegistry, apply_group_offloading
from torch import nn

from yggdrasil.core.plan import Call, Loop
from yggdrasil.core.travelling import end_travel, start_travel
from yggdrasil.pipelines.placement.treatments import Treatment

__all__ = ["ModelOffload", "group_offload", "sequential_offload"]

_GROUP_HOOKS = ("group_offloading", "layer_execution_tracker", "lazy_prefetch_group_offloading")


class ModelOffload:
    """Has each model on the accelerator from its call to the beginning of the next model's.

    Models of one loop stay together until it is over; after a run all are on the CPU.

    Args:
        device: The accelerator.
        excluded: Names of components that stay there.
    """

    def __init__(self, device: torch.device, excluded: frozenset[str] = frozenset()) -> None:
        self._device = device
        self._excluded = excluded
        self._hooks: dict[int, UserCpuOffloadHook] = {}
        self._awake: list[UserCpuOffloadHook] = []
        self._lock = threading.RLock()
        self.treatment = Treatment(self._do, self._undo)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Keeps other runs of the pipeline out, since models are moved, and ends with all away."""
        with self._lock:
            try:
                yield
            finally:
                self._send_away(keep=())

    def before(self, item: Call | Loop) -> None:
        """Sends the models of what ran before away, if other models are wanted now."""
        calls = (*item.body, item.until) if isinstance(item, Loop) else (item,)
        models = {id(m): m for call in calls if not call.spec.fact for m in call.block.children()}
        wanted = [self._hooks[each] for each in models if each in self._hooks]
        if wanted:
            self._send_away(keep=wanted)
            self._awake = wanted

    def _send_away(self, keep: list[UserCpuOffloadHook] | tuple[()]) -> None:
        leaving = [hook for hook in self._awake if all(hook is not each for each in keep)]
        for hook in leaving:
            hook.offload()
        if leaving:
            clear_device_cache()
        self._awake = [*keep]

    def _do(self, name: str, model: nn.Module) -> None:
        if name in self._excluded:
            model.to(self._device)
            return
        # Moving is no other model: what was computed with it may be kept.
        start_travel(model, f"model offload to {self._device}")
        model.to("cpu")
        _, self._hooks[id(model)] = cpu_offload_with_hook(model, self._device)

    def _undo(self, name: str, model: nn.Module) -> None:
        if self._hooks.pop(id(model), None) is not None:
            remove_hook_from_module(model)
            end_travel(model)
        model.to("cpu")


def sequential_offload(device: torch.device, excluded: frozenset[str] = frozenset()) -> Treatment:
    """Gives the treatment by which each layer is on the accelerator while it computes.

    Args:
        device: The accelerator.
        excluded: Names of components that stay there.
    """
    homes: dict[int, Mapping[str, torch.Tensor]] = {}

    def do(name: str, model: nn.Module) -> None:
        if name in excluded:
            model.to(device)
            return
        model.to("cpu")
        home = homes[id(model)] = model.state_dict()
        start_travel(model, f"sequential offload to {device}", home.values())
        # As in Diffusers: buffers too where a model has parameters of its own.
        own = len(vars(model)["_parameters"]) > 0
        cpu_offload(model, device, offload_buffers=own, state_dict=dict(home))

    def undo(_: str, model: nn.Module) -> None:
        if homes.pop(id(model), None) is not None:
            remove_hook_from_module(model, recurse=True)  # puts the weights back
            end_travel(model)
        model.to("cpu")

    return Treatment(do, undo)


def group_offload(
    options: Mapping[str, Any], device: torch.device, excluded: frozenset[str] = frozenset()
) -> Treatment:
    """Gives the treatment by which groups of layers are on the accelerator while they compute.

    Args:
        options: Of Diffusers' ``apply_group_offloading``, the device where they compute among them.
        device: That device.
        excluded: Names of components that stay there.
    """

    def do(name: str, model: nn.Module) -> None:
        if name in excluded:
            model.to(device)
            return
        start_travel(model, f"group offload to {device}")
        own = getattr(model, "enable_group_offload", None)
        if own is None:
            apply_group_offloading(module=model, **options)
        else:
            own(**options)

    def undo(name: str, model: nn.Module) -> None:
        if name in excluded:
            model.to("cpu")
        else:
            registry = HookRegistry.check_if_exists_or_initialize(model)
            for hook in _GROUP_HOOKS:
                registry.remove_hook(hook, recurse=True)
            end_travel(model)

    return Treatment(do, undo)
