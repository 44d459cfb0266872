"""ControlNets for Stable Diffusion XL, unions too, give the numbers of Diffusers' pipelines."""

from __future__ import annotations

import pytest
import torch
from diffusers import (
    StableDiffusionXLControlNetImg2ImgPipeline,
    StableDiffusionXLControlNetInpaintPipeline,
    StableDiffusionXLControlNetPipeline,
    StableDiffusionXLControlNetUnionImg2ImgPipeline,
    StableDiffusionXLControlNetUnionInpaintPipeline,
    StableDiffusionXLControlNetUnionPipeline,
)

from tests.parity.control_cells import cells, differences
from tests.pipelines.pictures import mask, picture
from tests.tiny_controlnets import tiny_controlnet, tiny_union, with_controlnet
from tests.tiny_sdxl import tiny_sdxl

pytestmark = pytest.mark.parity

TEXT = StableDiffusionXLControlNetPipeline
IMG2IMG = StableDiffusionXLControlNetImg2ImgPipeline
INPAINT = StableDiffusionXLControlNetInpaintPipeline
UNION = StableDiffusionXLControlNetUnionPipeline
UNION_IMG2IMG = StableDiffusionXLControlNetUnionImg2ImgPipeline
UNION_INPAINT = StableDiffusionXLControlNetUnionInpaintPipeline
FIRST, SECOND = picture(), mask().convert("RGB")
CHANGED = {"image": picture(seed=8), "control_image": FIRST, "strength": 0.7}
MASKED = {**CHANGED, "mask_image": mask()}
BATCH = {"prompt": ["a cat", "a dog"], "num_images_per_prompt": 2}
KIND = {"control_image": FIRST, "control_mode": 2}
KINDS = {"control_image": [FIRST, SECOND], "control_mode": [1, 4]}
WEIGHED = {"controlnet_conditioning_scale": [0.3, 0.9], "control_guidance_end": [0.5, 1.0]}

CELLS = {
    "a picture": (TEXT, 1, {"image": FIRST}),
    "sizes": (
        TEXT, 1,
        {
            "image": FIRST, "original_size": (100, 200), "crops_coords_top_left": (3, 4),
            "negative_original_size": (10, 20), "negative_target_size": (30, 40),
        },
    ),
    "guessing": (TEXT, 1, {"image": FIRST, "guess_mode": True}),
    "not square": (TEXT, 1, {"image": picture(96, 64)}),
    "a batch": (TEXT, 1, {"image": FIRST, **BATCH}),
    "a part of the way": (TEXT, 1, {"image": FIRST, "denoising_end": 0.5}),
    "two": (TEXT, 2, {"image": [FIRST, SECOND], **WEIGHED}),
    "img2img": (IMG2IMG, 1, CHANGED),
    "img2img, guessing": (IMG2IMG, 1, {**CHANGED, **BATCH, "guess_mode": True}),
    "img2img, latents": (IMG2IMG, 1, {**CHANGED, "latents": torch.ones(1, 4, 8, 8)}),
    "a mask": (INPAINT, 1, MASKED),
    "a mask, nearly all anew": (INPAINT, 1, {**MASKED, "strength": 0.9999}),
    "a mask, guessing": (INPAINT, 1, {**MASKED, **BATCH, "guess_mode": True}),
    "a mask, rescaled": (INPAINT, 1, {**MASKED, "guidance_rescale": 0.4}),
    "a mask, two": (INPAINT, 2, {**MASKED, **WEIGHED, "control_image": [FIRST, SECOND]}),
    "a kind of picture": (UNION, 1, KIND),
    "a kind, an end": (UNION, 1, {**KIND, "control_guidance_end": 0.5}),
    "a kind, a batch": (UNION, 1, {**KIND, **BATCH}),
    "a kind, guessing": (UNION, 1, {**KIND, "guess_mode": True, "guidance_scale": 1.0}),
    "two kinds": (UNION, 1, {**KINDS, **WEIGHED}),
    "two kinds, an end": (UNION, 1, {**KINDS, "control_guidance_end": 0.5}),
    "two unions": (UNION, 2, {**KINDS, **WEIGHED}),
    "a kind, img2img": (UNION_IMG2IMG, 1, {**CHANGED, **KIND}),
    "two kinds, img2img": (UNION_IMG2IMG, 1, {**CHANGED, **KINDS}),
    "a kind, a mask": (UNION_INPAINT, 1, {**MASKED, **KIND}),
    "two kinds, a mask": (UNION_INPAINT, 1, {**MASKED, **KINDS}),
}  # fmt: skip


QUICK = (
    "a picture",
    "guessing",
    "two",
    "img2img",
    "a mask",
    "two kinds",
    "two unions",
    "a kind, img2img",
    "a kind, a mask",
)


@pytest.fixture(scope="module")
def pipelines():
    """Gives pipelines of Diffusers by class and number of ControlNets, made once."""
    base, made = tiny_sdxl(), {}

    def pipeline(cls, count):
        if (cls, count) not in made:
            make = tiny_union if "Union" in cls.__name__ else tiny_controlnet
            nets = [make(base.unet, 1 + number) for number in range(count)]
            made[cls, count] = with_controlnet(
                base, cls, nets if count > 1 else nets[0], add_watermarker=False
            )
        return made[cls, count]

    return pipeline


@pytest.mark.parametrize("name", cells(CELLS, QUICK))
def test_the_numbers_are_those_of_diffusers(pipelines, name):
    cls, count, call = CELLS[name]
    assert differences(pipelines(cls, count), call) == (0.0, 0.0)


def test_a_difference_would_be_seen(pipelines):
    for cls, count, call, changes in (
        (TEXT, 1, {"image": FIRST}, {"controlnet_conditioning_scale": 1.001}),
        (UNION, 1, KIND, {"control_mode": 3}),
        (UNION, 1, KINDS, {"controlnet_conditioning_scale": [1.0, 0.9]}),
    ):
        latents, images = differences(pipelines(cls, count), call, changes)
        assert latents > 1e-4
        assert images > 1e-5
