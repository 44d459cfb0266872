"""What the matrix cannot say of InstructPix2Pix."""

from __future__ import annotations

import pytest
from diffusers import StableDiffusionInstructPix2PixPipeline

from tests.pipelines.conftest import generator, quiet
from tests.pipelines.pictures import picture
from tests.tiny_models import tiny_pipeline
from tests.tiny_sdxl import tiny_sdxl
from yggdrasil import InferencePipeline
from yggdrasil.core.errors import InputError, MissingInputError, UnknownInputError

pytestmark = pytest.mark.parity

SD, XL, COSXL = "sd", "xl", "cosxl"
TURNED = picture().rotate(90)


def make(kind):
    if kind == SD:
        return tiny_pipeline("sd15_edit", StableDiffusionInstructPix2PixPipeline)
    return tiny_sdxl("sdxl_edit", is_cosxl_edit=kind == COSXL)


@pytest.fixture(scope="module")
def theirs():
    """Gives pipelines of Diffusers by kind."""
    return {kind: make(kind) for kind in (SD, XL, COSXL)}


def drawn(call):
    """Gives the arguments with a fresh generator."""
    usual = {"prompt": "a red cat", "image": picture(), "num_inference_steps": 3}
    return {**usual, **call, "generator": generator()}


def difference(pipe, call, **changes):
    """Gives the largest difference of the latents and of the pictures."""
    latents = pipe(**drawn(call), output_type="latent").images
    images = pipe(**drawn(call), output_type="pt").images
    ours = quiet(InferencePipeline.from_diffusers(pipe))
    result = ours(**drawn({**call, **changes}), output_type="pt")
    return (
        float((result.latents - latents).abs().max()),
        float((result.images - images).abs().max()),
    )


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


def test_a_saved_pipeline_says_that_it_is_cosxl(theirs, tmp_path):
    # Of which Diffusers saves nothing.
    pipe = theirs[COSXL]
    InferencePipeline.from_diffusers(pipe).save_pretrained(tmp_path)
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
