"""Stable Diffusion XL from a template gives the numbers of Diffusers' pipelines."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import (
    LCMScheduler,
    StableDiffusionXLControlNetInpaintPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInpaintPipeline,
)
from diffusers.callbacks import SDXLCFGCutoffCallback

from tests.pipelines.conftest import generator, quiet
from tests.pipelines.pictures import mask, picture
from tests.tiny_controlnets import tiny_controlnet, with_controlnet
from tests.tiny_sdxl import tiny_sdxl
from yggdrasil import InferencePipeline
from yggdrasil.core.errors import MissingInputError, UnknownInputError

pytestmark = pytest.mark.parity

CONTROLLED = StableDiffusionXLControlNetInpaintPipeline
IMG2IMG, INPAINT = StableDiffusionXLImg2ImgPipeline, StableDiffusionXLInpaintPipeline
STEPS = {"num_inference_steps": 3}
SIZES = {
    "original_size": (100, 200), "crops_coords_top_left": (3, 4), "target_size": (50, 60),
    "negative_original_size": (10, 20), "negative_crops_coords_top_left": (1, 2),
    "negative_target_size": (30, 40),
}  # fmt: skip
PICTURE = {"image": picture(), "strength": 0.7}
MASKED = {"image": picture(), "mask_image": mask()}

CELLS = {
    "a prompt": ("sdxl", None, {}),
    "a negative prompt": ("sdxl", None, {"negative_prompt": "a dog"}),
    "an empty negative prompt": ("sdxl", None, {"negative_prompt": ""}),
    "a second negative prompt alone": ("sdxl", None, {"negative_prompt_2": "a dog"}),
    "prompts for each encoder": (
        "sdxl", None,
        {"prompt_2": "a red dog", "negative_prompt": "ugly", "negative_prompt_2": "blurry"},
    ),
    "a layer less": ("sdxl", None, {"clip_skip": 1}),
    "a batch, two a prompt": (
        "sdxl", None, {"prompt": ["a cat", "a dog"], "num_images_per_prompt": 2}
    ),
    "a list of generators": (
        "sdxl", None, {"prompt": ["a cat", "a dog"], "generator": [1, 2]}
    ),
    "no guidance": ("sdxl", None, {"guidance_scale": 1.0}),
    "guidance rescaled": ("sdxl", None, {"guidance_rescale": 0.5}),
    "not square": ("sdxl", None, {"height": 64, "width": 96}),
    "sizes": ("sdxl", None, SIZES),
    "an end": ("sdxl", None, {"denoising_end": 0.6, "num_inference_steps": 6}),
    "latents": ("sdxl", None, {"latents": torch.randn(1, 4, 8, 8, generator=generator(8))}),
    "noise levels": ("sdxl", None, {"sigmas": [14.0, 5.0, 1.0]}),
    "embeddings": (
        "sdxl", None,
        {
            "prompt": None,
            "prompt_embeds": torch.randn(1, 77, 72, generator=generator(1)),
            "pooled_prompt_embeds": torch.randn(1, 24, generator=generator(2)),
            "negative_prompt_embeds": torch.randn(1, 77, 72, generator=generator(3)),
            "negative_pooled_prompt_embeds": torch.randn(1, 24, generator=generator(4)),
        },
    ),
    "a picture": ("sdxl", IMG2IMG, PICTURE),
    "a picture and sizes": ("sdxl", IMG2IMG, {**PICTURE, **SIZES}),
    "latents on their way": (
        "sdxl", IMG2IMG,
        {
            "image": torch.randn(1, 4, 8, 8, generator=generator(5)),
            "denoising_start": 0.5, "num_inference_steps": 8,
        },
    ),
    "a part of the way": (
        "sdxl", IMG2IMG,
        {
            "image": torch.randn(1, 4, 8, 8, generator=generator(5)),
            "denoising_start": 0.3, "denoising_end": 0.7, "num_inference_steps": 10,
        },
    ),
    "the refiner": ("sdxl_refiner", None, {**PICTURE, "aesthetic_score": 7.0}),
    "the refiner, a batch": (
        "sdxl_refiner", None,
        {**PICTURE, "prompt": ["a cat", "a dog"], "negative_prompt": ["ugly", ""]},
    ),
    "nine channels": ("sdxl_inpaint", None, MASKED),
    "a mask": ("sdxl", INPAINT, {**MASKED, "strength": 0.8}),
    "a mask, all anew": ("sdxl", INPAINT, {**MASKED, "strength": 1.0}),
    "a mask, a batch": (
        "sdxl", INPAINT, {**MASKED, "prompt": ["a cat", "a dog"], "num_images_per_prompt": 2}
    ),
}  # fmt: skip


def drawn(call):
    """Gives the arguments with fresh generators."""
    seeds = call.get("generator", 0)
    several = isinstance(seeds, list)
    made = [generator(each) for each in seeds] if several else generator(seeds)
    return {"prompt": "a cat", **STEPS, **call, "generator": made}


@pytest.fixture(scope="module")
def theirs():
    """Gives pipelines of Diffusers by kind and class, made once."""
    made = {}

    def pipeline(kind, cls):
        if (kind, cls) not in made:
            made[kind, cls] = tiny_sdxl(kind, cls)
        return made[kind, cls]

    return pipeline


@pytest.mark.slow  # the quick cells of the matrix cover them
@pytest.mark.parametrize("name", CELLS)
def test_the_numbers_are_those_of_diffusers(theirs, name):
    kind, cls, call = CELLS[name]
    pipe = theirs(kind, cls)
    ours = quiet(InferencePipeline.from_diffusers(pipe))
    expected = pipe(**drawn(call), output_type="latent").images
    result = ours(**drawn(call), output_type="pt")
    assert (result.latents - expected).abs().max() == 0.0
    assert (result.images - pipe(**drawn(call), output_type="pt").images).abs().max() == 0.0


@pytest.mark.parametrize("output_type", ["pil", "np"])
def test_a_mask_around_a_part(theirs, output_type):
    pipe = theirs("sdxl", INPAINT)
    call = {**MASKED, "padding_mask_crop": 4}
    if output_type == "np":
        call.pop("padding_mask_crop")
    ours = quiet(InferencePipeline.from_diffusers(pipe))
    expected = pipe(**drawn(call), output_type=output_type).images[0]
    assert np.array_equal(ours(**drawn(call), output_type=output_type).images[0], expected)


def _with_latents(theirs, kind, cls, call):
    """Gives the largest difference of latents, and whether the generators end alike."""
    pipe = theirs(kind, cls)
    ours = quiet(InferencePipeline.from_diffusers(pipe))
    call = {**call, "latents": torch.randn(1, 4, 8, 8, generator=generator(5))}
    first, second = drawn(call), drawn(call)
    expected = pipe(**first, output_type="latent").images
    found = ours(**second, output_type="latent").images
    alike = torch.equal(first["generator"].get_state(), second["generator"].get_state())
    return float((found - expected).abs().max()), alike


@pytest.mark.parametrize("strength", [0.8, 1.0])
@pytest.mark.parametrize("kind", ["sdxl", "sdxl_inpaint"])
def test_given_latents_are_the_noise_of_inpainting_and_no_other_is_drawn(theirs, kind, strength):
    call = {**MASKED, "strength": strength}
    assert _with_latents(theirs, kind, INPAINT, call) == (0.0, True)


@pytest.mark.parametrize("controlled", [False, True])
def test_latents_are_passed_over_where_inpainting_begins_on_its_way(theirs, controlled):
    call = {"image": MASKED["image"], "mask_image": MASKED["mask_image"], "denoising_start": 0.3}
    cls = INPAINT
    if controlled:
        base = theirs("sdxl", None)
        net = tiny_controlnet(base.unet)
        pipe = with_controlnet(base, CONTROLLED, net, add_watermarker=False)
        call |= {"control_image": picture(seed=3), "num_inference_steps": 6}
        theirs, cls = (lambda *_: pipe), CONTROLLED
    with pytest.warns(UserWarning, match="latents: given, but with these inputs nothing reads it"):
        assert _with_latents(theirs, "sdxl", cls, call) == (0.0, True)


def test_a_difference_would_be_seen(theirs):
    pipe = theirs("sdxl", None)
    ours = quiet(InferencePipeline.from_diffusers(pipe))
    expected = pipe(**drawn({}), output_type="latent").images
    other = ours(**drawn({"crops_coords_top_left": (0, 1)})).latents
    assert (other - expected).abs().max() > 1e-3


@pytest.mark.parametrize("kind", ["sdxl", "sdxl_refiner"])
@pytest.mark.parametrize("zeros", [True, False])
def test_a_model_on_disk_says_its_settings(tmp_path, kind, zeros):
    pipe = tiny_sdxl(kind, force_zeros_for_empty_prompt=zeros)
    pipe.save_pretrained(tmp_path)
    ours = quiet(InferencePipeline.from_pretrained(tmp_path))
    call = PICTURE if kind == "sdxl_refiner" else {}
    expected = pipe(**drawn(call), output_type="pt").images
    assert torch.allclose(ours(**drawn(call), output_type="pt").images, expected, atol=1e-5)
    assert ours.graph.block("text").zero_empty is zeros


def test_a_model_that_embeds_the_scale():
    pipe = tiny_sdxl(unet={"time_cond_proj_dim": 16})
    pipe.scheduler = LCMScheduler.from_config(pipe.scheduler.config)
    ours = quiet(InferencePipeline.from_diffusers(pipe))
    expected = pipe(**drawn({}), output_type="latent").images
    assert (ours(**drawn({})).latents - expected).abs().max() == 0.0


def test_a_callback_ends_guidance(theirs):
    pipe = theirs("sdxl", None)
    call = {"callback_on_step_end": SDXLCFGCutoffCallback(None, 1)}
    ours = quiet(InferencePipeline.from_diffusers(pipe))
    expected = pipe(**drawn(call), output_type="latent").images
    assert (ours(**drawn(call)).latents - expected).abs().max() == 0.0
    assert (ours(**drawn({})).latents - expected).abs().max() > 1e-3


def test_base_and_refiner_are_two_loops_of_one_pipeline(theirs):
    base, refiner = theirs("sdxl", None), theirs("sdxl_refiner", None)
    draws = generator(3)
    steps = {"num_inference_steps": 8}
    first = base("a cat", denoising_end=0.6, generator=draws, output_type="latent", **steps)
    expected = refiner(
        "a cat", image=first.images, denoising_start=0.6, generator=draws, output_type="pt", **steps
    ).images
    both = quiet(
        InferencePipeline.from_combined(
            {"base": InferencePipeline.from_diffusers(base),
             "refiner": InferencePipeline.from_diffusers(refiner)},
            links={"refiner.init_latents": "base.latents"},
        )
    )  # fmt: skip
    result = both(
        "a cat", generator=generator(3), output_type="pt", base={"denoising_end": 0.6},
        refiner={"denoising_start": 0.6}, **steps,
    )  # fmt: skip
    assert (result.images - expected).abs().max() == 0.0


def test_the_tasks_of_the_template_say_what_they_take(theirs):
    ours = quiet(InferencePipeline.from_diffusers(theirs("sdxl", IMG2IMG)))
    with pytest.raises(MissingInputError, match="'image'"):
        ours("a cat")
    with pytest.raises(UnknownInputError, match=r"no argument 'mask_image'. Task 'inpaint' does"):
        ours("a cat", mask_image=mask(), image=picture())


def test_the_refiner_reads_no_second_prompt_and_says_so(theirs):
    ours = quiet(InferencePipeline.from_diffusers(theirs("sdxl_refiner", None)))
    call = {**PICTURE, "negative_prompt": "a dog"}
    alone = ours(**drawn(call)).images
    with pytest.warns(
        UserWarning, match="prompt_2, negative_prompt_2: given, but .* nothing reads"
    ):
        both = ours(**drawn({**call, "prompt_2": "a dog", "negative_prompt_2": "a cat"})).images
    assert np.array_equal(both, alone)
