"""What a second call does not do again, and what it must."""

from __future__ import annotations

import copy

import pytest
import torch

from tests.pipelines.conftest import generator, quiet
from tests.pipelines.pictures import picture
from tests.tiny_flux import tiny_flux
from tests.tiny_models import tiny_pipeline
from tests.tiny_sd3 import tiny_sd3
from tests.tiny_sdxl import tiny_sdxl
from yggdrasil import InferencePipeline

CALL = {"num_inference_steps": 2, "output_type": "pt"}


@pytest.fixture
def own():
    """Gives a Diffusers pipeline whose weights may be changed."""
    return tiny_pipeline(seed=1)


@pytest.mark.parametrize("second", [{"seed": 1}, {"guidance_scale": 3.0}, {"eta": 0.3}])
def test_another_seed_or_scale_does_not_encode_the_prompt_again(ours, encodings, second):
    ours("a cat", **{"seed": 0, **CALL})
    assert len(encodings) == 2
    ours("a cat", **{"seed": 0, **CALL, **second})
    assert len(encodings) == 2


def test_another_prompt_encodes_only_what_is_new(ours, encodings):
    ours("a cat", seed=0, **CALL)
    ours("a dog", seed=0, **CALL)
    # The empty negative prompt is encoded to the shape of the positive one, so it depends on it.
    assert len(encodings) == 4


def test_without_guidance_the_negative_prompt_is_not_encoded(ours, encodings):
    ours("a cat", negative_prompt="ugly", guidance_scale=1.0, seed=0, **CALL)
    assert len(encodings) == 1


def test_what_a_cache_gives_is_what_a_call_gives(ours, theirs):
    for seed, scale in ((0, 7.5), (1, 7.5), (1, 2.0), (0, 7.5)):
        mine = ours("a cat", seed=seed, guidance_scale=scale, **CALL).images
        call = {"guidance_scale": scale, **CALL}
        assert torch.equal(mine, theirs("a cat", generator=generator(seed), **call).images)


def test_the_same_call_twice_gives_the_same_and_leaves_the_generator_the_same(ours, theirs):
    first, second, reference = (generator(3) for _ in range(3))
    call = {"image": picture(), "strength": 0.9, "num_inference_steps": 3, "output_type": "pt"}
    one = ours("a cat", generator=first, **call).images
    two = ours("a cat", generator=second, **call).images
    assert torch.equal(one, two)
    assert torch.equal(first.get_state(), second.get_state())
    img2img = quiet(InferencePipeline.from_diffusers(theirs, task="img2img", cache_limit=0))
    assert torch.equal(img2img("a cat", generator=reference, **call).images, one)
    assert torch.equal(first.get_state(), reference.get_state())


def test_a_repeated_call_runs_no_model(ours, theirs, encodings):
    runs = []
    hooks = [
        model.register_forward_pre_hook(lambda *_: runs.append(1))
        for model in (theirs.unet, theirs.vae)
    ]
    try:
        ours("a cat", seed=0, **CALL)
        assert len(runs) == 3
        ours("a cat", seed=0, **CALL)
    finally:
        for hook in hooks:
            hook.remove()
    assert len(runs) == 3
    assert len(encodings) == 2


def test_weights_changed_in_place_are_noticed(own):
    pipe = quiet(InferencePipeline.from_diffusers(own))
    before = pipe("a cat", seed=0, **CALL).images
    with torch.no_grad():
        own.text_encoder.get_input_embeddings().weight.mul_(1.5)
    after = pipe("a cat", seed=0, **CALL).images
    assert not torch.equal(before, after)
    assert torch.equal(after, own("a cat", generator=generator(), **CALL).images)


def test_weights_that_are_replaced_are_noticed(own):
    pipe = quiet(InferencePipeline.from_diffusers(own))
    before = pipe("a cat", seed=0, **CALL).images
    own.unet.load_state_dict({k: v * 0.9 for k, v in own.unet.state_dict().items()}, assign=True)
    after = pipe("a cat", seed=0, **CALL).images
    assert not torch.equal(before, after)
    assert torch.equal(after, own("a cat", generator=generator(), **CALL).images)


def test_another_dtype_is_another_value(own):
    pipe = quiet(InferencePipeline.from_diffusers(own))
    assert pipe("a cat", seed=0, **CALL).latents.dtype == torch.float32
    assert pipe.to(torch.bfloat16)("a cat", seed=0, **CALL).latents.dtype == torch.bfloat16


def test_writing_into_a_result_does_not_spoil_later_calls(ours):
    first = ours("a cat", seed=0, **CALL)
    latents, images = first.latents.clone(), first.images.clone()
    first.latents.zero_()
    first.images.fill_(0.5)
    second = ours("a cat", seed=0, **CALL)
    assert torch.equal(second.latents, latents)
    assert torch.equal(second.images, images)


@pytest.mark.parametrize("form", ["np", "pil"])
def test_painting_over_a_picture_does_not_spoil_later_calls(ours, form):
    call = {"num_inference_steps": 1, "output_type": form, "seed": 0}
    first = ours("a cat", **call).images
    kept = copy.deepcopy(first)
    if form == "np":
        first[:] = 0
        assert (ours("a cat", **call).images == kept).all()
    else:
        first[0].paste((0, 0, 0), (0, 0, 64, 64))
        assert ours("a cat", **call).images == kept


def test_the_cache_tells_what_it_holds_and_may_be_left_out(theirs):
    pipe = quiet(InferencePipeline.from_diffusers(theirs))
    pipe("a cat", seed=0, **CALL)
    info = pipe.cache_info()
    assert 0 < info.size <= info.limit
    assert info.hits == 0
    pipe("a cat", seed=1, **CALL)
    assert pipe.cache_info().hits > 0
    without = quiet(InferencePipeline.from_diffusers(theirs, cache_limit=0))
    without("a cat", seed=0, **CALL)
    assert without.cache_info() is None


def test_a_small_cache_keeps_within_its_bound(theirs):
    pipe = quiet(InferencePipeline.from_diffusers(theirs, cache_limit=30_000))
    for seed in range(3):
        images = pipe("a cat", seed=seed, **CALL).images
        assert pipe.cache_info().size <= 30_000
        assert torch.equal(images, theirs("a cat", generator=generator(seed), **CALL).images)


@pytest.mark.parametrize("make", [tiny_pipeline, tiny_sdxl, tiny_sd3])
def test_the_second_call_of_a_model_from_a_folder_encodes_nothing_again(make, tmp_path):
    make().save_pretrained(tmp_path)
    pipe = quiet(InferencePipeline.from_pretrained(tmp_path))
    pipe("a cat", num_inference_steps=1, seed=0)
    pipe("a cat", num_inference_steps=1, seed=1)
    # transformers put its hooks into the encoders meanwhile, which only note what passes.
    assert pipe.cache_info().hits > 0


FLOWS = {"flux": tiny_flux, "sd3": tiny_sd3}


def _runs(pipe, model, *calls):
    """Gives how often a model runs in each call."""
    runs = []
    hook = model.register_forward_pre_hook(lambda *_: runs.append(1))
    counts = []
    try:
        for call in calls:
            before = len(runs)
            pipe("a cat", **CALL, **call)
            counts.append(len(runs) - before)
    finally:
        hook.remove()
    return counts


@pytest.mark.parametrize("make", FLOWS.values(), ids=FLOWS)
@pytest.mark.parametrize("began", [{}, {"image": picture(), "strength": 0.9}])
def test_a_loop_that_draws_nothing_is_not_run_again_though_no_generator_reaches_it(make, began):
    theirs = make()
    pipe = quiet(InferencePipeline.from_diffusers(theirs, task="img2img" if began else "txt2img"))
    call = {"seed": 0, **began}
    first, second, other = _runs(pipe, theirs.transformer, call, call, {**call, "seed": 1})
    assert first == other > 0
    assert second == 0


def test_a_loop_that_draws_from_the_global_generator_is_run_again():
    theirs = tiny_flux(stochastic_sampling=True)
    pipe = quiet(InferencePipeline.from_diffusers(theirs))
    assert _runs(pipe, theirs.transformer, {"seed": 0}, {"seed": 0}) == [2, 2]


def test_a_solver_that_draws_what_it_is_given_is_kept_with_the_generators_state():
    theirs = tiny_sd3()
    theirs.scheduler = type(theirs.scheduler)(shift=3.0, stochastic_sampling=True)
    pipe = quiet(InferencePipeline.from_diffusers(theirs))
    assert _runs(pipe, theirs.transformer, {"seed": 0}, {"seed": 0})[1] == 0
