"""Latent consistency models from a template give the numbers of Diffusers' pipelines."""

from __future__ import annotations

import warnings

import pytest
import torch
from diffusers import LatentConsistencyModelImg2ImgPipeline, LatentConsistencyModelPipeline

from tests.pipelines.conftest import generator, quiet
from tests.pipelines.pictures import picture
from tests.tiny_models import tiny_pipeline
from yggdrasil import InferencePipeline
from yggdrasil.core.errors import InputError, UnknownInputError

pytestmark = pytest.mark.parity

TEXT, PICTURE = LatentConsistencyModelPipeline, LatentConsistencyModelImg2ImgPipeline


def normal(seed, *shape):
    return torch.randn(*shape, generator=generator(seed))


TWO = {"prompt": ["a cat", "a dog"]}
EACH = {**TWO, "generator": [1, 2]}
EMBEDS = {"prompt": None, "prompt_embeds": normal(1, 2, 77, 32)}
TIMES = {"num_inference_steps": None, "timesteps": [999, 759, 279]}

CELLS = {
    "a prompt": (TEXT, {}),
    "a guidance scale": (TEXT, {"guidance_scale": 1.0}),
    "one step": (TEXT, {"num_inference_steps": 1}),
    "steps of more": (TEXT, {"original_inference_steps": 100}),
    "timesteps": (TEXT, TIMES),
    "a batch, two a prompt": (TEXT, {**TWO, "num_images_per_prompt": 2}),
    "a list of generators": (TEXT, EACH),
    "not square": (TEXT, {"height": 64, "width": 96}),
    "latents": (TEXT, {"latents": normal(6, 1, 4, 8, 8)}),
    "embeddings": (TEXT, EMBEDS),
    "a picture": (PICTURE, {"image": picture()}),
    "a picture, a strength": (PICTURE, {"image": picture(), "strength": 0.33}),
    "a picture, all anew": (PICTURE, {"image": picture(), "strength": 1.0}),
    "a picture, steps of more": (PICTURE, {"image": picture(), "original_inference_steps": 80}),
    "a picture, timesteps": (PICTURE, {"image": picture(), **TIMES, "strength": 1.0}),
    "a picture, a batch": (PICTURE, {**TWO, "image": picture(), "num_images_per_prompt": 2}),
    "two pictures": (PICTURE, {**EACH, "image": [picture(), picture().rotate(90)]}),
    "a picture that is not square": (PICTURE, {"image": picture(100, 70)}),
    "latents beside a picture": (
        PICTURE, {"image": picture(), "latents": normal(6, 1, 4, 8, 8)}
    ),
    "a picture and embeddings": (PICTURE, {"image": picture(), **EMBEDS}),
}  # fmt: skip


@pytest.fixture(scope="module")
def theirs():
    """Gives pipelines of Diffusers by class."""
    models = tiny_pipeline("lcm").components
    made = {cls: cls(**models, requires_safety_checker=False) for cls in (TEXT, PICTURE)}
    for pipe in made.values():
        pipe.set_progress_bar_config(disable=True)
    return made


def drawn(call):
    """Gives the arguments with fresh generators."""
    seeds = call.get("generator", 0)
    several = isinstance(seeds, list)
    made = [generator(each) for each in seeds] if several else generator(seeds)
    return {"prompt": "a red cat", "num_inference_steps": 4, **call, "generator": made}


def difference(pipe, call, **changes):
    """Gives the largest difference of the latents and of the pictures."""
    with warnings.catch_warnings():
        # Diffusers warns that one picture for two prompts will once be an error.
        warnings.simplefilter("ignore", FutureWarning)
        latents = pipe(**drawn(call), output_type="latent").images
        images = pipe(**drawn(call), output_type="pt").images
    ours = quiet(InferencePipeline.from_diffusers(pipe))
    result = ours(**drawn({**call, **changes}), output_type="pt")
    return (
        float((result.latents - latents).abs().max()),
        float((result.images - images).abs().max()),
    )


@pytest.mark.parametrize("name", CELLS)
def test_the_numbers_are_those_of_diffusers(theirs, name):
    cls, call = CELLS[name]
    assert difference(theirs[cls], call) == (0.0, 0.0)


@pytest.mark.parametrize(
    "change",
    [{"guidance_scale": 8.6}, {"original_inference_steps": 60}, {"prompt": "a blue dog"}],
    ids=str,
)
def test_a_difference_would_be_seen(theirs, change):
    assert min(difference(theirs[TEXT], {}, **change)) > 1e-5


def test_strength_is_counted_when_the_schedule_is_laid(theirs):
    pipe = theirs[PICTURE]
    run = quiet(InferencePipeline.from_diffusers(pipe)), drawn({"image": picture()})
    seen = []
    run[0](**run[1], callback_on_step_end=lambda _, __, time, ___: seen.append(int(time)) or {})
    pipe.scheduler.set_timesteps(4, strength=0.8)
    assert seen == pipe.scheduler.timesteps.tolist()


@pytest.mark.parametrize("cls", [TEXT, PICTURE])
def test_a_model_on_disk(theirs, tmp_path, cls):
    pipe = theirs[cls]
    pipe.save_pretrained(tmp_path)
    call = {} if cls is TEXT else {"image": picture()}
    ours = quiet(InferencePipeline.from_pretrained(tmp_path))
    for module in ours.modules().values():
        for parameter in module.parameters():
            parameter.data = parameter.data.clone()  # from odd addresses to even ones
    expected = pipe(**drawn(call), output_type="pt").images
    assert (ours(**drawn(call), output_type="pt").images - expected).abs().max() == 0.0


def test_what_does_not_go_together_is_refused(theirs):
    ours = quiet(InferencePipeline.from_diffusers(theirs[TEXT]))
    with pytest.raises(InputError, match="original_inference_steps is 0"):
        ours(**drawn({"original_inference_steps": 0}))
    with pytest.raises(UnknownInputError, match="negative_prompt"):
        ours(**drawn({"negative_prompt": "ugly"}))
    ours.graph.replace_node("solver", "solver/ddim")
    with pytest.raises(InputError, match=r"solver/ddim makes no schedule .* solver/lcm"):
        ours(**drawn({"original_inference_steps": 60}))
