"""Values of a call that go to a model as they are: brought to where it computes, in its dtype."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from yggdrasil.blocks.computing_device import computing_device
from yggdrasil.core.plan import Call, Plan

__all__ = ["brought"]

_KINDS = frozenset({"prompt_embeds", "pooled_embeds"})


def brought(plan: Plan, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Casts and moves embeddings that the caller computed, as Diffusers does for the backbone.

    Args:
        plan: What is about to run, its models loaded.
        inputs: The inputs of the call.
    """
    found = dict(inputs)
    names = {slot: name for name, slot in plan.inputs.items()}
    for call in plan.calls():
        for port, slot in call.arguments:
            name = names.get(slot) if isinstance(slot, int) else None
            value = found.get(name) if name is not None else None
            kinds = {kind.name for kind in call.spec.inputs[port].kinds}
            if isinstance(value, Tensor) and not kinds.isdisjoint(_KINDS):
                model = _backbone(plan, call)
                if model is not None:
                    device = computing_device(model)
                    dtype = getattr(model, "dtype", value.dtype)
                    found[str(name)] = value.to(device=device, dtype=dtype)
    return found


def _backbone(plan: Plan, reader: Call) -> nn.Module | None:
    """Gives the backbone of the stage that reads a value; of the first stage if it has none."""
    models = [
        (call.vertex.node.rpartition(".")[0], model)
        for call in plan.calls()
        if call.block.role == "backbone"
        for model in call.block.children()
    ]
    stage = reader.vertex.node.rpartition(".")[0]
    own = [model for where, model in models if where == stage]
    return next(iter(own or [model for _, model in models]), None)
