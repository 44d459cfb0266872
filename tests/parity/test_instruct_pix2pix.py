"""InstructPix2Pix from templates gives the numbers of Diffusers' pipelines."""

from __future__ import annotations

import warnings

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    EulerAncestralDiscreteScheduler,
    StableDiffusionInstructPix2PixPipeline,
)

from tests.pipelines.conftest import generator, quiet
from tests.pipelines.pictures import picture
from tests.tiny_models import tiny_pipeline
from tests.tiny_sdxl import tiny_sdxl
from yggdrasil import InferencePipeline
from yggdrasil.core.errors import InputError, MissingInputError, UnknownInputError

pytestmark = pytest.mark.parity

SD, XL, COSXL = "sd", "xl", "cosxl"
TWO = {"prompt": ["a cat", "a dog"]}
EACH = {**TWO, "generator": [1, 2]}
TURNED = picture().rotate(90)


def normal(seed, *shape):
    return torch.randn(*shape, generator=generator(seed))


def embeds(width):
    return {
        "prompt": None,
        "prompt_embeds": normal(1, 1, 77, width),
        "negative_prompt_embeds": normal(2, 1, 77, width),
    }


XL_EMBEDS = {
    **embeds(72),
    "pooled_prompt_embeds": normal(3, 1, 24),
    "negative_pooled_prompt_embeds": normal(4, 1, 24),
}

CELLS = {
    "an instruction": (SD, {}),
    "towards the picture": (SD, {"image_guidance_scale": 3.0, "guidance_scale": 2.0}),
    "a negative prompt": (SD, {"negative_prompt": "ugly"}),
    "an empty negative prompt": (SD, {"negative_prompt": ""}),
    "no guidance": (SD, {"guidance_scale": 1.0}),
    "no guidance by the picture": (SD, {"image_guidance_scale": 0.9}),
    "a batch, two a prompt": (SD, {**TWO, "num_images_per_prompt": 2}),
    "two pictures": (SD, {**TWO, "image": [picture(), TURNED]}),
    "two pictures, a list of generators": (SD, {**EACH, "image": [picture(), TURNED]}),
    "not square": (SD, {"image": picture(100, 70)}),
    "a picture as latents": (SD, {"image": normal(5, 1, 4, 8, 8)}),
    "latents": (SD, {"latents": normal(6, 1, 4, 8, 8)}),
    "embeddings": (SD, embeds(32)),
    "noise in each step": (SD, {"eta": 0.7}),
    "xl": (XL, {}),
    "xl, a negative prompt": (XL, {"negative_prompt": "ugly", "negative_prompt_2": "blurry"}),
    "xl, no guidance": (XL, {"guidance_scale": 1.0}),
    "xl, rescaled": (XL, {"guidance_rescale": 0.7}),
    "xl, a batch, two a prompt": (XL, {**TWO, "num_images_per_prompt": 2}),
    "xl, two pictures": (XL, {**EACH, "image": [picture(), TURNED]}),
    "xl, not square": (XL, {"height": 64, "width": 96}),
    "xl, sizes": (XL, {"original_size": (32, 48), "crops_coords_top_left": (4, 8)}),
    "xl, an early end": (XL, {"denoising_end": 0.6}),
    "xl of embeddings": (XL, XL_EMBEDS),
    "cosxl": (COSXL, {}),
    "cosxl, a batch": (COSXL, {**TWO, "prompt_2": ["a", "the"]}),
}


def make(kind):
    if kind == SD:
        return tiny_pipeline("sd15_edit", StableDiffusionInstructPix2PixPipeline)
    return tiny_sdxl("sdxl_edit", is_cosxl_edit=kind == COSXL)


@pytest.fixture(scope="module")
def theirs():
    """Gives pipelines of Diffusers by kind."""
    return {kind: make(kind) for kind in (SD, XL, COSXL)}


def drawn(call):
    """Gives the arguments with fresh generators."""
    seeds = call.get("generator", 0)
    several = isinstance(seeds, list)
    made = [generator(each) for each in seeds] if several else generator(seeds)
    usual = {"prompt": "a red cat", "image": picture(), "num_inference_steps": 3}
    return {**usual, **call, "generator": made}


def difference(pipe, call, **changes):
    """Gives the largest difference of the latents and of the pictures."""
    with warnings.catch_warnings():
        # Diffusers warns that one picture for two prompts will once be an error.
        warnings.simplefilter("ignore", FutureWarning)
        latents = pipe(**drawn(call), output_type="latent").images
        images = pipe(**drawn(call), output_type="pt").images
    ours = quiet(InferencePipeline.from_diffusers(pipe))
    result = ours(**drawn({**call, **changes}), output_type="pt")
    return (
        float((result.latents - latents).abs().max()),
        float((result.images - images).abs().max()),
    )


@pytest.mark.parametrize("name", CELLS)
def test_the_numbers_are_those_of_diffusers(theirs, name):
    kind, call = CELLS[name]
    assert difference(theirs[kind], call) == (0.0, 0.0)


CHANGES = {
    "the prompt": (SD, {"prompt": "a blue dog"}),
    "the picture": (SD, {"image": TURNED}),
    "guidance": (SD, {"guidance_scale": 7.6}),
    "guidance by the picture": (XL, {"image_guidance_scale": 1.6}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_difference_would_be_seen(theirs, name):
    kind, change = CHANGES[name]
    assert min(difference(theirs[kind], {}, **change)) > 1e-5


@pytest.mark.parametrize("scheduler", [DDIMScheduler, EulerAncestralDiscreteScheduler])
def test_other_schedulers(theirs, scheduler):
    pipe = theirs[SD]
    usual = pipe.scheduler
    try:
        pipe.scheduler = scheduler.from_config(usual.config)
        assert difference(pipe, {}) == (0.0, 0.0)
    finally:
        pipe.scheduler = usual


@pytest.mark.parametrize("kind", [SD, XL, COSXL])
def test_a_model_on_disk(theirs, tmp_path, kind):
    pipe = theirs[kind]
    if kind == COSXL:  # of which Diffusers saves nothing that says so
        InferencePipeline.from_diffusers(pipe).save_pretrained(tmp_path)
    else:
        pipe.save_pretrained(tmp_path)
    ours = quiet(InferencePipeline.from_pretrained(tmp_path))
    for module in ours.modules().values():
        for parameter in module.parameters():
            parameter.data = parameter.data.clone()  # from odd addresses to even ones
    expected = pipe(**drawn({}), output_type="pt").images
    assert (ours(**drawn({}), output_type="pt").images - expected).abs().max() == 0.0


def test_what_does_not_go_together_is_refused(theirs):
    ours = quiet(InferencePipeline.from_diffusers(theirs[SD]))
    with pytest.raises(MissingInputError, match="'image'"):
        ours(prompt="a cat")
    with pytest.raises(InputError, match="image_guidance_scale"):
        ours(**drawn({"image_guidance_scale": float("nan")}))
    with pytest.raises(UnknownInputError, match="'strength'"):
        ours(**drawn({"strength": 0.5}))
