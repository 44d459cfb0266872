"""Half precision, tiles and slices give the numbers of Diffusers with the same set."""

from __future__ import annotations

import pytest
import torch
from diffusers import StableDiffusionXLImg2ImgPipeline, StableDiffusionXLInpaintPipeline

from tests.pipelines.conftest import generator, quiet
from tests.pipelines.pictures import mask, picture
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


def test_a_vae_is_as_it_was_afterwards():
    pipe = tiny_sdxl(cls=IMG2IMG).to(torch.float16)
    ours = quiet(InferencePipeline.from_diffusers(pipe))
    before = [each.data_ptr() for each in pipe.vae.parameters()]
    ours(**call_of(PICTURE))
    assert [each.data_ptr() for each in pipe.vae.parameters()] == before
    assert pipe.vae.dtype == torch.float16
