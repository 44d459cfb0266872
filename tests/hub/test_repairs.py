"""Models from before some values existed, read as Diffusers' pipelines read them."""

from __future__ import annotations

import json
import shutil

import diffusers
import pytest
import torch

from tests.pipelines.conftest import generator, quiet
from yggdrasil import InferencePipeline


@pytest.fixture
def early(tiny_folder, tmp_path):
    """Makes a model whose scheduler's file says what it is told, and no more."""

    def make(scheduler="DDIMScheduler", pipeline="StableDiffusionPipeline", **says):
        folder = shutil.copytree(tiny_folder("sd15"), tmp_path / "model")
        index = json.loads((folder / "model_index.json").read_text())
        index |= {"_class_name": pipeline, "scheduler": ["diffusers", scheduler]}
        (folder / "model_index.json").write_text(json.dumps(index))
        config = {"_class_name": scheduler, "beta_start": 0.00085, "beta_end": 0.012}
        config |= {"beta_schedule": "scaled_linear", **says}
        (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(config))
        return folder

    return make


def theirs(folder, cls="StableDiffusionPipeline"):
    pipe = getattr(diffusers, cls).from_pretrained(folder, local_files_only=True)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def call(pipe):
    return pipe(
        "a cat", num_inference_steps=4, output_type="pt", height=16, width=16, generator=generator()
    ).images


@pytest.mark.parametrize(
    ("scheduler", "says"),
    [
        ("DDIMScheduler", {}),
        ("DDIMScheduler", {"steps_offset": 0, "clip_sample": True}),
        ("PNDMScheduler", {"skip_prk_steps": False}),
        ("EulerDiscreteScheduler", {"timestep_spacing": "leading"}),
        ("DDPMScheduler", {"clip_sample": True}),
    ],
)
def test_the_numbers_of_diffusers(early, scheduler, says):
    folder = early(scheduler, **says)
    other = theirs(folder)
    pipe = quiet(InferencePipeline.from_pretrained(folder))
    mine, expected = pipe.graph.block("solver").make_scheduler().config, other.scheduler.config
    names = set(expected) - {"_use_default_values", "_class_name", "_diffusers_version"}
    assert {name: mine[name] for name in names} == {name: expected[name] for name in names}
    assert mine["steps_offset"] == 1
    for name in ("unet", "vae", "text_encoder"):  # the very weights, so that bits can be compared
        pipe.components[name].load_state_dict(other.components[name].state_dict())
    assert torch.equal(call(pipe), call(other))


@pytest.mark.parametrize("said", [None, "PNDMScheduler"])
def test_the_index_says_which_class_a_scheduler_is_of(early, said):
    folder = early("DDIMScheduler")
    path = folder / "scheduler" / "scheduler_config.json"
    config = {**json.loads(path.read_text()), "_class_name": said}
    path.write_text(json.dumps({k: v for k, v in config.items() if v is not None}))
    mine = InferencePipeline.from_pretrained(folder).graph.block("solver").make_scheduler().config
    assert (mine["steps_offset"], mine["clip_sample"]) == (1, False)
    expected = theirs(folder).scheduler.config
    assert (expected["steps_offset"], expected["clip_sample"]) == (1, False)


def test_custom_pipelines_are_read_as_they_are(early):
    folder = early("DDIMScheduler", "CustomPipeline")
    pipe = InferencePipeline.from_template("sd15", pretrained=folder)
    assert pipe.graph.block("unet").component_config("unet")["in_channels"] == 4


def test_another_solver_inherits_what_was_written(early):
    folder = early("DDIMScheduler", steps_offset=0)
    expected = diffusers.EulerDiscreteScheduler.from_config(theirs(folder).scheduler.config)
    pipe = InferencePipeline.from_pretrained(folder, solver="solver/euler")
    assert pipe.graph.block("solver").make_scheduler().config.steps_offset == 1
    assert expected.config.steps_offset == 1


def test_inpainting_models_skip_the_warm_up(early):
    folder = early("PNDMScheduler", "StableDiffusionInpaintPipeline", skip_prk_steps=False)
    expected = theirs(folder, "StableDiffusionInpaintPipeline").scheduler.config
    mine = InferencePipeline.from_pretrained(folder).graph.block("solver").make_scheduler().config
    assert mine["skip_prk_steps"] is expected["skip_prk_steps"] is True


@pytest.mark.filterwarnings("ignore:The configuration file of the unet:FutureWarning")
@pytest.mark.parametrize(("version", "size"), [("0.6.0", 64), ("0.9.0.dev0", 8), (None, 8)])
def test_sizes_of_early_unets(early, version, size):
    folder = early()
    path = folder / "unet" / "config.json"
    config = {**json.loads(path.read_text()), "sample_size": 8, "_diffusers_version": version}
    path.write_text(json.dumps({k: v for k, v in config.items() if v is not None}))
    pipe = InferencePipeline.from_pretrained(folder)
    assert pipe.graph.block("unet").component_config("unet")["sample_size"] == size
    assert pipe.components["unet"].config.sample_size == size
    if version is not None:
        assert theirs(folder).unet.config.sample_size == size


def test_models_of_other_families_are_read_as_they_are(early):
    folder = early("DDIMScheduler", steps_offset=0, clip_sample=True)
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, "_class_name": "Other"}))
    graph = InferencePipeline.from_template("sd15", pretrained=folder, solver="solver/ddim").graph
    assert graph.block("solver").make_scheduler().config.clip_sample is True


def test_what_was_put_right_is_saved(early, tmp_path):
    pipe = InferencePipeline.from_pretrained(early("DDIMScheduler", steps_offset=0))
    pipe.save_pretrained(tmp_path / "saved")
    saved = json.loads((tmp_path / "saved" / "scheduler" / "scheduler_config.json").read_text())
    assert (saved["steps_offset"], saved["clip_sample"]) == (1, False)
