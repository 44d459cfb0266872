"""The safety checker that many models of Stable Diffusion 1.x come with."""

from __future__ import annotations

import pytest
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from transformers import CLIPConfig, CLIPImageProcessor

from tests.pipelines.conftest import generator, quiet
from tests.tiny_models import randomize, tiny_pipeline
from yggdrasil import InferencePipeline

CALL = {"num_inference_steps": 2, "output_type": "pt"}


def checked(threshold: float):
    """Gives a Diffusers pipeline whose checker flags what is more alike than a threshold."""
    tower = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 8,
        "projection_dim": 8,
    }
    config = CLIPConfig(vision_config=tower, text_config={"vocab_size": 8}, projection_dim=8)
    checker = randomize(StableDiffusionSafetyChecker(config), 3)
    checker.concept_embeds_weights.data.fill_(threshold)
    checker.special_care_embeds_weights.data.fill_(2.0)
    sizes = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    pipe = tiny_pipeline()
    pipe.register_modules(safety_checker=checker, feature_extractor=CLIPImageProcessor(**sizes))
    return pipe


@pytest.mark.parametrize(("threshold", "flags"), [(-2.0, [True]), (2.0, [False])])
@pytest.mark.parametrize("output_type", ["pt", "np", "pil"])
def test_what_is_held_back_is_black_as_in_diffusers(threshold, flags, output_type):
    theirs = checked(threshold)
    ours = quiet(InferencePipeline.from_diffusers(theirs))
    call = {**CALL, "output_type": output_type}
    reference = theirs("a cat", generator=generator(0), **call)
    mine = ours("a cat", generator=generator(0), **call)
    assert reference.nsfw_content_detected == mine.nsfw_content_detected == flags
    if output_type == "pil":
        assert mine.images[0].tobytes() == reference.images[0].tobytes()
    else:
        assert abs(mine.images - reference.images).max() == 0.0
    assert ours("a cat", seed=0, return_dict=False, **call)[1] == flags


def test_a_saved_checker_is_loaded_again(tmp_path):
    theirs = checked(-2.0)
    theirs.save_pretrained(tmp_path / "model")
    ours = quiet(InferencePipeline.from_pretrained(tmp_path / "model"))
    assert ours("a cat", seed=0, **CALL).nsfw_content_detected == [True]
    ours.save_pretrained(tmp_path / "again")
    again = quiet(InferencePipeline.from_pretrained(tmp_path / "again"))
    assert torch.equal(again("a cat", seed=0, **CALL).images, torch.zeros(1, 3, 64, 64))


def test_a_model_without_a_checker_is_not_checked(ours):
    result = ours("a cat", seed=0, **CALL)
    assert result.nsfw_content_detected is None
    assert "safety.check" not in ours.plan("a cat").describe()


def test_latents_are_not_checked():
    ours = quiet(InferencePipeline.from_diffusers(checked(-2.0)))
    assert ours("a cat", seed=0, num_inference_steps=1, output_type="latent").images.any()
