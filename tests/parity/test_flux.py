"""FLUX.1 from a template gives the numbers of Diffusers' pipelines."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import (
    FluxControlImg2ImgPipeline,
    FluxControlInpaintPipeline,
    FluxControlPipeline,
    FluxFillPipeline,
    FluxImg2ImgPipeline,
    FluxInpaintPipeline,
    FluxKontextInpaintPipeline,
    FluxKontextPipeline,
)

from tests.pipelines.conftest import generator, quiet
from tests.pipelines.pictures import mask, picture
from tests.tiny_flux import tiny_flux
from yggdrasil import InferencePipeline
from yggdrasil.core.errors import InputError, UnknownInputError
from yggdrasil.core.runtime import Runtime

pytestmark = pytest.mark.parity

IMG2IMG, INPAINT, FILL = FluxImg2ImgPipeline, FluxInpaintPipeline, FluxFillPipeline
KONTEXT, CONTROL, CONTROLLED = FluxKontextPipeline, FluxControlPipeline, FluxControlImg2ImgPipeline
CONTROL_INPAINT, KONTEXT_INPAINT = FluxControlInpaintPipeline, FluxKontextInpaintPipeline


def normal(seed, *shape):
    return torch.randn(*shape, generator=generator(seed))


TWO = {"prompt": ["a cat", "a dog"]}
BATCH = {**TWO, "num_images_per_prompt": 2}
EACH = {**TWO, "generator": [1, 2]}
UNLIKE = {"negative_prompt": "a dog", "true_cfg_scale": 2.0}
PACKED, LATENTS = normal(8, 1, 16, 16), normal(8, 1, 4, 8, 8)
EMBEDS = {
    "prompt": None, "max_sequence_length": None,
    "prompt_embeds": normal(1, 1, 24, 32), "pooled_prompt_embeds": normal(2, 1, 32),
}  # fmt: skip
NEGATIVE_EMBEDS = {
    "negative_prompt_embeds": normal(3, 1, 24, 32),
    "negative_pooled_prompt_embeds": normal(4, 1, 32),
}
TURNED = picture().rotate(90)
ODD = {"height": 70, "width": 90}
PICTURE = {"image": picture(), "strength": 0.7}
MASKED = {"image": picture(), "mask_image": mask()}
SEVERAL = {"image": [picture(), TURNED], "mask_image": [mask(), mask().rotate(90)]}
AREA = {"max_area": 64 * 64}
SEEN = {**AREA, "_auto_resize": False, "image": picture()}
CHANGED = {**MASKED, "_auto_resize": False, "strength": 1.0}
STEER = {"control_image": picture(seed=3)}
STEERED = {**STEER, "image": picture()}

CELLS = {
    "a prompt": ("flux", None, {}),
    "schnell": ("flux_schnell", None, {}),
    "schnell, a negative prompt": ("flux_schnell", None, UNLIKE),
    "a guidance scale": ("flux", None, {"guidance_scale": 1.0}),
    "a negative prompt without a scale": ("flux", None, {"negative_prompt": "a dog"}),
    "a scale without a negative prompt": ("flux", None, {"true_cfg_scale": 2.0}),
    "a negative prompt": ("flux", None, UNLIKE),
    "an empty negative prompt": ("flux", None, {**UNLIKE, "negative_prompt": ""}),
    "a second negative prompt alone": (
        "flux", None, {"negative_prompt_2": "a dog", "true_cfg_scale": 2.0}
    ),
    "prompts for each encoder": (
        "flux", None, {**UNLIKE, "prompt_2": "a red dog", "negative_prompt_2": "blurry"}
    ),
    "a batch, two a prompt": ("flux", None, BATCH),
    "a batch of negative prompts": ("flux", None, {**TWO, **UNLIKE, "negative_prompt": ["", "a"]}),
    "a list of generators": ("flux", None, EACH),
    "not square": ("flux", None, {"width": 96}),
    "no multiple": ("flux", None, ODD),
    "noise levels": ("flux", None, {"sigmas": [1.0, 0.7, 0.2]}),
    "latents": ("flux", None, {"latents": PACKED}),
    "embeddings": ("flux", None, EMBEDS),
    "negative embeddings": (
        "flux", None, {**EMBEDS, **NEGATIVE_EMBEDS, "true_cfg_scale": 2.0}
    ),
    "a picture": ("flux", IMG2IMG, PICTURE),
    "a picture, part of a step": ("flux", IMG2IMG, {**PICTURE, "num_inference_steps": 7}),
    "a picture, schnell": ("flux_schnell", IMG2IMG, {**PICTURE, "strength": 1.0}),
    "a picture and a negative prompt": ("flux", IMG2IMG, {**PICTURE, **UNLIKE}),
    "a picture, a batch": ("flux", IMG2IMG, {**PICTURE, **BATCH}),
    "two pictures": ("flux", IMG2IMG, {**EACH, "image": [picture(), TURNED]}),
    "a picture of no multiple": ("flux", IMG2IMG, {**PICTURE, **ODD}),
    "a picture as latents": ("flux", IMG2IMG, {**PICTURE, "image": LATENTS}),
    "latents beside a picture": ("flux", IMG2IMG, {**PICTURE, "latents": PACKED}),
    "a mask": ("flux", INPAINT, MASKED),
    "a mask, all anew": ("flux", INPAINT, {**MASKED, **UNLIKE, "strength": 1.0}),
    "a mask, a batch": ("flux", INPAINT, {**MASKED, **BATCH}),
    "two masks": ("flux", INPAINT, {**SEVERAL, **EACH}),
    "a mask of no multiple": ("flux", INPAINT, {**MASKED, **ODD}),
    "noise beside a mask": ("flux", INPAINT, {**MASKED, "latents": LATENTS}),
    "fill": ("flux_fill", FILL, MASKED),
    "fill a part": ("flux_fill", FILL, {**MASKED, "strength": 0.7}),
    "fill, a batch": ("flux_fill", FILL, {**MASKED, **BATCH}),
    "fill two": ("flux_fill", FILL, {**SEVERAL, **EACH}),
    "fill of no multiple": ("flux_fill", FILL, {**MASKED, **ODD}),
    "fill with latents": ("flux_fill", FILL, {**MASKED, "latents": PACKED}),
    "kontext without a picture": ("flux", KONTEXT, AREA),
    "kontext": ("flux", KONTEXT, SEEN),
    "kontext at a size of training": (
        "flux", KONTEXT, {**SEEN, "_auto_resize": True, "num_inference_steps": 1}
    ),
    "kontext, not square": (
        "flux", KONTEXT, {**SEEN, "image": picture(100, 50), "width": 128, "height": 40}
    ),
    "kontext and a negative prompt": ("flux", KONTEXT, {**SEEN, **UNLIKE}),
    "kontext, a batch": ("flux", KONTEXT, {**SEEN, **BATCH}),
    "kontext of two": ("flux", KONTEXT, {**SEEN, **EACH, "image": [picture(), TURNED]}),
    "kontext of latents": ("flux", KONTEXT, {**AREA, "image": LATENTS, "latents": PACKED}),
    "control": ("flux_control", CONTROL, STEER),
    "control, a batch": ("flux_control", CONTROL, {**STEER, **BATCH}),
    "control of two": (
        "flux_control", CONTROL, {**BATCH, "control_image": [picture(), TURNED]}
    ),
    "control, a list of generators": ("flux_control", CONTROL, {**STEER, **EACH}),
    "control of no multiple": ("flux_control", CONTROL, {**STEER, **ODD}),
    "control by a tensor": (
        "flux_control", CONTROL, {"control_image": normal(5, 1, 3, 64, 64), "latents": PACKED}
    ),
    "control and a picture": ("flux_control", CONTROLLED, STEERED),
    "control and a picture, a batch": ("flux_control", CONTROLLED, {**STEERED, **BATCH}),
    "control and latents": ("flux_control", CONTROLLED, {**STEERED, "latents": PACKED}),
    "control and a mask": ("flux_control", CONTROL_INPAINT, {**STEER, **MASKED}),
    "control and a mask, all anew": (
        "flux_control", CONTROL_INPAINT, {**STEER, **MASKED, "strength": 1.0}
    ),
    "control and a mask, a batch": ("flux_control", CONTROL_INPAINT, {**STEER, **MASKED, **BATCH}),
    "control and two masks": ("flux_control", CONTROL_INPAINT, {**STEER, **SEVERAL, **EACH}),
    "control and a mask, no multiple": (
        "flux_control", CONTROL_INPAINT, {**STEER, **MASKED, **ODD}
    ),
    "kontext and a mask": ("flux", KONTEXT_INPAINT, CHANGED),
    "kontext and a mask, in part": ("flux", KONTEXT_INPAINT, {**CHANGED, "strength": 0.7}),
    "kontext and a mask, a negative prompt": ("flux", KONTEXT_INPAINT, {**CHANGED, **UNLIKE}),
    "kontext and a mask, a batch": ("flux", KONTEXT_INPAINT, {**CHANGED, **BATCH}),
    "kontext and two masks": ("flux", KONTEXT_INPAINT, {**CHANGED, **SEVERAL, **EACH}),
    "kontext, a mask and a reference": (
        "flux", KONTEXT_INPAINT, {**CHANGED, "image_reference": picture(96, 64, seed=3)}
    ),
    "kontext and a mask, not square": (
        "flux", KONTEXT_INPAINT,
        {**CHANGED, "image": picture(100, 70), "mask_image": mask(100, 70)},
    ),
    "kontext and a mask, noise": ("flux", KONTEXT_INPAINT, {**CHANGED, "latents": LATENTS}),
    "kontext and a mask at a size of training": (
        "flux", KONTEXT_INPAINT, {**CHANGED, "_auto_resize": True, "num_inference_steps": 1}
    ),
}  # fmt: skip


def drawn(call):
    """Gives the arguments with fresh generators."""
    seeds = call.get("generator", 0)
    several = isinstance(seeds, list)
    made = [generator(each) for each in seeds] if several else generator(seeds)
    usual = {
        "prompt": "a cat", "height": 64, "width": 64, "num_inference_steps": 3,
        "max_sequence_length": 24,
    }  # fmt: skip
    return {**usual, **call, "generator": made}


@pytest.fixture(scope="module")
def theirs():
    """Gives pipelines of Diffusers by kind and class, made once."""
    made = {}

    def pipeline(kind="flux", cls=None):
        if (kind, cls) not in made:
            made[kind, cls] = tiny_flux(kind, cls)
        return made[kind, cls]

    return pipeline


def difference(pipe, call, **changes):
    """Gives the largest difference of the latents and of the pictures."""
    ours = quiet(InferencePipeline.from_diffusers(pipe))
    latents = pipe(**drawn(call), output_type="latent").images
    images = pipe(**drawn(call), output_type="pt").images
    result = ours(**drawn({**call, **changes}), output_type="pt")
    return (
        float((result.latents - latents).abs().max()),
        float((result.images - images).abs().max()),
    )


@pytest.mark.slow  # the quick cells of the matrix cover them
@pytest.mark.parametrize("name", CELLS)
def test_the_numbers_are_those_of_diffusers(theirs, name):
    kind, cls, call = CELLS[name]
    assert difference(theirs(kind, cls), call) == (0.0, 0.0)


CHANGES = {
    "guidance_scale": ({}, {"guidance_scale": 3.6}),
    "true_cfg_scale": (UNLIKE, {"true_cfg_scale": 2.01}),
    "prompt_2": ({}, {"prompt_2": "a dog"}),
    "prompt": ({"prompt_2": "a dog"}, {"prompt": "a dog"}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_difference_would_be_seen(theirs, name):
    call, change = CHANGES[name]
    latents, images = difference(theirs(), call, **change)
    assert latents > 1e-4
    assert images > 1e-5


@pytest.mark.parametrize("flow", [{"use_dynamic_shifting": False}, {"shift_terminal": 0.02}])
def test_schedulers_of_other_models(flow):
    assert difference(tiny_flux(**flow), {}) == (0.0, 0.0)


def test_steps_that_draw_take_the_global_generator():
    pipe = tiny_flux(stochastic_sampling=True)
    ours = quiet(InferencePipeline.from_diffusers(pipe))
    torch.manual_seed(5)
    expected = pipe(**drawn({}), output_type="latent").images
    torch.manual_seed(5)
    assert (ours(**drawn({})).latents - expected).abs().max() == 0.0
    assert (ours(**drawn({})).latents - expected).abs().max() > 1e-3


def test_a_mask_around_a_part(theirs):
    pipe = theirs("flux", INPAINT)
    call = {**MASKED, "padding_mask_crop": 4}
    ours = quiet(InferencePipeline.from_diffusers(pipe))
    assert np.array_equal(ours(**drawn(call)).images[0], pipe(**drawn(call)).images[0])


@pytest.mark.parametrize("call", [{}, UNLIKE], ids=["plain", "negative"])
def test_a_callback_changes_packed_latents_and_the_positive_prompt(theirs, call):
    def change(_, step, __, values):
        if step != 1:
            return {}
        return {"latents": values["latents"] * 0.9, "prompt_embeds": values["prompt_embeds"] * 0.5}

    changing = {
        **call, "callback_on_step_end": change,
        "callback_on_step_end_tensor_inputs": ["latents", "prompt_embeds"],
    }  # fmt: skip
    pipe = theirs()
    assert difference(pipe, changing) == (0.0, 0.0)
    unchanged = quiet(InferencePipeline.from_diffusers(pipe))(**drawn(call)).latents
    changed = pipe(**drawn(changing), output_type="latent").images
    assert (unchanged - changed).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("kind", "cls", "call"),
    [("flux", None, UNLIKE), ("flux_fill", FILL, MASKED), ("flux_control", CONTROL, STEER)],
)
def test_a_model_on_disk(tmp_path, kind, cls, call):
    pipe = tiny_flux(kind, cls)
    pipe.save_pretrained(tmp_path)
    ours = quiet(InferencePipeline.from_pretrained(tmp_path))
    for module in ours.modules().values():
        for parameter in module.parameters():
            parameter.data = parameter.data.clone()  # from odd addresses to even ones
    result = ours(**drawn(call), output_type="pt")
    expected = pipe(**drawn(call), output_type="pt").images
    assert (result.images - expected).abs().max() == 0.0


def test_a_negative_prompt_that_is_not_followed_is_not_encoded(theirs):
    pipe = theirs()
    seen = []
    handle = pipe.text_encoder_2.register_forward_hook(lambda *_: seen.append(1))
    try:
        ours = quiet(InferencePipeline.from_diffusers(pipe))
        ours(**drawn({"negative_prompt": "a dog"}))
        assert len(seen) == 1
        ours(**drawn({"negative_prompt": "a dog", "true_cfg_scale": 2.0}))
        assert len(seen) == 2
    finally:
        handle.remove()


def test_each_branch_is_named_to_the_caching_hooks(theirs, monkeypatch):
    pipe = theirs()
    named = []
    context = pipe.transformer.cache_context

    def remember(name):
        named.append(name)
        return context(name)

    monkeypatch.setattr(pipe.transformer, "cache_context", remember, raising=False)
    pipe(**drawn({**UNLIKE, "num_inference_steps": 1}))
    quiet(InferencePipeline.from_diffusers(pipe))(**drawn({**UNLIKE, "num_inference_steps": 1}))
    assert named == ["cond", "uncond"] * 2


def test_sizes_that_are_made_smaller_are_told(theirs, caplog):
    ours = quiet(InferencePipeline.from_diffusers(theirs()))
    ours(**drawn(ODD))
    assert "64 pixels high and 80 wide in the place of 70 and 90" in caplog.text


def test_what_does_not_go_together_is_refused(theirs):
    ours = quiet(InferencePipeline.from_diffusers(theirs()))
    with pytest.raises(InputError, match="both given"):
        ours(**drawn({**UNLIKE, **NEGATIVE_EMBEDS}))
    with pytest.warns(UserWarning, match="negative_prompt_embeds: given, but"):
        ours(**drawn({"negative_prompt_embeds": normal(3, 1, 24, 32), "true_cfg_scale": 2.0}))
    with pytest.raises(InputError, match="at most 512"):
        ours(**drawn({"max_sequence_length": 600}))
    with pytest.raises(UnknownInputError, match="'img2img'"):
        ours(**drawn(PICTURE))


def test_a_model_that_fills_needs_a_mask(theirs):
    fill = theirs("flux_fill", FILL)
    ours = quiet(InferencePipeline.from_diffusers(fill, task="txt2img"))
    with pytest.raises(InputError, match="wants `image` and `mask_image`"):
        ours(**drawn({}))


@torch.no_grad()
def test_training_compares_with_the_flow_from_packed_latents_to_noise(theirs):
    pipe = theirs()
    graph = InferencePipeline.from_diffusers(pipe).graph
    graph.add_node("timesteps", type="timesteps/uniform")
    graph.add_node("objective", type="objective/mse")
    drawn_ones = ["vae.sample", "noise.sample", "timesteps.sample"]
    run = Runtime(graph).run(
        {"pixels": normal(1, 2, 3, 64, 96), "prompt": ["a", "b"], "generator": generator(),
         "guidance_scale": 3.5, "max_sequence_length": 24},
        ["objective.loss", *drawn_ones], mode="corrupt",
    )  # fmt: skip
    latents, noise, timestep = (run[name] for name in drawn_ones)
    level = (timestep / 1000).view(2, 1, 1, 1)
    embeds, pooled, text_ids = pipe.encode_prompt(["a", "b"], max_sequence_length=24)
    predicted = pipe.transformer(
        hidden_states=pipe._pack_latents(level * noise + (1 - level) * latents, 2, 4, 8, 12),
        timestep=timestep.float() / 1000,
        guidance=torch.full([2], 3.5),
        pooled_projections=pooled,
        encoder_hidden_states=embeds,
        txt_ids=text_ids,
        img_ids=pipe._prepare_latent_image_ids(2, 4, 6, "cpu", torch.float32),
    ).sample
    flow = pipe._pack_latents(noise - latents, 2, 4, 8, 12)
    expected = torch.nn.functional.mse_loss(predicted, flow)
    assert (run["objective.loss"] - expected).abs().item() < 1e-6
