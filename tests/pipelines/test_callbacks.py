"""Step callbacks written for Diffusers do the same here, to the bit."""

from __future__ import annotations

import pytest
import torch
from diffusers import DDIMScheduler, EulerDiscreteScheduler, StableDiffusionPipeline
from diffusers.callbacks import SDCFGCutoffCallback

from tests.pipelines.conftest import generator, quiet
from yggdrasil import InferencePipeline
from yggdrasil.core.errors import InputError

CALL = {"num_inference_steps": 4, "guidance_scale": 6.0, "output_type": "latent"}


@pytest.fixture(scope="module")
def theirs(theirs):
    """Gives a pipeline whose solver keeps no history, so that a step is a step."""
    pipe = StableDiffusionPipeline(**theirs.components, requires_safety_checker=False)
    pipe.scheduler = DDIMScheduler.from_config(theirs.scheduler.config)
    return quiet(pipe)


def both(ours, theirs, callback, names=("latents",), **given):
    """Makes one call twice, by Diffusers and by YggDrasil."""
    call = {
        **CALL,
        **given,
        "callback_on_step_end": callback,
        "callback_on_step_end_tensor_inputs": list(names),
    }
    expected = theirs("a red cat", generator=generator(), **call).images
    return ours("a red cat", generator=generator(), **call).images, expected


def test_a_callback_sees_every_step(ours, theirs):
    seen = []

    def callback(pipe, step, timestep, values):
        seen.append((step, int(timestep), values["latents"].clone(), pipe.num_timesteps))
        return values

    both(ours, theirs, callback)
    expected, mine = seen[:4], seen[4:]
    assert len(mine) == len(expected) == 4
    for one, other in zip(mine, expected, strict=True):
        assert one[:2] == other[:2]
        assert torch.equal(one[2], other[2])
        assert one[3] == 4


def test_what_a_callback_writes_into_the_values_it_got_is_taken_over(ours, theirs):
    def callback(_, step, __, values):
        if step == 1:
            values["latents"] = values["latents"] * 0.5
        return values

    mine, expected = both(ours, theirs, callback)
    assert torch.equal(mine, expected)
    assert not torch.equal(mine, ours("a red cat", seed=0, **CALL).images)


def test_what_a_callback_gives_back_in_a_mapping_of_its_own_is_taken_over(ours, theirs):
    mine, expected = both(ours, theirs, lambda *args: {"latents": args[3]["latents"] + 0.1})
    assert torch.equal(mine, expected)


def test_latents_may_be_written_in_place(ours, theirs):
    def callback(_, __, ___, values):
        values["latents"].mul_(0.9)
        return values

    mine, expected = both(ours, theirs, callback)
    assert torch.equal(mine, expected)
    plain = ours("a red cat", seed=0, **CALL).images
    assert torch.equal(plain, theirs("a red cat", generator=generator(), **CALL).images)


def test_prompt_embeddings_may_be_replaced(ours, theirs):
    def callback(_, step, __, values):
        if step == 1:
            values["prompt_embeds"] = values["prompt_embeds"].flip(1)
        return values

    mine, expected = both(ours, theirs, callback, ["prompt_embeds"])
    assert torch.equal(mine, expected)
    assert not torch.equal(mine, ours("a red cat", seed=0, **CALL).images)


def test_negative_embeddings_are_shown_and_read_only_as_in_diffusers(ours, theirs):
    shapes = []

    def callback(_, __, ___, values):
        shapes.append(values["negative_prompt_embeds"].shape)
        return {"negative_prompt_embeds": torch.zeros(1, 77, 32)}

    mine, expected = both(ours, theirs, callback, ["negative_prompt_embeds"])
    assert torch.equal(mine, expected)
    assert {*shapes} == {(1, 77, 32)}


@pytest.mark.parametrize("options", [{"cutoff_step_ratio": 0.5}, {"cutoff_step_index": 1}])
def test_the_cutoff_of_diffusers_gives_its_bits(ours, theirs, options):
    options = {"cutoff_step_ratio": None, "cutoff_step_index": None, **options}
    given = {**CALL, "callback_on_step_end": SDCFGCutoffCallback(**options)}
    expected = theirs("a red cat", generator=generator(), **given).images
    mine = ours("a red cat", generator=generator(), **given).images
    assert torch.equal(mine, expected)
    assert not torch.equal(mine, ours("a red cat", seed=0, **CALL).images)


def test_the_guidance_scale_may_be_read_and_changed(ours, theirs):
    scales = []

    def callback(pipe, step, __, values):
        scales.append(pipe.guidance_scale)
        pipe._guidance_scale = 6.0 - step
        return values

    mine, expected = both(ours, theirs, callback)
    assert torch.equal(mine, expected)
    assert scales == [6.0, 6.0, 5.0, 4.0] * 2


def test_a_callback_may_interrupt(ours, theirs):
    def callback(pipe, step, __, values):
        pipe._interrupt = step == 1
        return values

    mine, expected = both(ours, theirs, callback)
    assert torch.equal(mine, expected)
    # What was broken off is not what the next call gets.
    whole = theirs("a red cat", generator=generator(), **CALL).images
    assert torch.equal(ours("a red cat", seed=0, **CALL).images, whole)


def test_a_callback_reaches_the_pipeline_behind(ours):
    seen = []

    def callback(pipe, *_):
        seen.append(pipe.components["unet"])

    ours("a cat", **CALL, callback_on_step_end=callback)
    assert seen == [ours.components["unet"]] * 4


def test_a_callback_is_heard_on_every_call(ours):
    steps = []
    for _ in range(2):
        ours("a cat", seed=0, **CALL, callback_on_step_end=lambda *args: steps.append(args[1]))
    assert steps == [0, 1, 2, 3] * 2


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("latent", "'latents'"),
        ("prompt_embed", "'prompt_embeds'"),
        ("guidance", "'guidance_scale'"),
    ],
)
def test_a_name_that_no_loop_reads_is_refused_before_anything_runs(ours, encodings, name, hint):
    call = {**CALL, "callback_on_step_end": print, "callback_on_step_end_tensor_inputs": [name]}
    with pytest.raises(InputError, match=rf"names '{name}', which no loop reads\..*{hint}"):
        ours("a cat", **call)
    assert encodings == []


def test_a_callback_works_with_a_solver_that_keeps_history(theirs):
    pipe = StableDiffusionPipeline(**theirs.components, requires_safety_checker=False)
    pipe.scheduler = EulerDiscreteScheduler.from_config(theirs.scheduler.config)
    mine, expected = both(
        quiet(InferencePipeline.from_diffusers(pipe)),
        quiet(pipe),
        lambda *args: {"latents": args[3]["latents"] * 0.9},
    )
    assert torch.equal(mine, expected)
