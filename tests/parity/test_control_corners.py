"""Calls with ControlNets that are easily got wrong give the numbers of Diffusers' pipelines."""

from __future__ import annotations

import pytest
import torch
from diffusers import (
    FluxControlNetPipeline,
    HeunDiscreteScheduler,
    StableDiffusion3ControlNetPipeline,
    StableDiffusionControlNetImg2ImgPipeline,
    StableDiffusionControlNetPipeline,
    StableDiffusionXLControlNetInpaintPipeline,
    StableDiffusionXLControlNetPipeline,
    StableDiffusionXLControlNetUnionPipeline,
)

from tests.pipelines.control_calls import differences
from tests.pipelines.pictures import mask, picture
from tests.tiny_controlnets import (
    tiny_controlnet,
    tiny_flux_controlnet,
    tiny_sd3_controlnet,
    tiny_union,
    with_controlnet,
)
from tests.tiny_flux import tiny_flux
from tests.tiny_models import tiny_pipeline
from tests.tiny_sd3 import tiny_sd3
from tests.tiny_sdxl import tiny_sdxl

pytestmark = pytest.mark.parity

FIRST, SECOND, THIRD, FOURTH = picture(), mask().convert("RGB"), picture(seed=3), picture(seed=4)
PROMPTS = {"prompt": ["a cat", "a dog"], "num_images_per_prompt": 2}
SIZE = {"height": 64, "width": 64}
SDXL = {"add_watermarker": False}
SD15 = {"requires_safety_checker": False}


def several(base, cls, make, count=2, **settings):
    """Makes a pipeline of Diffusers with ControlNets."""
    model = base.unet if hasattr(base, "unet") else base.transformer
    nets = [make(model, 1 + number) for number in range(count)]
    return with_controlnet(base, cls, nets if count > 1 else nets[0], **settings)


# -- lists of lists ----------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["sd3", "flux", "union"])
def test_lists_of_pictures_are_by_controlnet_and_then_by_prompt(family):
    pipe = {
        "sd3": lambda: several(tiny_sd3(), StableDiffusion3ControlNetPipeline, tiny_sd3_controlnet),
        "flux": lambda: several(tiny_flux(), FluxControlNetPipeline, tiny_flux_controlnet),
        "union": lambda: several(
            tiny_sdxl(), StableDiffusionXLControlNetUnionPipeline, tiny_union, **SDXL
        ),
    }[family]()
    call = {**PROMPTS, **SIZE, "control_image": [[FIRST, SECOND], [THIRD, FOURTH]]}
    call["controlnet_conditioning_scale"] = [0.7, 0.4]
    if family == "union":
        call["control_mode"] = [1, 4]
    assert differences(pipe, call) == (0.0, 0.0)


# -- shares of the steps -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cls", "call"),
    [
        (StableDiffusionXLControlNetPipeline, {"image": FIRST}),
        (
            StableDiffusionXLControlNetInpaintPipeline,
            {"image": THIRD, "mask_image": mask(), "control_image": FIRST, "strength": 0.99},
        ),
    ],
)
def test_shares_of_the_steps_count_those_behind_denoising_end(cls, call):
    pipe = several(tiny_sdxl(), cls, tiny_controlnet, 1, **SDXL)
    steps = {"num_inference_steps": 10, "denoising_end": 0.6}
    window = {"control_guidance_start": 0.1, "control_guidance_end": 0.5}
    assert differences(pipe, {**call, **steps, **window}) == (0.0, 0.0)


@pytest.mark.slow
def test_shares_of_the_steps_with_a_union_and_a_denoising_end():
    base = tiny_sdxl()
    pipe = several(base, StableDiffusionXLControlNetUnionPipeline, tiny_union, 1, **SDXL)
    call = {
        "control_image": [FIRST, SECOND], "control_mode": [1, 4], "num_inference_steps": 8,
        "denoising_end": 0.5, "control_guidance_end": [0.25, 0.75],
    }  # fmt: skip
    assert differences(pipe, call) == (0.0, 0.0)


@pytest.mark.parametrize("strength", [0.31, 0.5, pytest.param(0.9, marks=pytest.mark.slow)])
def test_shares_are_of_the_steps_that_strength_leaves(strength):
    pipe = several(
        tiny_pipeline(), StableDiffusionControlNetImg2ImgPipeline, tiny_controlnet, **SD15
    )
    call = {
        "image": THIRD, "control_image": [FIRST, SECOND], "strength": strength,
        "num_inference_steps": 9, "control_guidance_start": [0.0, 0.3],
        "control_guidance_end": [0.5, 0.9],
    }  # fmt: skip
    assert differences(pipe, call) == (0.0, 0.0)


def test_shares_are_of_evaluations_where_a_step_takes_two():
    base = tiny_pipeline()
    base.scheduler = HeunDiscreteScheduler.from_config(base.scheduler.config)
    pipe = several(base, StableDiffusionControlNetPipeline, tiny_controlnet, 1, **SD15)
    call = {"image": FIRST, "num_inference_steps": 4, "control_guidance_end": 0.5}
    assert differences(pipe, call) == (0.0, 0.0)


# -- guess mode, casts -------------------------------------------------------------------------


def test_windows_that_differ_in_guess_mode_with_a_batch():
    pipe = several(tiny_pipeline(), StableDiffusionControlNetPipeline, tiny_controlnet, **SD15)
    call = {
        **PROMPTS, "image": [FIRST, SECOND], "guess_mode": True, "num_inference_steps": 4,
        "control_guidance_start": [0.0, 0.5], "control_guidance_end": [0.5, 1.0],
    }  # fmt: skip
    assert differences(pipe, call) == (0.0, 0.0)


@pytest.mark.parametrize(
    "family", ["sd15", pytest.param("sdxl", marks=pytest.mark.slow), "sd3", "flux"]
)
def test_casts_are_those_of_diffusers(family):
    make, cls, net, settings = {
        "sd15": (tiny_pipeline, StableDiffusionControlNetPipeline, tiny_controlnet, SD15),
        "sdxl": (tiny_sdxl, StableDiffusionXLControlNetPipeline, tiny_controlnet, SDXL),
        "sd3": (tiny_sd3, StableDiffusion3ControlNetPipeline, tiny_sd3_controlnet, {}),
        "flux": (tiny_flux, FluxControlNetPipeline, tiny_flux_controlnet, {}),
    }[family]
    pipe = several(make(), cls, net, **settings).to(torch.bfloat16)
    pictures = [FIRST, SECOND]
    call = {"image" if hasattr(pipe, "unet") else "control_image": pictures, **SIZE}
    assert differences(pipe, {**call, "controlnet_conditioning_scale": [0.3, 0.9]}) == (0.0, 0.0)
