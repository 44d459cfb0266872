"""Models in one file make the pictures that Diffusers makes of the same file."""

from __future__ import annotations

import json
import logging
import shutil

import pytest
import torch
from diffusers import (
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
)
from safetensors.torch import load_file, save_file

from tests.pipelines.conftest import generator, quiet
from tests.pipelines.pictures import mask, picture
from tests.single_files import save_checkpoint
from tests.tiny_models import tiny_pipeline
from yggdrasil import ComputeGraph, InferencePipeline, TrainingPipeline
from yggdrasil.hub import checkpoint
from yggdrasil.hub.locate import locate_checkpoint

CALL = {"num_inference_steps": 3, "output_type": "pt"}


@pytest.fixture
def configs(tiny_folder, tmp_path):
    """Gives a model's folder without its weights."""

    def of(kind):
        ignore = shutil.ignore_patterns("*.safetensors")
        return shutil.copytree(tiny_folder(kind), tmp_path / f"{kind}-configs", ignore=ignore)

    return of


@pytest.fixture
def file(tmp_path):
    """Writes a model as one file."""

    def of(kind):
        return save_checkpoint(tmp_path / f"{kind}.safetensors", tiny_pipeline(kind).components)

    return of


def images(pipe, **given):
    return quiet(pipe)("a cat", generator=generator(), **{**CALL, **given}).images


def by_diffusers(cls, file, config, **options):
    """Loads a file by Diffusers, weights at even addresses: others give other last bits."""
    pipe = cls.from_single_file(str(file), config=str(config), local_files_only=True, **options)
    for module in (pipe.unet, pipe.vae, pipe.text_encoder):
        for parameter in module.parameters():
            parameter.data = parameter.data.clone()
    return pipe


@pytest.mark.parametrize(
    ("kind", "cls", "given"),
    [
        ("sd15", StableDiffusionPipeline, {}),
        ("sd15", StableDiffusionImg2ImgPipeline, {"image": picture(), "strength": 0.7}),
        ("sd2", StableDiffusionPipeline, {"guidance_rescale": 0.5}),
        (
            "sd15_inpaint",
            StableDiffusionInpaintPipeline,
            {"image": picture(), "mask_image": mask()},
        ),
        (
            "sd2_inpaint",
            StableDiffusionInpaintPipeline,
            {"image": picture(), "mask_image": mask()},
        ),
    ],
)
def test_a_file_makes_the_pictures_of_diffusers(file, configs, kind, cls, given):
    path, config = file(kind), configs(kind)
    pipe = InferencePipeline.from_single_file(path, config=config)
    mine = images(pipe, **given)
    theirs = images(by_diffusers(cls, path, config), **given)
    assert (mine - theirs).abs().max() == 0.0
    assert torch.equal(mine, images(cls(**tiny_pipeline(kind).components), **given))


def test_a_file_in_half_precision_is_loaded_in_the_precision_asked_for(file, configs):
    path, config = file("sd2"), configs("sd2")
    halves = {n: t.half() if t.is_floating_point() else t for n, t in load_file(path).items()}
    save_file(halves, path, metadata={"format": "pt"})
    pipe = InferencePipeline.from_single_file(path, config=config)
    whole = by_diffusers(StableDiffusionPipeline, path, config, dtype=torch.float32)
    assert torch.equal(images(pipe), images(whole))
    pipe = InferencePipeline.from_single_file(path, config=config, torch_dtype=torch.bfloat16)
    theirs = by_diffusers(StableDiffusionPipeline, path, config, dtype=torch.bfloat16)
    assert pipe.components["unet"].dtype == torch.bfloat16
    assert torch.equal(images(pipe), images(theirs))


def test_what_a_file_predicts_may_be_said(file, configs):
    path, config = file("sd2"), configs("sd2")
    pipe = InferencePipeline.from_single_file(path, config=config, prediction_type="epsilon")
    theirs = by_diffusers(StableDiffusionPipeline, path, config)
    theirs.scheduler = type(theirs.scheduler).from_config(
        theirs.scheduler.config, prediction_type="epsilon"
    )
    assert torch.equal(images(pipe), images(theirs))
    for solver in ("solver/euler", "solver/dpmpp_2m"):
        pipe = InferencePipeline.from_single_file(
            path, config=config, prediction_type="epsilon", solver=solver
        )
        made = pipe.graph.block("solver").make_scheduler()
        assert made.config.prediction_type == "epsilon"


def test_components_are_loaded_when_they_are_needed(file, configs, monkeypatch):
    loaded = []
    convert = checkpoint.convert
    monkeypatch.setattr(
        checkpoint, "convert", lambda c, *rest: (loaded.append(c.__name__), convert(c, *rest))[1]
    )
    pipe = quiet(InferencePipeline.from_single_file(file("sd15"), config=configs("sd15")))
    assert loaded == []
    pipe("a cat", num_inference_steps=1, output_type="latent", seed=0)
    assert sorted(loaded) == ["CLIPTextModel", "UNet2DConditionModel"]
    pipe("a cat", num_inference_steps=1, seed=0)
    assert sorted(loaded) == ["AutoencoderKL", "CLIPTextModel", "UNet2DConditionModel"]


def test_a_file_becomes_a_folder(file, configs, tmp_path):
    pipe = InferencePipeline.from_single_file(file("sd2"), config=configs("sd2"))
    expected = images(pipe)
    folder = pipe.save_pretrained(tmp_path / "saved")
    assert torch.equal(images(InferencePipeline.from_pretrained(folder)), expected)
    theirs = quiet(StableDiffusionPipeline.from_pretrained(folder))
    for module in (theirs.unet, theirs.vae, theirs.text_encoder):
        for parameter in module.parameters():
            parameter.data = parameter.data.clone()
    assert torch.equal(images(theirs), expected)


def test_components_of_ones_own_take_the_place_of_the_files(file, configs):
    path, config, vae = file("sd15"), configs("sd15"), tiny_pipeline(seed=4).vae
    pipe = InferencePipeline.from_single_file(path, config=config, vae=vae)
    theirs = by_diffusers(StableDiffusionPipeline, path, config, vae=vae)
    assert pipe.components["vae"] is vae
    assert torch.equal(images(pipe), images(theirs))


def test_a_safety_checker_of_the_configurations_is_left_out(file, configs, caplog):
    """As Diffusers does: a file holds none."""
    config = configs("sd15")
    index = json.loads((config / "model_index.json").read_text())
    index["safety_checker"] = ["stable_diffusion", "StableDiffusionSafetyChecker"]
    (config / "model_index.json").write_text(json.dumps(index))
    with caplog.at_level(logging.WARNING, "yggdrasil"):
        pipe = InferencePipeline.from_single_file(file("sd15"), config=config)
    assert caplog.text == ""
    assert images(pipe).shape == (1, 3, 64, 64)


def test_training_goes_on_from_a_file(file, configs):
    library = locate_checkpoint(file("sd15"), config=configs("sd15"))
    graph = ComputeGraph.from_template("sd15").add_node("objective", "objective/mse")
    pipe = TrainingPipeline(graph, train_nodes=["unet"], library=library)
    expected = tiny_pipeline().unet.state_dict()
    loaded = pipe.graph.block("unet").unet.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in loaded.items())
