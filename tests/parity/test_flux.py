"""What the matrix cannot say of FLUX.1."""

from __future__ import annotations

import pytest
import torch
from diffusers import FluxControlNetInpaintPipeline, FluxFillPipeline, FluxInpaintPipeline

from tests.pipelines.conftest import generator, quiet
from tests.pipelines.pictures import mask, picture
from tests.tiny_controlnets import tiny_flux_controlnet, with_controlnet
from tests.tiny_flux import tiny_flux
from yggdrasil import InferencePipeline
from yggdrasil.core.errors import InputError, UnknownInputError
from yggdrasil.core.runtime import Runtime

pytestmark = pytest.mark.parity

FILL = FluxFillPipeline


def normal(seed, *shape):
    return torch.randn(*shape, generator=generator(seed))


UNLIKE = {"negative_prompt": "a dog", "true_cfg_scale": 2.0}
NEGATIVE_EMBEDS = {
    "negative_prompt_embeds": normal(3, 1, 24, 32),
    "negative_pooled_prompt_embeds": normal(4, 1, 32),
}
ODD = {"height": 70, "width": 90}
PICTURE = {"image": picture(), "strength": 0.7}


def drawn(call):
    """Gives the arguments with a fresh generator."""
    usual = {
        "prompt": "a cat", "height": 64, "width": 64, "num_inference_steps": 3,
        "max_sequence_length": 24,
    }  # fmt: skip
    return {**usual, **call, "generator": generator()}


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


def test_steps_that_draw_take_the_global_generator():
    pipe = tiny_flux(stochastic_sampling=True)
    ours = quiet(InferencePipeline.from_diffusers(pipe))
    torch.manual_seed(5)
    expected = pipe(**drawn({}), output_type="latent").images
    torch.manual_seed(5)
    assert (ours(**drawn({})).latents - expected).abs().max() == 0.0
    assert (ours(**drawn({})).latents - expected).abs().max() > 1e-3


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
    with pytest.raises(InputError, match=r"72 channels, a mask .*Take task='fill', or"):
        ours(**drawn({}))


COVERED = {
    "latents": normal(9, 1, 16, 8, 8),
    "a picture": normal(9, 1, 3, 64, 64),
    "latents for each": normal(9, 2, 16, 8, 8),
}


@pytest.mark.parametrize("name", COVERED)
@pytest.mark.parametrize("controlled", [False, True], ids=["plain", "controlled"])
def test_a_masked_picture_that_is_given_is_drawn_where_diffusers_draws_it(name, controlled):
    pipe = tiny_flux(cls=None if controlled else FluxInpaintPipeline, latents=16)
    call = {"image": picture(), "mask_image": mask(), "strength": 0.7}
    if controlled:
        net = tiny_flux_controlnet(pipe.transformer)
        pipe = with_controlnet(pipe, FluxControlNetInpaintPipeline, net)
        call["control_image"] = picture(seed=3)
    given = {**call, "masked_image_latents": COVERED[name]}
    given |= {"prompt": ["a cat", "a dog"]} if len(COVERED[name]) == 2 else {}
    ours = quiet(InferencePipeline.from_diffusers(pipe))
    theirs_drawn, ours_drawn = drawn(given), drawn(given)
    expected = pipe(**theirs_drawn, output_type="pt").images
    assert torch.equal(ours(**ours_drawn, output_type="pt").images, expected)
    left = theirs_drawn["generator"].get_state()
    assert torch.equal(ours_drawn["generator"].get_state(), left)
    covered = drawn({**given, "masked_image_latents": None})
    pipe(**covered, output_type="latent")
    assert torch.equal(covered["generator"].get_state(), left) is (name == "a picture")


def test_masked_latents_are_not_for_a_model_that_fills(theirs):
    ours = quiet(InferencePipeline.from_diffusers(theirs("flux_fill", FILL)))
    call = {
        "image": picture(),
        "mask_image": mask(),
        "masked_image_latents": normal(9, 1, 16, 8, 8),
    }
    with pytest.raises(UnknownInputError, match=r"takes no 'masked_image_latents': .* its mask"):
        ours(**drawn(call))


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
