"""Stable Diffusion 3 and 3.5 from a template give the numbers of Diffusers' pipelines."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import (
    DEISMultistepScheduler,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
    FlowMatchLCMScheduler,
    StableDiffusion3Img2ImgPipeline,
    StableDiffusion3InpaintPipeline,
    UniPCMultistepScheduler,
)

from tests.pipelines.conftest import generator, quiet
from tests.pipelines.pictures import mask, picture
from tests.tiny_sd3 import KINDS, tiny_sd3
from yggdrasil import InferencePipeline
from yggdrasil.core.errors import MissingInputError

pytestmark = pytest.mark.parity

IMG2IMG, INPAINT = StableDiffusion3Img2ImgPipeline, StableDiffusion3InpaintPipeline
STEPS = {"num_inference_steps": 3}
PICTURE = {"image": picture(), "strength": 0.7}
MASKED = {"image": picture(), "mask_image": mask()}
BATCH = {"prompt": ["a cat", "a dog"], "negative_prompt": ["", "ugly"], "num_images_per_prompt": 2}
LATENTS = torch.randn(1, 16, 8, 8, generator=generator(8))
SKIPPED = {
    "skip_guidance_layers": [0, 1], "skip_layer_guidance_start": 0.1,
    "skip_layer_guidance_stop": 0.7, "num_inference_steps": 5,
}  # fmt: skip

CELLS = {
    "a prompt": ("sd3", None, {}),
    "3.5": ("sd35", None, {}),
    "without T5": ("sd3_no_t5", None, {"max_sequence_length": 20, **BATCH}),
    "a negative prompt": ("sd3", None, {"negative_prompt": "a dog"}),
    "an empty negative prompt": ("sd3", None, {"negative_prompt": ""}),
    "a third negative prompt alone": ("sd3", None, {"negative_prompt_3": "a dog"}),
    "prompts for each encoder": (
        "sd3", None,
        {
            "prompt_2": "a red dog", "prompt_3": "on the house", "negative_prompt": "ugly",
            "negative_prompt_2": "blurry", "negative_prompt_3": "the house",
        },
    ),
    "a layer less, few tokens": ("sd3", None, {"clip_skip": 1, "max_sequence_length": 9}),
    "a batch, two a prompt": ("sd3", None, BATCH),
    "a list of generators": ("sd35", None, {"prompt": ["a cat", "a dog"], "generator": [1, 2]}),
    "no guidance": ("sd3", None, {"guidance_scale": 1.0}),
    "not square": ("sd35", None, {"height": 64, "width": 96}),
    "a height alone": ("sd3", None, {"height": 96}),
    "a shift": ("sd35", None, {"mu": 0.7}),
    "latents": ("sd3", None, {"latents": LATENTS}),
    "latents of another size": (
        "sd35", None, {"latents": torch.randn(1, 16, 8, 12, generator=generator(8))}
    ),
    "noise levels": ("sd35", None, {"sigmas": [1.0, 0.6, 0.2]}),
    "skipped layers": ("sd35", None, SKIPPED),
    "skipped layers, a batch": (
        "sd3", None, {**BATCH, **SKIPPED, "skip_layer_guidance_scale": 1.5}
    ),
    "skipped layers without guidance": ("sd35", None, {**SKIPPED, "guidance_scale": 1.0}),
    "embeddings": (
        "sd3", None,
        {
            "prompt": None,
            "prompt_embeds": torch.randn(1, 90, 80, generator=generator(1)),
            "pooled_prompt_embeds": torch.randn(1, 64, generator=generator(2)),
            "negative_prompt_embeds": torch.randn(1, 90, 80, generator=generator(3)),
            "negative_pooled_prompt_embeds": torch.randn(1, 64, generator=generator(4)),
        },
    ),
    "a picture": ("sd3", IMG2IMG, PICTURE),
    "a picture, part of a step": (
        "sd35", IMG2IMG, {"image": picture(), "strength": 0.63, "num_inference_steps": 7}
    ),
    "a picture brought to a size": ("sd35", IMG2IMG, {**PICTURE, "height": 64, "width": 96}),
    "a picture, all anew": ("sd3", IMG2IMG, {**PICTURE, "strength": 1.0}),
    "a picture, a batch": ("sd3", IMG2IMG, {**PICTURE, **BATCH}),
    "two pictures, a list of generators": (
        "sd3", IMG2IMG,
        {
            "prompt": ["a cat", "a dog"], "generator": [1, 2],
            "image": [picture(), picture(seed=8)],
        },
    ),
    "a picture as latents": ("sd3", IMG2IMG, {"image": LATENTS}),
    "latents in the place of a picture": ("sd3", IMG2IMG, {**PICTURE, "latents": LATENTS}),
    "noise levels from a picture": ("sd35", IMG2IMG, {**PICTURE, "sigmas": [1.0, 0.6, 0.2]}),
    "33 channels": ("sd3_inpaint", None, MASKED),
    "33 channels, a batch": ("sd3_inpaint", None, {**MASKED, **BATCH}),
    "33 channels, a list of generators": (
        "sd3_inpaint", None, {**MASKED, "prompt": ["a cat", "a dog"], "generator": [1, 2]}
    ),
    "33 channels, masked latents": (
        "sd3_inpaint", None, {**MASKED, "masked_image_latents": LATENTS}
    ),
    "a mask": ("sd3", INPAINT, {**MASKED, "strength": 0.8}),
    "a mask of another size": ("sd35", INPAINT, {**MASKED, "height": 96, "width": 64}),
    "a mask, all anew": ("sd3", INPAINT, {**MASKED, "strength": 1.0}),
    "a mask and latents": ("sd3", INPAINT, {**MASKED, "latents": LATENTS}),
    "a mask, a batch": ("sd3", INPAINT, {**MASKED, **BATCH}),
    "two masks, a list of generators": (
        "sd3", INPAINT,
        {
            "prompt": ["a cat", "a dog"], "generator": [1, 2],
            "image": [picture(), picture(seed=8)], "mask_image": [mask(), mask()],
        },
    ),
}  # fmt: skip


FLOW = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0}
EULER = FlowMatchEulerDiscreteScheduler
SCHEDULERS = {
    "karras": EULER(shift=3.0, use_karras_sigmas=True),
    "exponential": EULER(shift=3.0, use_exponential_sigmas=True),
    "beta": EULER(shift=3.0, use_beta_sigmas=True),
    "terminal": EULER(shift=3.0, shift_terminal=0.1),
    "linear": EULER(use_dynamic_shifting=True, time_shift_type="linear", base_image_seq_len=4),
    "heun": FlowMatchHeunDiscreteScheduler(shift=3.0),
    "dpmpp_2m": DPMSolverMultistepScheduler(**FLOW),
    # It does not say how far the largest picture is shifted: the pipeline does.
    "dpmpp_2m shifted": DPMSolverMultistepScheduler(**FLOW, use_dynamic_shifting=True),
    "deis": DEISMultistepScheduler(**FLOW),
    "unipc": UniPCMultistepScheduler(**FLOW),
}
DRAWING = {
    "stochastic": EULER(shift=3.0, stochastic_sampling=True),
    "lcm": FlowMatchLCMScheduler(shift=3.0),
    "dpmpp_2m_sde": DPMSolverMultistepScheduler(**FLOW, algorithm_type="sde-dpmsolver++"),
}


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

    def pipeline(kind, cls=None):
        if (kind, cls) not in made:
            made[kind, cls] = tiny_sd3(kind, cls)
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


@pytest.mark.parametrize("kind", ["sd3", "sd3_inpaint"])
def test_a_mask_around_a_part(theirs, kind):
    pipe = theirs(kind, INPAINT)
    call = {**MASKED, "padding_mask_crop": 4}
    ours = quiet(InferencePipeline.from_diffusers(pipe))
    expected = pipe(**drawn(call)).images[0]
    assert np.array_equal(ours(**drawn(call)).images[0], expected)


@pytest.mark.parametrize(
    "change",
    [
        {"prompt_3": "a dog"},
        {"max_sequence_length": 255},
        {"skip_layer_guidance_scale": 2.9},
        {"skip_layer_guidance_stop": 0.5},
        {"mu": 0.6},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_difference_would_be_seen(theirs, change):
    pipe = theirs("sd35")
    ours = quiet(InferencePipeline.from_diffusers(pipe))
    expected = pipe(**drawn(SKIPPED), output_type="pt").images
    assert (ours(**drawn(SKIPPED), output_type="pt").images - expected).abs().max() == 0.0
    other = ours(**drawn({**SKIPPED, **change}), output_type="pt").images
    assert (other - expected).abs().max() > 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_on_disk(tmp_path, theirs, kind):
    # Against the pipeline that was saved: Diffusers' own reading leaves weights where the file has
    # them in memory, and products of matrices differ by 2e-6 with where their operands lie.
    pipe = theirs(kind)
    pipe.save_pretrained(tmp_path)
    ours = quiet(InferencePipeline.from_pretrained(tmp_path))
    call = MASKED if kind == "sd3_inpaint" else {}
    expected = pipe(**drawn(call), output_type="pt").images
    assert (ours(**drawn(call), output_type="pt").images - expected).abs().max() == 0.0


@pytest.mark.parametrize("call", [{}, SKIPPED], ids=["plain", "skipped layers"])
def test_a_callback_replaces_what_the_loop_reads(theirs, call):
    def change(pipe, step, timestep, values):
        if step == 1:
            return {name: 1.1 * tensor for name, tensor in values.items()}
        return {}

    names = ["latents", "prompt_embeds", "pooled_prompt_embeds"]
    pipe = theirs("sd3")
    with_change = {
        **call, "callback_on_step_end": change, "callback_on_step_end_tensor_inputs": names
    }  # fmt: skip
    ours = quiet(InferencePipeline.from_diffusers(pipe))
    expected = pipe(**drawn(with_change), output_type="latent").images
    assert (ours(**drawn(with_change)).latents - expected).abs().max() == 0.0
    assert (ours(**drawn(call)).latents - expected).abs().max() > 1e-3


def test_a_callback_ends_all_guidance(theirs):
    def cut(pipe, step, timestep, values):
        if step == 1:
            pipe._guidance_scale = 0.0
            return {name: tensor.chunk(2)[1] for name, tensor in values.items()}
        return {}

    call = {
        **SKIPPED, "callback_on_step_end": cut,
        "callback_on_step_end_tensor_inputs": ["prompt_embeds", "pooled_prompt_embeds"],
    }  # fmt: skip
    pipe = theirs("sd35")
    ours = quiet(InferencePipeline.from_diffusers(pipe))
    expected = pipe(**drawn(call), output_type="latent").images
    assert (ours(**drawn(call)).latents - expected).abs().max() == 0.0
    assert (ours(**drawn(SKIPPED)).latents - expected).abs().max() > 1e-3


@pytest.mark.slow  # the same
@pytest.mark.parametrize("cls", [None, IMG2IMG, INPAINT], ids=["noise", "picture", "mask"])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_schedulers(name, cls):
    pipe = tiny_sd3("sd3", cls)
    pipe.scheduler = SCHEDULERS[name]
    call = {None: {}, IMG2IMG: PICTURE, INPAINT: MASKED}[cls]
    if cls and not hasattr(pipe.scheduler, "scale_noise"):
        with pytest.raises(AttributeError, match="has no attribute 'scale_noise'"):
            pipe(**drawn(call))
        return
    ours = quiet(InferencePipeline.from_diffusers(pipe))
    expected = pipe(**drawn(call), output_type="latent").images
    assert (ours(**drawn(call)).latents - expected).abs().max() == 0.0


@pytest.mark.parametrize("name", DRAWING)
def test_schedulers_that_draw(name):
    # In its loop Diffusers draws from PyTorch's own generator, whichever it is given; here the
    # generator that is given makes that noise too.
    pipe = tiny_sd3("sd3")
    pipe.scheduler = DRAWING[name]
    ours = quiet(InferencePipeline.from_diffusers(pipe))
    call = {"prompt": "a cat", **STEPS}
    torch.manual_seed(4)
    expected = pipe(**call, output_type="latent").images
    torch.manual_seed(4)
    assert (ours(**call).latents - expected).abs().max() == 0.0
    first, second = (ours(**drawn({})).latents for _ in range(2))
    assert torch.equal(first, second)


def test_embeddings_of_one_kind_alone_are_too_few(theirs):
    ours = quiet(InferencePipeline.from_diffusers(theirs("sd3")))
    with pytest.raises(MissingInputError, match="needs the input 'pooled_prompt_embeds'"):
        ours(prompt_embeds=torch.zeros(1, 90, 80))
