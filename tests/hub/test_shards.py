"""Models in several files, read one after another or side by side."""

from __future__ import annotations

import diffusers.models.modeling_utils
import pytest
import torch
from diffusers import UNet2DConditionModel

from tests.pipelines.conftest import quiet
from tests.tiny_models import tiny_pipeline
from yggdrasil import ComputeGraph, InferencePipeline
from yggdrasil.core.block import AbstractBaseBlock
from yggdrasil.core.component import Component
from yggdrasil.hub.sources import FolderSource


@pytest.mark.parametrize("parallel", [False, True])
def test_the_weights_are_the_same_read_side_by_side(tmp_path, monkeypatch, parallel):
    unet = tiny_pipeline().unet
    unet.save_pretrained(tmp_path / "unet", max_shard_size="100KB")
    assert len(list((tmp_path / "unet").glob("*.safetensors"))) > 1
    monkeypatch.setattr(diffusers.models.modeling_utils, "HF_ENABLE_PARALLEL_LOADING", parallel)
    slot = Component(UNet2DConditionModel)
    slot.__set_name__(AbstractBaseBlock, "unet")
    read = FolderSource(tmp_path).load(slot).state_dict()
    assert all(torch.equal(read[name], value) for name, value in unet.state_dict().items())


def test_stages_that_name_one_model_share_its_components(tiny_folder):
    stages = ComputeGraph("stages")
    for name in ("first", "second"):
        graph = ComputeGraph(name).add_node("vae", "codec/autoencoder_kl")
        stages.add_stage(name, graph, pretrained=str(tiny_folder("sd15")))
    quiet(InferencePipeline.from_graph(stages))
    first, second = (stages.block(name).inner_graph.block("vae") for name in ("first", "second"))
    assert not first._modules  # nothing is loaded until it is wanted
    assert first.vae is second.vae
