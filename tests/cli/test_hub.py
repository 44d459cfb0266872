"""The commands of the hub."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace

import pytest

from yggdrasil.hub.config_sets import config_sets
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


def test_each_registered_model_is_checked_with_a_line(yggdrasil, monkeypatch):
    sets = {name: config_sets()[name] for name in ("flux_redux", "controlnet_sd1", "sd1")}
    monkeypatch.setattr("yggdrasil.hub.config_sets.config_sets", lambda: sets)
    ended = yggdrasil("hub", "check")
    assert ended.code == 0
    assert re.search(r"^ok +flux_redux +0.49 B .* flux_redux: embed 2$", ended.out, re.MULTILINE)
    assert re.search(r"^ok +controlnet_sd1 .* sd15_controlnet: txt2img 18", ended.out, re.MULTILINE)
    assert "stabilityai/sd-turbo: not registered, no copy of its scheduler" in ended.out
    assert "3 sets of configurations" in ended.err


def test_a_fault_is_told_and_ends_with_code_1(yggdrasil, monkeypatch):
    good = config_sets()["controlnet_sd1"]
    wrong = {"controlnet": replace(good.components["controlnet"], values={"chanels": 1})}
    sets = {"wrong": replace(good, components=wrong), "sd1": config_sets()["sd1"]}
    monkeypatch.setattr("yggdrasil.hub.config_sets.config_sets", lambda: sets)
    monkeypatch.setattr("yggdrasil.hub.config_library.config_sets", lambda: sets)
    ended = yggdrasil("hub", "check")
    assert ended.code == 1
    assert "fault wrong: ConfigError: ControlNetModel has no 'chanels'" in ended.out
    found = yggdrasil("hub", "check", "--json")
    assert (found.code, json.loads(found.out)["checked"][0]["name"]) == (1, "wrong")


@pytest.mark.slow
def test_all_registered_models_are_checked_within_two_minutes(yggdrasil):
    begun = time.process_time()
    ended = yggdrasil("hub", "check")
    assert ended.code == 0
    assert len(ended.out.splitlines()) > len(config_sets())
    assert time.process_time() - begun < 120
