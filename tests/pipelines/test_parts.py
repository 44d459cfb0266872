"""Components put into a pipeline that is there, as users of Diffusers do."""

from __future__ import annotations

import pytest
import torch
from diffusers import EulerDiscreteScheduler, StableDiffusionPipeline

from tests.pipelines.conftest import generator, quiet
from tests.tiny_models import randomize, tiny_pipeline, tiny_unet, tiny_vae
from yggdrasil import InferencePipeline
from yggdrasil.core.errors import ConfigError, RegistryError

CALL = {"prompt": "a cat", "num_inference_steps": 3, "output_type": "pt"}


@pytest.fixture
def both(tiny_folder):
    """Gives a Diffusers pipeline and one of YggDrasil, of one folder."""
    theirs = quiet(StableDiffusionPipeline.from_pretrained(tiny_folder()))
    return theirs, quiet(InferencePipeline.from_diffusers(theirs))


def numbers(pipe):
    return pipe(**CALL, generator=generator()).images


def test_a_scheduler_that_is_assigned_is_the_one_that_runs(both):
    theirs, ours = both
    before = numbers(ours)
    for pipe in both:
        pipe.scheduler = EulerDiscreteScheduler.from_config(pipe.scheduler.config)
    assert ours.graph.block("solver").type_name == "solver/euler"
    assert torch.equal(numbers(ours), numbers(theirs))
    assert not torch.equal(numbers(ours), before)


def test_a_model_that_is_assigned_is_the_one_that_runs(both):
    vae = randomize(tiny_vae(), 50)
    for pipe in both:
        pipe.vae = vae
    theirs, ours = both
    assert torch.equal(numbers(ours), numbers(theirs))


def test_what_is_optional_is_left_out_by_none(both):
    _, ours = both
    ours.safety_checker = None
    assert ours.safety_checker is None
    with pytest.raises(ConfigError, match=r"unet is None, and node 'unet' .* needs one"):
        ours.unet = None
    with pytest.raises(ConfigError, match="scheduler is None: give one"):
        ours.scheduler = None


def test_an_attribute_that_is_no_component_is_an_attribute(both):
    _, ours = both
    ours.remark = "mine"
    assert ours.remark == "mine"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"vae": "x"}, r"vae is the text 'x': give the object. AutoencoderKL.from_pretrained"),
        ({"vae": object()}, "vae is a object, and the graph has a block for AutoencoderKL"),
        ({"vae": tiny_unet()}, "vae is a UNet2DConditionModel, and the graph has a block for Auto"),
        ({"scheduler": "ddim"}, r"scheduler is the text 'ddim'.*solver=... takes a name"),
    ],
)
def test_what_is_no_such_component_is_refused_before_anything_loads(tiny_folder, given, message):
    with pytest.raises(ConfigError, match=message):
        InferencePipeline.from_pretrained(tiny_folder(), **given)


def test_a_solver_without_its_role_is_found(tiny_folder):
    with pytest.raises(RegistryError, match=r"no solver .euler.\. Did you mean .solver/euler."):
        InferencePipeline.from_pretrained(tiny_folder(), solver="euler")


def test_dtypes_go_by_their_names(tiny_folder):
    pipe = InferencePipeline.from_pretrained(tiny_folder())
    assert pipe.to("float64").unet.dtype == torch.float64
    assert pipe.to(dtype="bfloat16").unet.dtype == torch.bfloat16
    with pytest.raises(ConfigError, match="Did you mean 'float16'"):
        pipe.to(dtype="fp16")


def test_a_pipeline_made_of_objects_keeps_the_other_parts():
    ours = quiet(InferencePipeline.from_diffusers(tiny_pipeline()))
    unet = ours.unet
    ours.scheduler = EulerDiscreteScheduler.from_config(ours.scheduler.config)
    assert ours.unet is unet


def test_options_of_diffusers_that_change_nothing_are_taken(tiny_folder):
    load = InferencePipeline.from_pretrained
    load(tiny_folder(), use_safetensors=True, low_cpu_mem_usage=True)
    with pytest.raises(ConfigError, match=r"'use_safetensors' .* from safetensors only"):
        load(tiny_folder(), use_safetensors=False)
    with pytest.raises(ConfigError, match=r"'device_map' .* pipe\.to\(device\)"):
        load(tiny_folder(), device_map="auto")
    with pytest.raises(ConfigError, match="'dtpe' is neither") as refused:
        load(tiny_folder(), dtpe="float16")
    assert "'graph'" not in str(refused.value)
