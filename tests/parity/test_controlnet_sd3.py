"""ControlNets for Stable Diffusion 3 give the numbers of Diffusers' pipelines."""

from __future__ import annotations

import pytest
import torch
from diffusers import (
    StableDiffusion3ControlNetInpaintingPipeline,
    StableDiffusion3ControlNetPipeline,
)

from tests.parity.control_cells import cells, differences
from tests.pipelines.pictures import mask, picture
from tests.tiny_controlnets import tiny_sd3_controlnet, with_controlnet
from tests.tiny_sd3 import tiny_sd3

pytestmark = pytest.mark.parity

TEXT = StableDiffusion3ControlNetPipeline
INPAINT = StableDiffusion3ControlNetInpaintingPipeline
FIRST, SECOND = picture(), mask().convert("RGB")
ONE = {"control_image": FIRST, "height": 64, "width": 64}
TWO = {**ONE, "control_image": [FIRST, SECOND], "controlnet_conditioning_scale": [0.3, 1.2]}
MASKED = {**ONE, "control_mask": mask()}
BATCH = {"prompt": ["a cat", "a dog"], "num_images_per_prompt": 2}

NETS = {
    "plain": {},
    "pooled": {"force_zeros_for_pooled_projection": False},
    "without text": {"use_pos_embed": False, "joint_attention_dim": None},
    "masked": {"extra_conditioning_channels": 1},
}
"""As InstantX has them; with pooled states; as the large 3.5 ones; for inpainting."""

CELLS = {
    "a picture": (TEXT, ["plain"], ONE),
    "pooled states": (TEXT, ["pooled"], ONE),
    "without text": (TEXT, ["without text"], ONE),
    "no guidance": (TEXT, ["plain"], {**ONE, "guidance_scale": 1.0}),
    "a batch": (TEXT, ["plain"], {**ONE, **BATCH}),
    "a picture for each prompt": (
        TEXT, ["plain"], {**ONE, **BATCH, "control_image": [FIRST, SECOND]}
    ),
    "not square": (TEXT, ["plain"], {**ONE, "height": 96}),
    "an end": (
        TEXT, ["plain"],
        {**ONE, "control_guidance_end": 0.5, "controlnet_conditioning_scale": 0.3},
    ),
    "a tensor": (TEXT, ["plain"], {"control_image": torch.rand((1, 3, 64, 96)) * 2 - 1}),
    "two": (
        TEXT, ["plain", "plain"], TWO
    ),
    "a mask": (INPAINT, ["masked"], MASKED),
    "a mask, a batch": (INPAINT, ["masked"], {**MASKED, **BATCH}),
    "a mask, not square": (INPAINT, ["masked"], {**MASKED, "width": 96}),
}  # fmt: skip


QUICK = (
    "a picture",
    "pooled states",
    "without text",
    "two",
    "a mask",
)


@pytest.fixture(scope="module")
def pipeline():
    """Makes a pipeline of Diffusers of a class, with ControlNets."""
    base = tiny_sd3()

    def made(cls, nets):
        each = [
            tiny_sd3_controlnet(base.transformer, 1 + number, **NETS[net])
            for number, net in enumerate(nets)
        ]
        return with_controlnet(base, cls, each if len(each) > 1 else each[0])

    return made


@pytest.mark.parametrize("name", cells(CELLS, QUICK))
def test_the_numbers_are_those_of_diffusers(pipeline, name):
    cls, nets, call = CELLS[name]
    assert differences(pipeline(cls, nets), call) == (0.0, 0.0)


def test_a_difference_would_be_seen(pipeline):
    for cls, nets, call, changes in (
        (TEXT, ["plain"], ONE, {"controlnet_conditioning_scale": 1.001}),
        (TEXT, ["plain", "plain"], TWO, {"control_image": [SECOND, FIRST]}),
        (INPAINT, ["masked"], MASKED, {"control_mask": mask(box=(8, 16, 32, 48))}),
    ):
        latents, images = differences(pipeline(cls, nets), call, changes)
        assert latents > 1e-5
        assert images > 1e-6
