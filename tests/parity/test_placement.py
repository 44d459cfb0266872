"""Half precision, tiles and slices give the numbers of Diffusers with the same set."""

from __future__ import annotations

import pytest
import torch
from diffusers import (
    StableDiffusionXLControlNetInpaintPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInpaintPipeline,
)

from tests.pipelines.conftest import generator, quiet
from tests.pipelines.pictures import mask, picture
from tests.tiny_controlnets import tiny_controlnet, with_controlnet
from tests.tiny_flux import tiny_flux
from tests.tiny_flux2 import tiny_flux2
from tests.tiny_models import tiny_pipeline
from tests.tiny_sd3 import tiny_sd3
from tests.tiny_sdxl import tiny_sdxl
from yggdrasil import InferencePipeline

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore:.upcast_vae. is deprecated:FutureWarning"),
]

CONTROL_INPAINT = StableDiffusionXLControlNetInpaintPipeline
IMG2IMG, INPAINT = StableDiffusionXLImg2ImgPipeline, StableDiffusionXLInpaintPipeline
PICTURE = {"image": picture(), "strength": 0.7}
MASKED = {"image": picture(), "mask_image": mask(), "strength": 0.8}
EMBEDS = {
    "prompt": None,
    "prompt_embeds": torch.randn(1, 77, 72, generator=generator(1)),
    "pooled_prompt_embeds": torch.randn(1, 24, generator=generator(2)),
    "negative_prompt_embeds": torch.randn(1, 77, 72, generator=generator(3)),
    "negative_pooled_prompt_embeds": torch.randn(1, 24, generator=generator(4)),
}
SDXL = {
    "txt2img": ("sdxl", None, {}),
    "embeddings in float32": ("sdxl", None, EMBEDS),
    "img2img": ("sdxl", IMG2IMG, PICTURE),
    "inpaint": ("sdxl", INPAINT, MASKED),
    "nine channels": ("sdxl_inpaint", None, MASKED),
    "a list of generators": (
        "sdxl", IMG2IMG,
        {**PICTURE, "prompt": ["a cat", "a dog"], "generator": [generator(1), generator(2)]},
    ),
}  # fmt: skip
LAYERS = {"text_encoder_out_layers": (1, 2, 3), "max_sequence_length": 24}
OTHERS = {
    "sd15": (tiny_pipeline, {}),
    "sd3": (tiny_sd3, {}),
    "flux": (tiny_flux, {}),
    "flux2": (lambda: tiny_flux2("flux2"), {"image": [picture()], **LAYERS}),
    "flux2_klein": (lambda: tiny_flux2("flux2_klein"), LAYERS),
}


def call_of(arguments):
    """Gives the arguments of a call with a generator that nothing was drawn from."""
    draws = arguments.get("generator")
    draws = generator(0) if draws is None else [each.clone_state() for each in draws]
    return {"prompt": "a cat", "num_inference_steps": 2, **arguments, "generator": draws}


def expect_equal(pipe, arguments):
    """Compares the pictures and the latents of both, on the same modules."""
    ours = quiet(InferencePipeline.from_diffusers(pipe))
    for _ in range(2):  # what the first call leaves behind must not change the second
        latents = pipe(**call_of(arguments), output_type="latent").images
        expected = pipe(**call_of(arguments), output_type="pt").images
        undecoded = ours(**call_of(arguments), output_type="latent").images
        assert undecoded.dtype == latents.dtype
        assert torch.equal(undecoded, latents)
        assert torch.equal(ours(**call_of(arguments), output_type="pt").images, expected)
        assert expected.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", SDXL)
def test_sdxl_in_half_precision(name, dtype):
    kind, cls, call = SDXL[name]
    expect_equal(tiny_sdxl(kind, cls).to(dtype), call)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    "family",
    ["sd15", "sd3", "flux2", "flux2_klein", pytest.param("flux", marks=pytest.mark.slow)],
)
def test_others_in_half_precision(family, dtype):
    make, call = OTHERS[family]
    expect_equal(make().to(dtype), call)


def test_a_vae_that_needs_no_float32_stays_in_half_precision():
    pipe = tiny_sdxl().to(torch.float16)
    pipe.vae.register_to_config(force_upcast=False)
    expect_equal(pipe, {})


def on_the_way(call):
    """Gives a call that takes latents up in the middle of the schedule, whatever the strength."""
    kept = {name: value for name, value in call.items() if name != "strength"}
    return {**kept, "denoising_start": 0.3}


LATENTS = torch.randn(1, 4, 8, 8, generator=generator(5))
CONTROLLED = {**MASKED, "control_image": picture(seed=3), "height": 64, "width": 64}
MIXED = {
    "img2img": ("sdxl", IMG2IMG, PICTURE),
    "img2img on the way": ("sdxl", IMG2IMG, on_the_way(PICTURE)),
    "inpaint": ("sdxl", INPAINT, MASKED),
    "inpaint on the way": ("sdxl", INPAINT, on_the_way(MASKED)),
    "nine channels on the way": ("sdxl_inpaint", None, on_the_way(MASKED)),
    "controlled": ("sdxl", CONTROL_INPAINT, CONTROLLED),
    "controlled on the way": ("sdxl", CONTROL_INPAINT, on_the_way(CONTROLLED)),
}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", MIXED)
def test_a_vae_in_float32_beside_a_model_in_half_precision(name, dtype):
    kind, cls, call = MIXED[name]
    pipe = tiny_sdxl(kind, None if cls is CONTROL_INPAINT else cls)
    if cls is CONTROL_INPAINT:
        pipe = with_controlnet(pipe, cls, tiny_controlnet(pipe.unet), add_watermarker=False)
    pipe.to(dtype)
    ours = quiet(InferencePipeline.from_diffusers(pipe))
    outputs = {"latent": "latents", "pt": "images"}
    if dtype == torch.bfloat16:
        # There Diffusers, which has cast the VAE for good, decodes in half precision. Here it stays
        # what the caller made it.
        del outputs["pt"]
    for output, found in outputs.items():
        # Diffusers leaves the VAE in half precision, from which its weights are the same.
        pipe.vae.float()
        expected = pipe(**call_of({**call, "num_inference_steps": 4}), output_type=output).images
        pipe.vae.float()
        made = getattr(
            ours(**call_of({**call, "num_inference_steps": 4}), output_type=output), found
        )
        # ControlNet's pipeline hands out latents as widened for the VAE, which loses nothing.
        assert made.dtype == (dtype if output == "latent" else torch.float32)
        assert torch.equal(made.to(expected.dtype), expected)
        assert pipe.vae.dtype == torch.float32


def test_latents_that_are_taken_up_on_their_way_are_rounded_to_the_model():
    pipe = tiny_sdxl(cls=IMG2IMG).to(torch.float16)
    pipe.vae.float()
    ours = quiet(InferencePipeline.from_diffusers(pipe))
    call = {"image": LATENTS, "denoising_start": 0.3, "num_inference_steps": 4}
    expected = pipe(**call_of(call), output_type="latent").images
    assert torch.equal(ours(**call_of(call)).latents, expected)


def test_a_vae_is_as_it_was_afterwards():
    pipe = tiny_sdxl(cls=IMG2IMG).to(torch.float16)
    ours = quiet(InferencePipeline.from_diffusers(pipe))
    before = [each.data_ptr() for each in pipe.vae.parameters()]
    ours(**call_of(PICTURE))
    assert [each.data_ptr() for each in pipe.vae.parameters()] == before
    assert pipe.vae.dtype == torch.float16
