"""What the matrix cannot say of latent consistency models."""

from __future__ import annotations

import pytest
from diffusers import LatentConsistencyModelImg2ImgPipeline, LatentConsistencyModelPipeline

from tests.pipelines.conftest import generator, quiet
from tests.pipelines.pictures import picture
from tests.tiny_models import tiny_pipeline
from yggdrasil import InferencePipeline
from yggdrasil.core.errors import InputError, UnknownInputError

pytestmark = pytest.mark.parity

TEXT, PICTURE = LatentConsistencyModelPipeline, LatentConsistencyModelImg2ImgPipeline


@pytest.fixture(scope="module")
def theirs():
    """Gives pipelines of Diffusers by class."""
    models = tiny_pipeline("lcm").components
    made = {cls: cls(**models, requires_safety_checker=False) for cls in (TEXT, PICTURE)}
    for pipe in made.values():
        pipe.set_progress_bar_config(disable=True)
    return made


def drawn(call):
    """Gives the arguments with a fresh generator."""
    return {"prompt": "a red cat", "num_inference_steps": 4, **call, "generator": generator()}


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


def test_what_does_not_go_together_is_refused(theirs):
    ours = quiet(InferencePipeline.from_diffusers(theirs[TEXT]))
    begins = quiet(InferencePipeline.from_diffusers(theirs[PICTURE]))
    times = {"num_inference_steps": None, "timesteps": [999, 759, 279]}
    with pytest.raises(InputError, match="leaves none of 3 steps"):
        begins(**drawn({"image": picture(), **times, "strength": 0.3}))
    with pytest.raises(InputError, match="original_inference_steps is 0"):
        ours(**drawn({"original_inference_steps": 0}))
    with pytest.raises(UnknownInputError, match="negative_prompt"):
        ours(**drawn({"negative_prompt": "ugly"}))
    ours.graph.replace_node("solver", "solver/ddim")
    with pytest.raises(InputError, match=r"solver/ddim makes no schedule .* solver/lcm"):
        ours(**drawn({"original_inference_steps": 60}))
