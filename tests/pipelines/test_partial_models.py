"""Models that lack something, or are other than they say, are told when the pipeline is made."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from diffusers import DDIMScheduler
from safetensors.torch import load_file, save_file

from tests.single_files import save_checkpoint
from tests.tiny_models import tiny_pipeline
from yggdrasil import InferencePipeline, TrainingPipeline
from yggdrasil.core.errors import ModelError


@pytest.fixture
def model(tiny_folder, tmp_path):
    return shutil.copytree(tiny_folder("sd15"), tmp_path / "model")


def say(model, **entries):
    """Changes the entries of a model's index."""
    path = model / "model_index.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **entries}))


@pytest.mark.parametrize(
    ("name", "node"),
    [("unet", "unet"), ("vae", "vae"), ("text_encoder", "text"), ("scheduler", "solver")],
)
@pytest.mark.parametrize("entry", [None, [None, None]])
def test_a_model_without_a_component_is_refused(model, name, node, entry):
    say(model, **{name: entry})
    message = rf"model has no '{name}', which node '{node}' needs; it has .* Give {name}=\.\.\."
    with pytest.raises(ModelError, match=message):
        InferencePipeline.from_pretrained(model)
    with pytest.raises(ModelError, match=message):
        TrainingPipeline.from_pretrained(model, train_nodes=["unet"])


def test_what_the_caller_gives_is_not_missed(model):
    say(model, scheduler=None, vae=None)
    given = {"scheduler": DDIMScheduler(), "vae": tiny_pipeline("sd15").vae}
    pipe = InferencePipeline.from_pretrained(model, **given)
    result = pipe("a cat", num_inference_steps=1, output_type="latent", seed=0)
    assert result.latents.shape == (1, 4, 8, 8)


def test_what_a_checkpoint_lacks_is_taken_from_its_config_and_said(tiny_folder, tmp_path, caplog):
    components = tiny_pipeline("sd15").components
    file = save_checkpoint(tmp_path / "model.safetensors", components)
    kept = {k: v for k, v in load_file(file).items() if not k.startswith("first_stage_model.")}
    save_file(kept, file)
    folder = tiny_folder("sd15")
    taken = InferencePipeline.from_single_file(file, config=folder)
    assert f"model.safetensors has no vae: taken from {folder}" in caplog.text
    expected = InferencePipeline.from_pretrained(folder).components["vae"].state_dict()
    found = taken.components["vae"].state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    pipe = InferencePipeline.from_single_file(
        file, config=tiny_folder("sd15"), vae=components["vae"]
    )
    assert pipe.components["vae"] is components["vae"]


def test_a_component_of_another_class_is_refused_before_weights_are_fetched(hub, model):
    say(model, vae=["diffusers", "AutoencoderTiny"])
    message = r"vae is a AutoencoderTiny, as the model's index says, .* for AutoencoderKL there"
    with pytest.raises(ModelError, match=message):
        InferencePipeline.from_pretrained(model)
    hub.add("org/name", model)
    with pytest.raises(ModelError, match=message):
        InferencePipeline.from_pretrained("org/name")
    assert not [name for name in hub.fetched("org/name") if name.endswith(".safetensors")]
    vae = tiny_pipeline("sd15").vae
    assert InferencePipeline.from_pretrained(model, vae=vae).components["vae"] is vae


@pytest.mark.parametrize("given", [{"variant": "fp16"}, {"subfolder": "part"}])
def test_a_file_has_no_variants_and_no_folders(tmp_path, given):
    for load in (InferencePipeline.from_single_file, InferencePipeline.from_pretrained):
        with pytest.raises(ModelError, match=rf"is one file: {next(iter(given))}='.*' means noth"):
            load(tmp_path / "model.safetensors", **given)


def test_files_and_folders_are_told_apart(model):
    with pytest.raises(
        ModelError, match=r"model_index\.json is a file: .* the one that it is in, .*/model,"
    ):
        InferencePipeline.from_pretrained(model / "model_index.json")
    with pytest.raises(ModelError, match=r"model is a folder: from_pretrained reads those"):
        InferencePipeline.from_single_file(model)


def test_a_word_that_a_library_does_not_know_is_told_as_such(model):
    path = model / "text_encoder" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "hidden_act": "nope"}))
    pipe = InferencePipeline.from_pretrained(model)
    with pytest.raises(ModelError, match=r"loaded as CLIPTextModel: KeyError: 'nope'"):
        pipe("a cat", num_inference_steps=1, seed=0)
