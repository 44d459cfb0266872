"""What calls with ControlNets of several families have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from tests.parity.family import Feature
from tests.pipelines.conftest import generator
from tests.pipelines.pictures import mask, picture

__all__ = [
    "CROSSED",
    "FIRST",
    "GUESSING",
    "ONE_CONTROL",
    "OTHER",
    "SECOND",
    "TWO_PROMPTS",
    "WEAKER",
    "WEIGHED",
    "normal",
    "of_one_picture",
    "of_two_pictures",
    "without",
]

FIRST, SECOND, OTHER = picture(), mask().convert("RGB"), picture(seed=8)
"""Two control pictures, and one to begin with."""

TWO_PROMPTS = {"prompt": ["a cat", "a dog"]}
WEAKER = {"controlnet_conditioning_scale": 0.7}
WEIGHED = {
    "controlnet_conditioning_scale": [0.3, 0.9],
    "control_guidance_start": [0.0, 0.4],
    "control_guidance_end": [0.7, 1.0],
}
"""Numbers for each of two ControlNets."""

GUESSING: Mapping[str, Feature] = {
    "guessing": {"guess_mode": True},
    "guessing, a batch": {"guess_mode": True, **TWO_PROMPTS, "num_images_per_prompt": 2},
    "guessing, no guidance": {"guess_mode": True, "guidance_scale": 1.0},
}
ONE_CONTROL = (
    "around a part of a picture Diffusers wants one control picture and no list, which it makes of "
    "one for unions"
)
CROSSED = ("plain", "two per prompt", "list of generators", "some of the steps", "given sigmas")
"""The features that each solver is measured with: which steps count depends on how many it has."""


def normal(seed: int, *shape: int) -> torch.Tensor:
    """Draws a tensor from the normal distribution."""
    return torch.randn(*shape, generator=generator(seed))


def without(features: Mapping[str, Feature], *names: str) -> dict[str, Feature]:
    """Gives the features of a family but for some that its ControlNets do not have."""
    return {name: feature for name, feature in features.items() if name not in names}


def of_one_picture(name: str) -> dict[str, Feature]:
    """Gives the features of a ControlNet that reads pixels.

    Args:
        name: Of the argument that is its picture.
    """
    return {
        **_OF_NUMBERS,
        **GUESSING,
        "a picture for each prompt": {
            **TWO_PROMPTS, "num_images_per_prompt": 2, name: [FIRST, SECOND]
        },
        "control by a tensor": {name: torch.rand(1, 3, 64, 64, generator=generator(5))},
        "control by an array": {name: np.asarray(FIRST, dtype=np.float32)[None] / 255},
    }  # fmt: skip


def of_two_pictures(name: str) -> dict[str, Feature]:
    """Gives the features of two ControlNets that read pixels; arguments as ``of_one_picture``."""
    return {
        **_OF_NUMBERS,
        **GUESSING,
        "numbers for each": WEIGHED,
        "one of two": {"controlnet_conditioning_scale": [0.0, 0.9]},
        "control by tensors": {
            name: [torch.rand(1, 3, 64, 64, generator=generator(seed)) for seed in (5, 6)]
        },
    }


_OF_NUMBERS: dict[str, Any] = {
    "a weaker control": WEAKER,
    "no control": {"controlnet_conditioning_scale": 0.0},
    "some of the steps": {"control_guidance_start": 0.2, "control_guidance_end": 0.8},
}
