"""What the matrix cannot say of FLUX.2."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import Flux2KleinInpaintPipeline
from diffusers.image_processor import VaeImageProcessor

from tests.pipelines.conftest import generator, quiet
from tests.pipelines.pictures import mask, picture
from tests.tiny_flux2 import tiny_flux2
from yggdrasil import InferencePipeline
from yggdrasil.core.errors import InputError, UnknownInputError

pytestmark = pytest.mark.parity

DEV, KLEIN, DISTILLED, INPAINT = "flux2", "flux2_klein", "distilled", "inpaint"
MADE = {
    DEV: {"kind": DEV},
    KLEIN: {"kind": KLEIN},
    DISTILLED: {"kind": KLEIN, "is_distilled": True},
    INPAINT: {"kind": KLEIN, "cls": Flux2KleinInpaintPipeline},
}


def normal(seed, *shape):
    return torch.randn(*shape, generator=generator(seed))


LAYERS = "text_encoder_out_layers"
EMBEDS = {
    "prompt": None, "max_sequence_length": None, LAYERS: None,
    "prompt_embeds": normal(1, 2, 24, 48),
}  # fmt: skip
UNLIKE = {"negative_prompt_embeds": normal(2, 2, 24, 48)}
MASKED = {"image": picture(), "mask_image": mask()}
WIDE, TALL = picture(100, 70), picture(64, 130, seed=3)


def drawn(call):
    """Gives the arguments with a fresh generator."""
    usual = {
        "prompt": "a cat", "height": 64, "width": 64, "num_inference_steps": 3,
        "max_sequence_length": 64, LAYERS: (1, 2, 3),
    }  # fmt: skip
    if "mask_image" in call:  # whose picture decides the size
        del usual["height"], usual["width"]
    given = {**usual, **call, "generator": generator()}
    encodes = ("max_sequence_length", LAYERS)
    return {k: v for k, v in given.items() if v is not None or k not in encodes}


@pytest.fixture(scope="module")
def theirs():
    """Gives pipelines of Diffusers by kind, made once."""
    made = {}

    def pipeline(kind=DEV):
        if kind not in made:
            made[kind] = tiny_flux2(**MADE[kind])
        return made[kind]

    return pipeline


def difference(pipe, call, **changes):
    """Gives the largest difference of undecoded latents, of those of the loop, of pictures."""
    seen = []

    def remember(_, __, ___, values):
        seen.append(values["latents"])
        return {}

    ours = quiet(InferencePipeline.from_diffusers(pipe))
    latents = pipe(**drawn(call), output_type="latent").images
    images = pipe(**drawn(call), output_type="pt", callback_on_step_end=remember).images
    changed = {**call, **changes}
    result = ours(**drawn(changed), output_type="pt")
    return (
        float((ours(**drawn(changed), output_type="latent").images - latents).abs().max()),
        float((result.latents - seen[-1]).abs().max()),
        float((result.images - images).abs().max()),
    )


CHANGES = {
    "guidance_scale": (DEV, {}, {"guidance_scale": 4.1}),
    "a guidance scale of klein": (KLEIN, {}, {"guidance_scale": 4.01}),
    "the prompt": (DEV, {}, {"prompt": "a dog"}),
    "the layers": (DEV, {}, {LAYERS: (1, 3, 2)}),
    "the order of references": (DEV, {"image": [WIDE, TALL]}, {"image": [TALL, WIDE]}),
    "embeddings to go away from": (
        KLEIN, {**EMBEDS, **UNLIKE}, {"negative_prompt_embeds": normal(3, 2, 24, 48)}
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_a_difference_would_be_seen(theirs, name):
    kind, call, change = CHANGES[name]
    assert min(difference(theirs(kind), call, **change)) > 1e-5


@pytest.mark.parametrize(("kind", "layers"), [(DEV, 31), (KLEIN, 28)])
def test_the_layers_are_those_that_each_model_reads(kind, layers):
    pipe = tiny_flux2(kind, layers=layers)
    assert difference(pipe, {"num_inference_steps": 1, LAYERS: None}) == (0.0, 0.0, 0.0)


def test_a_model_that_was_saved_here(theirs, tmp_path):
    first = quiet(InferencePipeline.from_diffusers(theirs(KLEIN)))
    first.save_pretrained(tmp_path)
    again = quiet(InferencePipeline.from_pretrained(tmp_path))
    for module in again.modules().values():
        for parameter in module.parameters():
            parameter.data = parameter.data.clone()  # from odd addresses to even ones
    images = [each(**drawn({"image": WIDE}), output_type="pt").images for each in (first, again)]
    assert torch.equal(*images)


@pytest.mark.parametrize("kind", [DEV, KLEIN])
def test_a_callback_changes_latents_and_prompt(theirs, kind):
    def change(_, step, __, values):
        if step != 1:
            return {}
        return {"latents": values["latents"] * 0.9, "prompt_embeds": values["prompt_embeds"] * 0.5}

    pipe = theirs(kind)
    changing = {
        "callback_on_step_end": change,
        "callback_on_step_end_tensor_inputs": ["latents", "prompt_embeds"],
    }
    expected = pipe(**drawn(changing), output_type="pt").images
    ours = quiet(InferencePipeline.from_diffusers(pipe))
    assert (ours(**drawn(changing), output_type="pt").images - expected).abs().max() == 0.0
    assert (ours(**drawn({}), output_type="pt").images - expected).abs().max() > 1e-4


def test_a_distilled_model_says_that_it_is_not_guided(theirs, caplog):
    quiet(InferencePipeline.from_diffusers(theirs(DISTILLED)))(**drawn({}))
    assert "distilled to few steps" in caplog.text


def test_a_painted_part_can_be_made_as_small_as_its_place(theirs, monkeypatch):
    pipe = theirs(INPAINT)
    ours = quiet(InferencePipeline.from_diffusers(pipe))
    ours.graph.replace_node("image", type="processor/vae_image", fitting="resized")
    # Diffusers' processor for FLUX.2 cuts the middle out of what was made.
    right = VaeImageProcessor._resize_and_crop
    monkeypatch.setattr(type(pipe.image_processor), "_resize_and_crop", right)
    call = {**MASKED, "padding_mask_crop": 4}
    assert np.array_equal(ours(**drawn(call)).images[0], pipe(**drawn(call)).images[0])


def test_what_does_not_go_together_is_refused(theirs):
    ours = quiet(InferencePipeline.from_diffusers(theirs()))
    with pytest.raises(InputError, match="32 pixels wide and 90 high"):
        ours(**drawn({"image": picture(32, 90)}))
    with pytest.raises(InputError, match="no side more than 8 times"):
        ours(**drawn({"image": picture(640, 64)}))
    with pytest.raises(InputError, match="works on one PIL picture"):
        ours(**drawn({"image": np.zeros((64, 64, 3))}))
    with pytest.raises(InputError, match="layer 4, but the model has 4, 0 to 3"):
        ours(**drawn({LAYERS: (1, 2, 4)}))
    with pytest.raises(UnknownInputError, match="'strength'"):
        ours(**drawn({"strength": 0.5}))
    with pytest.raises(UnknownInputError, match=r"generate yourself .* `prompt`"):
        ours(**drawn({"caption_upsample_temperature": 0.15}))
    inpainting = quiet(InferencePipeline.from_diffusers(theirs(INPAINT)))
    with pytest.raises(InputError, match="2 pictures to refer to"):
        inpainting(**drawn({**MASKED, "image_reference": [WIDE, TALL]}))
