"""The arguments of a call: what they mean, and what is said of those that cannot be right."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from tests.pipelines.conftest import generator, quiet
from tests.pipelines.pictures import mask, picture
from tests.tiny_models import tiny_pipeline
from yggdrasil import InferencePipeline
from yggdrasil.core.errors import (
    Cancelled,
    InputError,
    MissingInputError,
    UnknownInputError,
    UnknownOutputError,
)
from yggdrasil.core.runtime import Runtime

FAST = {"num_inference_steps": 1, "output_type": "latent"}


# -- seeds and generators --------------------------------------------------------------------------


def test_a_seed_is_a_generator_of_the_cpu(ours):
    by_seed = ours("a cat", seed=3, **FAST).latents
    by_generator = ours("a cat", generator=generator(3), **FAST).latents
    assert torch.equal(by_seed, by_generator)
    assert not torch.equal(by_seed, ours("a cat", seed=4, **FAST).latents)


def test_a_list_of_seeds_is_one_for_each_picture(ours):
    both = ours(["a cat", "a dog"], seed=[3, 4], **FAST).latents
    again = ours(["a cat", "a dog"], generator=[generator(3), generator(4)], **FAST).latents
    assert torch.equal(both, again)
    alone = ours("a dog", seed=4, **FAST).latents
    torch.testing.assert_close(both[1:], alone)


def test_a_generator_alone_in_a_list_is_one_for_the_batch(ours):
    listed = ours(["a cat", "a dog"], generator=[generator(3)], **FAST).latents
    assert torch.equal(listed, ours(["a cat", "a dog"], seed=3, **FAST).latents)


def test_without_seed_and_generator_the_global_one_draws(ours):
    torch.manual_seed(5)
    first, second = (ours("a cat", **FAST).latents for _ in range(2))
    assert not torch.equal(first, second)
    torch.manual_seed(5)
    assert torch.equal(ours("a cat", **FAST).latents, first)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"seed": 1, "generator": torch.Generator()}, "seed and generator are both given"),
        ({"seed": True}, "seed=True is no integer of 64 bits"),
        ({"seed": 1.5}, r"seed=1\.5 is no integer"),
        ({"seed": 2**64}, "seed=18446744073709551616 is no integer of 64 bits"),
        ({"seed": [1, "2"]}, "seed='2' is no integer"),
        ({"seed": [1, 2, 3]}, "3 generators"),
        ({"generator": [torch.Generator(), torch.Generator(), torch.Generator()]}, "3 generators"),
        ({"seed": []}, "0 generators"),
    ],
)
def test_seeds_that_cannot_be(ours, given, message):
    with pytest.raises(InputError, match=message):
        ours(["a cat", "a dog"], **FAST, **given)


# -- what comes out --------------------------------------------------------------------------------


def test_pictures_come_in_the_form_that_was_asked_for(ours):
    call = {"prompt": "a cat", "seed": 0, "num_inference_steps": 1}
    pil = ours(**call)
    array = ours(**call, output_type="np")
    tensor = ours(**call, output_type="pt")
    latent = ours(**call, output_type="latent")
    assert [each.size for each in pil.images] == [(64, 64)]
    assert array.images.shape == (1, 64, 64, 3)
    assert tensor.images.shape == (1, 3, 64, 64)
    assert np.array_equal(array.images[0], tensor.images[0].permute(1, 2, 0).numpy())
    assert np.array_equal(np.asarray(pil.images[0]), (array.images[0] * 255).round())
    assert latent.images is latent.latents
    assert torch.equal(latent.latents, tensor.latents)
    assert set(tensor.outputs) == {"images", "latents"}
    assert set(latent.outputs) == {"latents"}


def test_a_result_is_a_row_of_pictures(ours):
    result = ours(["a cat", "a dog"], seed=0, num_inference_steps=1)
    assert len(result) == 2
    assert [*result] == result.images


def test_without_return_dict_there_is_a_tuple_as_of_diffusers(ours, theirs):
    call = {"num_inference_steps": 1, "output_type": "pt", "return_dict": False}
    images, flags = ours("a cat", seed=0, **call)
    expected, none = theirs("a cat", generator=generator(), **call)
    assert flags is none is None
    assert torch.equal(images, expected)


def test_an_unknown_output_type_gives_the_nearest(ours):
    with pytest.raises(InputError, match=r"output_type is 'pill', which is not known.*'pil'"):
        ours("a cat", output_type="pill")


def test_an_output_that_the_graph_has_not_gives_the_nearest(ours):
    with pytest.raises(UnknownOutputError, match=r"imagez.*'images'"):
        Runtime(ours.graph).run({"prompt": "a cat"}, ["imagez"])


def test_every_prompt_has_as_many_pictures_as_were_asked_for(ours, theirs):
    call = {"num_images_per_prompt": 2, "num_inference_steps": 1, "output_type": "pt"}
    result = ours(["a cat", "a dog"], seed=0, **call)
    expected = theirs(["a cat", "a dog"], generator=generator(), **call).images
    assert len(result) == 4
    assert torch.equal(result.images, expected)


def test_metadata_is_plain_and_says_what_made_the_pictures(ours):
    result = ours(
        "a cat",
        seed=[7],
        image=picture(),
        mask_image=np.zeros((1, 64, 64), np.float32),
        strength=0.5,
        num_inference_steps=2,
        output_type="latent",
        cross_attention_kwargs={"scale": 1.0},
    )
    metadata = json.loads(json.dumps(result.metadata))
    assert metadata["task"] == "inpaint"
    assert metadata["model"] == "StableDiffusionPipeline"
    assert metadata["seed"] == [7]
    assert metadata["solvers"] == ["solver/pndm"]
    assert metadata["inputs"] == {
        "prompt": "a cat",
        "image": "Image[64, 64]",
        "mask_image": "ndarray[1, 64, 64]",
        "strength": 0.5,
        "num_inference_steps": 2,
        "cross_attention_kwargs": {"scale": 1.0},
    }
    assert set(metadata["versions"]) == {"yggdrasil", "torch", "diffusers"}


def test_metadata_describes_tensors_by_their_shape(ours):
    result = ours("a cat", latents=torch.zeros(1, 4, 8, 8), **FAST)
    assert result.metadata["inputs"]["latents"] == "float32[1, 4, 8, 8]"
    assert result.metadata["seed"] is None


# -- the task --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "task"),
    [
        ({}, "txt2img"),
        ({"image": picture(), "strength": 1.0}, "img2img"),
        ({"image": picture(), "mask_image": mask()}, "inpaint"),
        ({"width": 64, "height": 64}, "txt2img"),
    ],
)
def test_the_arguments_choose_the_task(ours, given, task):
    assert ours("a cat", seed=0, **FAST, **given).metadata["task"] == task


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"guidance_scal": 3}, UnknownInputError, "'guidance_scal'.*'guidance_scale'"),
        (
            {"mask_image": mask()},
            UnknownInputError,
            r"'txt2img' takes no argument 'mask_image'\. Task 'inpaint' does",
        ),
        ({"prompt": None}, MissingInputError, "'prompt', which was not given"),
        (
            {"image": picture(), "height": 64},
            UnknownInputError,
            "'img2img' takes no argument 'height'.*'txt2img' or 'inpaint' or 'lcm' does",
        ),
    ],
)
def test_arguments_that_no_task_takes(ours, given, error, message):
    with pytest.raises(error, match=message):
        ours(**{"prompt": "a cat", **FAST, **given})


def test_a_port_may_be_given_by_its_own_name(ours):
    by_port = ours("a cat", seed=0, **FAST, **{"guidance.combine.guidance_rescale": 0.7}).latents
    assert torch.equal(by_port, ours("a cat", seed=0, **FAST, guidance_rescale=0.7).latents)
    assert not torch.equal(by_port, ours("a cat", seed=0, **FAST).latents)


# -- values that cannot be right -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"guidance_scale": math.nan}, "guidance_scale is nan: give a finite number"),
        ({"guidance_scale": math.inf}, "guidance_scale is inf: give a finite number"),
        ({"guidance_scale": "high"}, "guidance_scale is 'high': give a finite number"),
        ({"guidance_rescale": math.nan}, "guidance_rescale is nan"),
        ({"num_inference_steps": 0}, "num_inference_steps is 0: give a whole number of at least 1"),
        ({"num_inference_steps": -3}, "num_inference_steps is -3: give a whole number"),
        ({"num_inference_steps": True}, "num_inference_steps is True: give a whole number"),
        ({"num_inference_steps": 2.0}, r"num_inference_steps is 2\.0: give a whole number"),
        ({"height": 60}, "height is 60: it must be a multiple of 8 pixels; the nearest is height="),
        ({"width": 0}, "width is 0: give a whole number of pixels"),
        ({"width": -8}, "width is -8"),
        ({"num_images_per_prompt": 0}, "num_images_per_prompt is 0"),
        ({"prompt": []}, r"prompt is \[\]: give a text"),
        ({"prompt": 5}, "prompt is 5: give a text, or a list"),
        ({"prompt": ["a", 5]}, r"prompt is \['a', 5\]: give a text"),
        ({"negative_prompt": ["a", "b"]}, "negative_prompt has 2 texts for 1 prompts"),
        ({"negative_prompt": 5}, "negative_prompt is 5: give a text"),
        ({"clip_skip": 3}, "clip_skip is 3, but the text encoder has 2 layers"),
        ({"prompt_embeds": torch.zeros(1, 77, 32)}, "prompt and prompt_embeds are both given"),
        ({"negative_prompt": "", "negative_prompt_embeds": torch.zeros(1, 77, 32)},
         "negative_prompt and negative_prompt_embeds are both given"),
        ({"timesteps": [1]}, "solver/pndm takes no timesteps of the caller's.*solver/euler"),
        ({"timesteps": [1], "sigmas": [1.0]}, "timesteps and sigmas are both given"),
        ({"strength": 1.5, "image": picture()}, r"strength is 1\.5: it lies between 0\.0 and 1\.0"),
        ({"strength": 0.1, "image": picture()}, "leaves none of 1 steps: give at least"),
        ({"image": "cat.png", "strength": 1.0}, "image is 'cat.png', which is no picture"),
    ],
)  # fmt: skip
def test_values_that_cannot_be(ours, encodings, given, message):
    with pytest.raises(InputError, match=message):
        ours(**{"prompt": "a cat", **FAST, **given})
    if "image" not in given and given.get("negative_prompt") != ["a", "b"]:
        assert encodings == []


def test_the_steps_of_a_schedule_beyond_the_trained_one_are_refused_before_anything_runs(
    ours, encodings
):
    ours.graph.replace_node("solver", "solver/ddim")
    with pytest.raises(InputError, match=r"DDIMScheduler refuses the schedule.*1000"):
        ours("a cat", num_inference_steps=1001)
    assert encodings == []


def test_a_run_can_be_cancelled_between_steps(ours):
    steps = []

    class Watcher:
        def on_call(self, call):
            pass

        def on_step(self, event):
            steps.append((event.index, event.count))

    with pytest.raises(Cancelled, match="cancelled after 2 steps"):
        ours(
            "a cat", num_inference_steps=8, observers=[Watcher()], cancelled=lambda: len(steps) > 1
        )
    assert [index for index, _ in steps] == [1, 2]


def test_the_progress_bar_follows_its_options(theirs, capsys):
    pipe = InferencePipeline.from_diffusers(theirs)
    pipe("a cat", seed=0, output_type="latent", num_inference_steps=2)
    assert "3/3" in capsys.readouterr().err  # PNDM evaluates once more
    pipe.set_progress_bar_config(desc="painting")
    pipe("a dog", seed=0, output_type="latent", num_inference_steps=2)
    assert "painting" in capsys.readouterr().err
    quiet(pipe)("a house", seed=0, output_type="latent", num_inference_steps=2)
    assert capsys.readouterr().err == ""


# -- arguments of Diffusers, to the bit ------------------------------------------------------------


def test_clip_skip_takes_an_earlier_layer(ours, theirs):
    result = ours("a cat", seed=0, clip_skip=1, **FAST).latents
    ids = theirs.tokenizer("a cat", padding="max_length", return_tensors="pt").input_ids
    hidden = theirs.text_encoder(ids, output_hidden_states=True).hidden_states[-2]
    norm = getattr(theirs.text_encoder, "text_model", theirs.text_encoder).final_layer_norm
    negative = theirs.encode_prompt("", "cpu", 1, do_classifier_free_guidance=False)[0]
    expected = theirs(
        prompt_embeds=norm(hidden).detach(),
        negative_prompt_embeds=negative.detach(),
        generator=generator(),
        **FAST,
    ).images
    assert torch.equal(result, expected)
    assert not torch.equal(result, ours("a cat", seed=0, **FAST).latents)


@pytest.mark.parametrize(
    ("solver", "given"),
    [
        ("EulerDiscreteScheduler", {"timesteps": [900, 500, 100]}),
        ("EulerDiscreteScheduler", {"sigmas": [10.0, 3.0, 1.0]}),
        ("DDPMScheduler", {"timesteps": [900, 500, 100]}),
        ("LCMScheduler", {"timesteps": [900, 500, 100]}),
        ("DPMSolverMultistepScheduler", {"timesteps": [900, 500, 100]}),
        ("DDIMScheduler", {"eta": 0.7, "num_inference_steps": 3}),
        ("DDIMScheduler", {"eta": 1.0, "num_inference_steps": 3, "num_images_per_prompt": 2}),
    ],
)
def test_schedules_of_the_callers_own_give_the_bits_of_diffusers(theirs, solver, given):
    import diffusers

    pipe = diffusers.StableDiffusionPipeline(**theirs.components, requires_safety_checker=False)
    pipe.scheduler = getattr(diffusers, solver).from_config(theirs.scheduler.config)
    pipe = quiet(pipe)
    mine = quiet(InferencePipeline.from_diffusers(pipe))
    expected = pipe("a cat", generator=generator(), output_type="pt", **given).images
    assert torch.equal(mine("a cat", seed=0, output_type="pt", **given).images, expected)


@pytest.mark.parametrize("scale", [1.0, 7.5])
def test_a_distilled_model_reads_the_guidance_scale(scale):
    theirs = tiny_pipeline("lcm")
    ours = quiet(InferencePipeline.from_diffusers(theirs))
    call = {"num_inference_steps": 2, "guidance_scale": scale, "output_type": "pt"}
    expected = theirs("a cat", generator=generator(), **call).images
    assert torch.equal(ours("a cat", generator=generator(), **call).images, expected)


def test_a_crop_around_the_mask_gives_the_bits_of_diffusers():
    theirs = tiny_pipeline("sd15_inpaint")
    ours = quiet(InferencePipeline.from_diffusers(theirs))
    call = {
        "image": picture(128, 96),
        "mask_image": mask(128, 96, (40, 30, 60, 50)),
        "padding_mask_crop": 8,
        "strength": 0.9,
        "num_inference_steps": 2,
        "height": 64,
        "width": 64,
    }
    expected = theirs("a cat", generator=generator(), **call).images[0]
    result = ours("a cat", generator=generator(), **call).images[0]
    assert result.size == expected.size == (128, 96)
    assert np.array_equal(np.asarray(result), np.asarray(expected))


def test_masked_latents_of_the_callers_own_give_the_bits_of_diffusers():
    theirs = tiny_pipeline("sd15_inpaint")
    ours = quiet(InferencePipeline.from_diffusers(theirs))
    call = {
        "image": picture(),
        "mask_image": mask(),
        "masked_image_latents": torch.randn((1, 4, 8, 8), generator=generator(3)),
        "num_inference_steps": 2,
        "output_type": "pt",
    }
    expected = theirs("a cat", generator=generator(), **call).images
    result = ours("a cat", generator=generator(), **call).images
    assert torch.equal(result, expected)
    del call["masked_image_latents"]
    assert not torch.equal(ours("a cat", generator=generator(), **call).images, expected)


def test_cross_attention_arguments_reach_the_model(ours, theirs):
    seen = []
    hook = theirs.unet.register_forward_pre_hook(
        lambda _, __, kwargs: seen.append(kwargs.get("cross_attention_kwargs")), with_kwargs=True
    )
    try:
        ours("a cat", seed=0, cross_attention_kwargs={"scale": 0.5}, **FAST)
    finally:
        hook.remove()
    assert seen
    assert all(each == {"scale": 0.5} for each in seen)


def test_what_the_owner_of_a_graph_sets_goes_before_what_a_task_takes_for_granted(theirs):
    call = {"num_inference_steps": 2, "output_type": "pt", "seed": 0}
    told = quiet(InferencePipeline.from_diffusers(theirs))("a cat", guidance_scale=2.0, **call)
    by_default = quiet(InferencePipeline.from_diffusers(theirs))
    by_default.graph.defaults["guidance_scale"] = 2.0
    assert torch.equal(by_default("a cat", **call).images, told.images)
    by_node = quiet(InferencePipeline.from_diffusers(theirs))
    by_node.graph.replace_node("guidance", "guidance/cfg", inputs={"guidance_scale": 2.0})
    assert torch.equal(by_node("a cat", **call).images, told.images)
    again = by_node("a cat", guidance_scale=7.5, **call).images
    assert not torch.equal(again, told.images)


def test_integers_of_numpy_are_integers(ours):
    steps, seed = np.int64(2), np.int64(3)
    mine = ours("a cat", num_inference_steps=steps, seed=seed, output_type="pt").images
    assert torch.equal(mine, ours("a cat", num_inference_steps=2, seed=3, output_type="pt").images)


def test_a_number_is_no_generator(ours):
    with pytest.raises(InputError, match=r"generator=3 is no torch\.Generator.*seed"):
        ours("a cat", generator=3)


def test_a_value_that_cannot_be_is_refused_on_a_later_call_too(ours):
    ours("a cat", num_inference_steps=1)
    with pytest.raises(InputError, match="guidance_scale"):
        ours("a cat", num_inference_steps=1, guidance_scale="7")


def test_a_component_that_the_graph_leaves_out_is_named(caplog):
    pipe = tiny_pipeline()
    pipe.register_modules(image_encoder=torch.nn.Identity())
    with caplog.at_level("WARNING", logger="yggdrasil"):
        InferencePipeline.from_diffusers(pipe)
    assert "image_encoder" in caplog.text
