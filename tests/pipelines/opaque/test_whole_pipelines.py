from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import DDPMPipeline, ImagePipelineOutput

from tests.tiny_whole import tiny_ddpm
from yggdrasil import InferencePipeline, Runner
from yggdrasil.core.errors import ConfigError, GraphFileError, MissingInputError, UnknownInputError

CALL = {"num_inference_steps": 3, "output_type": "np"}


@pytest.fixture(scope="module")
def theirs():
    return tiny_ddpm(DDPMPipeline)


@pytest.fixture(scope="module")
def expected(theirs):
    return theirs(generator=torch.Generator().manual_seed(0), **CALL).images


def test_a_pipeline_without_a_template_gives_its_own_numbers(theirs, expected):
    pipe = InferencePipeline.from_diffusers(theirs)
    assert list(pipe.graph.nodes) == ["pipeline"]
    assert np.array_equal(pipe(seed=0, **CALL).images, expected)


def test_it_is_saved_in_the_layout_of_diffusers_and_loaded_back(theirs, expected, tmp_path):
    InferencePipeline.from_diffusers(theirs).save_pretrained(tmp_path / "ours")
    theirs.save_pretrained(tmp_path / "theirs")
    for folder in ("ours", "theirs"):
        loaded = InferencePipeline.from_pretrained(tmp_path / folder)
        assert np.array_equal(loaded(seed=0, **CALL).images, expected), folder
    indices = [(tmp_path / each / "model_index.json").read_text() for each in ("ours", "theirs")]
    assert indices[0] == indices[1]
    assert isinstance(DDPMPipeline.from_pretrained(tmp_path / "ours"), DDPMPipeline)


def test_what_was_drawn_is_kept_with_the_state_of_the_generator(theirs):
    pipe = InferencePipeline.from_diffusers(theirs)
    first, second = (torch.Generator().manual_seed(1) for _ in range(2))
    one, two = (pipe(generator=each, **CALL).images for each in (first, second))
    assert pipe.cache_info().hits == 1
    assert np.array_equal(one, two)
    assert torch.equal(first.get_state(), second.get_state())


def test_a_call_without_a_generator_is_not_kept(theirs):
    pipe = InferencePipeline.from_diffusers(theirs)
    one, two = (pipe(**CALL).images for _ in range(2))
    assert not np.array_equal(one, two)
    assert pipe.cache_info().entries == 0


def test_weights_that_change_are_noticed(theirs):
    pipe = InferencePipeline.from_diffusers(tiny_ddpm(DDPMPipeline))
    before = pipe(seed=0, **CALL).images
    with torch.no_grad():
        pipe.components["unet"].conv_in.weight.mul_(1.5)
    assert not np.array_equal(before, pipe(seed=0, **CALL).images)


def test_a_scheduler_in_the_place_of_its_own_is_used(theirs, tmp_path):
    theirs.save_pretrained(tmp_path)
    other = theirs.scheduler.from_config(theirs.scheduler.config, beta_end=0.5)
    theirs = DDPMPipeline(unet=theirs.unet, scheduler=other)
    theirs.set_progress_bar_config(disable=True)
    expected = theirs(generator=torch.Generator().manual_seed(0), **CALL).images
    ours = InferencePipeline.from_pretrained(tmp_path, scheduler=other)
    assert np.array_equal(ours(seed=0, **CALL).images, expected)


def test_a_workflow_of_it_runs(theirs, expected, tmp_path):
    theirs.save_pretrained(tmp_path / "model")
    pipe = InferencePipeline.from_pretrained(tmp_path / "model")
    pipe.save_workflow(tmp_path / "flow.yaml", seed=0, **CALL)
    assert np.array_equal(Runner.execute(tmp_path / "flow.yaml").images, expected)


def test_arguments_that_it_does_not_take_are_named(theirs):
    pipe = InferencePipeline.from_diffusers(theirs)
    with pytest.raises(UnknownInputError, match=r"no argument 'num_steps'. Did you mean 'num_inf"):
        pipe(seed=0, num_steps=3)


class BrighterPipeline(DDPMPipeline):
    """One's own."""

    @torch.no_grad()
    def __call__(self, lift: float, generator=None) -> ImagePipelineOutput:
        made = super().__call__(generator=generator, **CALL)
        return ImagePipelineOutput(images=made.images + lift)


def test_a_class_of_ones_own_runs_and_is_in_no_file(expected, tmp_path):
    pipe = InferencePipeline.from_diffusers(tiny_ddpm(BrighterPipeline))
    assert np.array_equal(pipe(lift=0.5, seed=0).images, expected + 0.5)
    with pytest.raises(MissingInputError, match="needs 'lift'"):
        pipe(seed=0)
    with pytest.raises(GraphFileError, match="holds a HandedPipeline, which a graph file cannot"):
        pipe.save_pretrained(tmp_path)


@pytest.mark.parametrize("option", ["trust_remote_code", "custom_pipeline"])
def test_code_is_not_fetched(option, tiny_folder):
    with pytest.raises(ConfigError, match=f"{option}=.* would fetch and run code"):
        InferencePipeline.from_pretrained(tiny_folder(), **{option: "anything"})
