"""A saved pipeline is a folder that Diffusers loads too, and that gives the same pictures."""

from __future__ import annotations

import json

import diffusers
import pytest
import torch
from diffusers import DiffusionPipeline, StableDiffusionPipeline

from tests.pipelines.conftest import generator, quiet
from tests.pipelines.pictures import mask, picture
from tests.tiny_models import tiny_pipeline
from yggdrasil import ComputeGraph, InferencePipeline
from yggdrasil.core.errors import GraphFileError, InputError
from yggdrasil.core.roles import AbstractProcessor

CALL = {"num_inference_steps": 3, "output_type": "pt"}


def images(pipe, **given):
    return pipe("a cat", generator=generator(), **{**CALL, **given}).images


def by_diffusers(folder, cls=StableDiffusionPipeline):
    """Loads a folder by Diffusers, weights copied from the file's odd addresses to even ones.

    Kernels that align differently give other last bits.
    """
    pipe = quiet(cls.from_pretrained(folder))
    for model in (pipe.unet, pipe.vae, pipe.text_encoder):
        for parameter in model.parameters():
            parameter.data = parameter.data.clone()
    return pipe


@pytest.mark.parametrize("kind", ["sd15", "sd2", "lcm"])
def test_diffusers_loads_what_was_saved(tmp_path, kind):
    theirs = tiny_pipeline(kind)
    folder = InferencePipeline.from_diffusers(theirs).save_pretrained(tmp_path / "saved")
    loaded = by_diffusers(folder)
    assert torch.equal(images(loaded), images(theirs))
    assert torch.equal(images(quiet(InferencePipeline.from_pretrained(folder))), images(theirs))


def test_an_inpainting_model_stays_one(tmp_path):
    theirs = tiny_pipeline("sd15_inpaint")
    folder = InferencePipeline.from_diffusers(theirs).save_pretrained(tmp_path)
    loaded = by_diffusers(folder, DiffusionPipeline)
    assert type(loaded) is type(theirs)
    given = {"image": picture(), "mask_image": mask()}
    assert torch.equal(images(loaded, **given), images(theirs, **given))


def test_edits_are_kept_solver_and_options_included(ours, tmp_path):
    ours.graph.replace_node("solver", "solver/dpmpp_2m", use_karras_sigmas=True)
    ours.graph.replace_node("image", "processor/vae_image", resample="bilinear")
    ours.graph.remove_node("blend")
    expected = images(ours)
    folder = ours.save_pretrained(tmp_path)
    again = quiet(InferencePipeline.from_pretrained(folder))
    assert again.graph.to_yaml() == ours.graph.to_yaml()
    assert torch.equal(images(again), expected)
    loaded = by_diffusers(folder)
    assert type(loaded.scheduler) is diffusers.DPMSolverMultistepScheduler
    assert torch.equal(images(loaded), expected)


def test_a_saved_graph_may_be_given_another_solver(ours, tmp_path):
    folder = ours.save_pretrained(tmp_path)
    pipe = InferencePipeline.from_pretrained(folder, solver="solver/heun")
    assert pipe.graph.block("solver").type_name == "solver/heun"


def test_weights_in_half_precision_are_saved_so(tmp_path):
    pipe = InferencePipeline.from_diffusers(tiny_pipeline()).to(torch.bfloat16)
    folder = pipe.save_pretrained(tmp_path)
    from safetensors.torch import load_file

    stored = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.bfloat16}


def test_a_folder_may_be_saved_over_itself(tiny_folder, tmp_path):
    folder = tmp_path / "model"
    pipe = quiet(InferencePipeline.from_pretrained(tiny_folder("sd15")))
    expected = images(pipe)
    pipe.save_pretrained(folder)
    reopened = quiet(InferencePipeline.from_pretrained(folder))
    reopened.save_pretrained(folder)
    assert torch.equal(images(reopened), expected)
    assert torch.equal(images(quiet(InferencePipeline.from_pretrained(folder))), expected)
    assert not [*folder.glob(".*")]


def test_the_folder_holds_what_nodes_took_from_elsewhere(tiny_folder, tmp_path):
    tiny_pipeline(seed=3).save_pretrained(tmp_path / "other")
    pipe = quiet(InferencePipeline.from_pretrained(tiny_folder("sd15")))
    pipe.graph.replace_node("vae", "codec/autoencoder_kl", pretrained=str(tmp_path / "other"))
    expected = images(pipe)
    folder = pipe.save_pretrained(tmp_path / "saved")
    assert "other" not in (folder / "graph.yaml").read_text()
    assert torch.equal(images(quiet(InferencePipeline.from_pretrained(folder))), expected)
    assert torch.equal(images(by_diffusers(folder)), expected)


def test_words_that_other_readers_take_for_truth_are_kept(ours, tmp_path):
    ours.graph.defaults = {"prompt": "yes", "negative_prompt": "a\x85b"}
    ours.graph.replace_node("vae", ours.graph.block("vae"), pretrained="somewhere")
    folder = ours.save_pretrained(tmp_path / "saved")
    assert ComputeGraph.from_yaml(folder / "graph.yaml").defaults == ours.graph.defaults


def test_the_graph_of_a_stage_is_saved_without_the_places_of_components(tiny_folder, tmp_path):
    inner = ComputeGraph("inner").add_node("vae", "codec/autoencoder_kl")
    inner.replace_node("vae", "codec/autoencoder_kl", pretrained=str(tiny_folder("sd15")))
    pipe = InferencePipeline(ComputeGraph("outer").add_stage("stage", inner))
    text = (pipe.save_pretrained(tmp_path / "saved") / "graph.yaml").read_text()
    assert "vae: {type: codec/autoencoder_kl}" in text
    assert "pretrained" not in text


def test_the_index_names_every_component(ours, tmp_path):
    index = json.loads((ours.save_pretrained(tmp_path) / "model_index.json").read_text())
    assert index["_class_name"] == "StableDiffusionPipeline"
    assert index["unet"] == ["diffusers", "UNet2DConditionModel"]
    assert index["text_encoder"] == ["transformers", "CLIPTextModel"]
    assert index["scheduler"] == ["diffusers", "PNDMScheduler"]
    assert index["safety_checker"] == [None, None]


def test_two_components_of_one_name_do_not_fit_into_a_folder(ours, tmp_path):
    ours.graph.add_node("second", type="codec/autoencoder_kl", auto_connect=False)
    ours.graph.block("second").give(vae=tiny_pipeline(seed=9).vae)
    with pytest.raises(InputError, match="second and vae hold different components called 'vae'"):
        ours.save_pretrained(tmp_path / "saved")
    assert not (tmp_path / "saved").exists()


def test_a_block_without_a_name_is_refused_before_anything_is_written(ours, tmp_path):
    class Nameless(AbstractProcessor):
        """Does nothing."""

    ours.graph.add_node("odd", Nameless())
    with pytest.raises(GraphFileError, match="Nameless, which a graph file cannot name"):
        ours.save_pretrained(tmp_path / "saved")
    assert not (tmp_path / "saved").exists()
