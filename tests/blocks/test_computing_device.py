"""Where a model computes is found as Diffusers finds it."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from accelerate.hooks import AlignDevicesHook
from diffusers.utils.torch_utils import get_module_execution_device
from torch import nn

from yggdrasil.blocks.computing_device import computing_device

META = torch.device("meta")


def test_without_hooks_it_is_where_the_weights_are():
    assert computing_device(nn.Linear(2, 2)) == torch.device("cpu")
    assert computing_device(nn.Sequential(nn.Linear(2, 2, device="meta"))) == META


def test_a_hook_inside_says_where_inputs_belong():
    model = nn.Sequential(nn.ReLU(), nn.Sequential(nn.Linear(2, 2)))
    model[1][0]._hf_hook = AlignDevicesHook(execution_device="meta")
    assert computing_device(model) == get_module_execution_device(model) == META


def test_a_group_that_is_offloaded_says_it_too():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    hook = SimpleNamespace(config=SimpleNamespace(onload_device=META))
    model[1]._diffusers_hook = SimpleNamespace(get_hook=lambda _: hook)
    assert computing_device(model) == get_module_execution_device(model) == META
