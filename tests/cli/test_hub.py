"""The commands of the hub."""

from __future__ import annotations

import json

from yggdrasil.hub.registry import MODEL_REGISTRY


def test_the_registry_is_listed_with_a_line_for_each_model(yggdrasil, monkeypatch):
    monkeypatch.delenv("COLUMNS")
    lines = yggdrasil("hub", "list").out.splitlines()
    assert len(lines) == len(MODEL_REGISTRY) + 1
    (line,) = (each for each in lines if each.split()[0] == "black-forest-labs/FLUX.1-Fill-dev")
    assert line.split()[1:4] == ["flux", "fill", "yes"]
    (line,) = (each for each in lines if each.split()[0] == "stabilityai/stable-diffusion-2-depth")
    assert "StableDiffusionDepth2ImgPipeline, as one block" in line


def test_the_registry_for_programs(yggdrasil):
    listed = json.loads(yggdrasil("hub", "list", "--json").out)
    assert listed == [entry.to_dict() for entry in MODEL_REGISTRY.entries]
    assert all(each["source"] for each in listed)


def test_a_model_is_resolved_with_the_fact_that_decided(yggdrasil, tiny_folder):
    out = yggdrasil("hub", "resolve", tiny_folder("sd15")).out
    assert "model_index.json names StableDiffusionPipeline" in out
    found = json.loads(yggdrasil("hub", "resolve", "latent-consistency/lcm-sdxl", "--json").out)
    assert (found["template"], found["component"]) == ("sdxl", "unet")
    assert found["registry"]["configs"] == "unet_sdxl_lcm"
    assert found["files"] is None


def test_what_would_be_fetched_is_listed(yggdrasil, hub, tiny_folder):
    hub.add("somebody/painter", tiny_folder("sd15"))
    found = json.loads(yggdrasil("hub", "resolve", "somebody/painter", "--online", "--json").out)
    assert "unet/diffusion_pytorch_model.safetensors" in found["files"]
    assert hub.fetched("somebody/painter") == {"model_index.json"}


def test_a_model_that_nobody_knows_is_an_error(yggdrasil):
    ended = yggdrasil("hub", "resolve", "black-forest-labs/FLUX.1-def")
    assert ended.code == 1
    assert "Did you mean 'black-forest-labs/FLUX.1-dev'" in ended.err
