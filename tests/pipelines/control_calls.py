"""Calls with ControlNets, made by Diffusers and by YggDrasil on the same modules."""

from __future__ import annotations

import warnings
from typing import Any

import torch

from tests.pipelines.conftest import generator, quiet
from yggdrasil import InferencePipeline

STEPS = {"prompt": "a cat", "num_inference_steps": 3}


def drawn(call: dict[str, Any]) -> dict[str, Any]:
    """Gives the arguments with fresh generators, the global one among them."""
    torch.manual_seed(9)
    seeds = call.get("generator", 0)
    several = isinstance(seeds, list)
    made = [generator(each) for each in seeds] if several else generator(seeds)
    return {**STEPS, **call, "generator": made}


def differences(
    theirs: Any, call: dict[str, Any], changes: dict[str, Any] | None = None, ours: Any = None
) -> tuple[float, float]:
    """Gives the largest absolute differences of latents and of pictures.

    Args:
        theirs: A pipeline of Diffusers.
        call: The arguments.
        changes: Those that only YggDrasil gets, to show that a difference would be seen.
        ours: Made from theirs unless given.
    """
    seen: list[torch.Tensor] = []

    def remember(_: Any, __: int, ___: Any, values: dict[str, Any]) -> dict[str, Any]:
        seen.append(values["latents"])
        return {}

    ours = ours or quiet(InferencePipeline.from_diffusers(theirs))
    with warnings.catch_warnings():
        # Diffusers warns that one picture for two prompts will once be an error.
        warnings.simplefilter("ignore", FutureWarning)
        expected = theirs(**drawn(call), output_type="pt", callback_on_step_end=remember).images
    result = ours(**drawn({**call, **(changes or {})}), output_type="pt")
    assert result.images.shape == expected.shape
    assert torch.isfinite(result.images).all()
    return (
        float((result.latents - seen[-1]).abs().max()),
        float((result.images - expected).abs().max()),
    )
