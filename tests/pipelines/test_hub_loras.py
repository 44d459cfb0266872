"""LoRAs from a hub: what is fetched, which file is taken, and what is said where none can be."""

from __future__ import annotations

import pytest
import torch
from diffusers.loaders import lora_base
from huggingface_hub import constants

from tests.pipelines.conftest import generator, quiet
from tests.tiny_loras import NAME, SD, tiny_lora
from tests.tiny_models import tiny_pipeline

CALL = {"num_inference_steps": 2, "output_type": "pt"}


@pytest.fixture
def style(tmp_path, theirs):
    """Gives the folder of a published LoRA, with what people put beside it."""
    folder = tiny_lora(tmp_path / "style", theirs, SD)
    for name in ("README.md", "sample.png", "pytorch_lora_weights.bin", "optimizer.safetensors"):
        (folder / name).write_text("not to be fetched")
    return folder


@pytest.fixture(autouse=True)
def _online(monkeypatch):
    """Has Diffusers, which notes it on import, ask the hub."""
    monkeypatch.setattr(lora_base, "HF_HUB_OFFLINE", False)


def images(pipe):
    return pipe("a cat", generator=generator(), **CALL).images


def test_a_lora_of_the_hub_is_that_of_diffusers_and_one_file_is_fetched(hub, ours, style, tmp_path):
    hub.add("org/style", style)
    ours.graph.add_node("style", type="adapter/lora", weights="org/style", scale=0.8)
    mine = images(ours)
    assert hub.fetched("org/style") == {NAME}
    theirs = quiet(tiny_pipeline())
    theirs.load_lora_weights("org/style", adapter_name="style", cache_dir=tmp_path / "theirs")
    theirs.set_adapters("style", 0.8)
    assert (mine - images(theirs)).abs().max() == 0.0
    ours.graph.remove_node("style")
    assert not torch.equal(images(ours), mine)


def test_a_lora_is_had_from_the_cache_without_the_hub(hub, ours, style, monkeypatch):
    hub.add("org/style", style)
    ours.load_lora_weights("org/style")
    first = images(ours)
    ours.unload_lora_weights()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.requests.clear()
    ours.load_lora_weights("org/style")
    assert torch.equal(images(ours), first)
    assert hub.requests == []
