"""ControlNets for Stable Diffusion give the numbers of Diffusers' pipelines."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import (
    StableDiffusionControlNetImg2ImgPipeline,
    StableDiffusionControlNetInpaintPipeline,
    StableDiffusionControlNetPipeline,
)

from tests.parity.control_cells import cells, differences, drawn
from tests.pipelines.conftest import quiet
from tests.pipelines.pictures import mask, picture
from tests.tiny_controlnets import tiny_controlnet, with_controlnet
from tests.tiny_models import tiny_pipeline
from yggdrasil import InferencePipeline

pytestmark = pytest.mark.parity

TEXT = StableDiffusionControlNetPipeline
IMG2IMG = StableDiffusionControlNetImg2ImgPipeline
INPAINT = StableDiffusionControlNetInpaintPipeline
FIRST, SECOND = picture(), mask().convert("RGB")
ONE, TWO = {"image": FIRST}, {"image": [FIRST, SECOND]}
CHANGED = {"image": picture(seed=8), "control_image": FIRST, "strength": 0.75}
MASKED = {**CHANGED, "mask_image": mask()}
BATCH = {"prompt": ["a cat", "a dog"], "num_images_per_prompt": 2}
LISTS = {"controlnet_conditioning_scale": [0.3, 0.9], "control_guidance_start": [0.0, 0.4]}

CELLS = {
    "a picture": ("sd15", TEXT, 1, ONE),
    "a picture, v": ("sd2", TEXT, 1, ONE),
    "a weaker one": ("sd15", TEXT, 1, {**ONE, "controlnet_conditioning_scale": 0.4}),
    "an end": ("sd15", TEXT, 1, {**ONE, "control_guidance_end": 0.7}),
    "a start": ("sd15", TEXT, 1, {**ONE, "control_guidance_start": 0.3}),
    "guessing": ("sd15", TEXT, 1, {**ONE, "guess_mode": True}),
    "guessing without guidance": (
        "sd15", TEXT, 1, {**ONE, "guess_mode": True, "guidance_scale": 1.0}
    ),
    "guessing by averages": ("pooled", TEXT, 1, ONE),
    "no guidance": ("sd15", TEXT, 1, {**ONE, "guidance_scale": 1.0}),
    "a negative prompt": ("sd15", TEXT, 1, {**ONE, "negative_prompt": "ugly"}),
    "a batch": ("sd15", TEXT, 1, {**ONE, **BATCH}),
    "a picture for each prompt": ("sd15", TEXT, 1, {**BATCH, "image": [FIRST, SECOND]}),
    "a list of generators": (
        "sd15", TEXT, 1, {**ONE, "prompt": ["a cat", "a dog"], "generator": [1, 2]}
    ),
    "not square": ("sd15", TEXT, 1, {"image": picture(96, 64)}),
    "brought to a size": ("sd15", TEXT, 1, {**ONE, "height": 96, "width": 64}),
    "a tensor": ("sd15", TEXT, 1, {"image": torch.rand((1, 3, 64, 64))}),
    "an array": ("sd15", TEXT, 1, {"image": np.asarray(FIRST, dtype=np.float32)[None] / 255}),
    "two": ("sd15", TEXT, 2, {**TWO, **LISTS}),
    "two alike": ("sd15", TEXT, 2, {**TWO, "controlnet_conditioning_scale": 0.5}),
    "two, guessing": ("sd15", TEXT, 2, {**TWO, "guess_mode": True}),
    "two, a batch": ("sd15", TEXT, 2, {**TWO, **BATCH}),
    "two, pictures for each prompt": (
        "sd15", TEXT, 2,
        {"prompt": ["a cat", "a dog"], "image": [[FIRST, SECOND], [SECOND, picture(seed=3)]]},
    ),
    "img2img": ("sd15", IMG2IMG, 1, CHANGED),
    "img2img, guessing": ("sd15", IMG2IMG, 1, {**CHANGED, **BATCH, "guess_mode": True}),
    "img2img, a size": ("sd15", IMG2IMG, 1, {**CHANGED, "height": 96, "width": 64}),
    "img2img, latents": ("sd15", IMG2IMG, 1, {**CHANGED, "latents": torch.ones(1, 4, 8, 8)}),
    "img2img, two": (
        "sd15", IMG2IMG, 2, {**CHANGED, **LISTS, "control_image": [FIRST, SECOND]}
    ),
    "a mask": ("sd15", INPAINT, 1, MASKED),
    "a mask, all anew": ("sd15", INPAINT, 1, {**MASKED, "strength": 1.0}),
    "a mask, guessing": ("sd15", INPAINT, 1, {**MASKED, **BATCH, "guess_mode": True}),
    "a mask, the picture's size": (
        "sd15", INPAINT, 1,
        {
            "image": picture(96, 64), "control_image": picture(96, 64, 3),
            "mask_image": mask(96, 64),
        },
    ),
    "a mask, two": (
        "sd15", INPAINT, 2, {**MASKED, **LISTS, "control_image": [FIRST, SECOND]}
    ),
    "nine channels": ("sd15_inpaint", INPAINT, 1, MASKED),
}  # fmt: skip


QUICK = (
    "a picture",
    "an end",
    "guessing",
    "guessing by averages",
    "a picture for each prompt",
    "two",
    "two, pictures for each prompt",
    "img2img",
    "a mask",
    "nine channels",
)


@pytest.fixture(scope="module")
def pipelines():
    """Gives pipelines of Diffusers by kind, class and number of ControlNets, made once."""
    bases, made = {}, {}

    def pipeline(kind, cls, count):
        if kind not in bases:
            bases[kind] = tiny_pipeline("sd15" if kind == "pooled" else kind)
        if (kind, cls, count) not in made:
            settings = {"global_pool_conditions": True} if kind == "pooled" else {}
            nets = [tiny_controlnet(bases[kind].unet, 1 + n, **settings) for n in range(count)]
            made[kind, cls, count] = with_controlnet(
                bases[kind], cls, nets if count > 1 else nets[0], requires_safety_checker=False
            )
        return made[kind, cls, count]

    return pipeline


@pytest.mark.parametrize("name", cells(CELLS, QUICK))
def test_the_numbers_are_those_of_diffusers(pipelines, name):
    kind, cls, count, call = CELLS[name]
    assert differences(pipelines(kind, cls, count), call) == (0.0, 0.0)


def test_a_difference_would_be_seen(pipelines):
    for count, call, changes in (
        (1, ONE, {"controlnet_conditioning_scale": 1.001}),
        (1, ONE, {"image": SECOND}),
        (1, ONE, {"control_guidance_end": 0.5}),
        (2, TWO, {"image": [SECOND, FIRST]}),
        (2, {**TWO, **LISTS}, {"controlnet_conditioning_scale": [0.9, 0.3]}),
    ):
        latents, images = differences(pipelines("sd15", TEXT, count), call, changes)
        assert latents > 1e-4
        assert images > 1e-5


def test_a_mask_around_a_part_of_a_larger_picture(pipelines):
    pipe = pipelines("sd15", INPAINT, 1)
    call = {
        "image": picture(96, 64), "control_image": picture(96, 64, 3),
        "mask_image": mask(96, 64), "strength": 0.75, "padding_mask_crop": 4,
    }  # fmt: skip
    ours = quiet(InferencePipeline.from_diffusers(pipe))
    expected = pipe(**drawn(call)).images[0]
    assert np.array_equal(ours(**drawn(call)).images[0], expected)
