"""Pipelines with LoRAs in folders, workflows and pictures."""

from __future__ import annotations

import shutil

import pytest
import torch
from peft import LoraConfig, get_peft_model

from tests.pipelines.conftest import quiet
from tests.pipelines.test_lora_training import learner
from tests.pipelines.test_training import INPUTS, Pictures, settings
from tests.tiny_loras import NAME, SD, tiny_factors, tiny_lora, write
from tests.tiny_models import tiny_pipeline
from yggdrasil import InferencePipeline
from yggdrasil.core.errors import ModelError
from yggdrasil.pipelines.rerun import rerun
from yggdrasil.pipelines.runner import Runner

CALL = {"num_inference_steps": 2, "output_type": "pt", "seed": 0}
PIL = {**CALL, "output_type": "pil"}


@pytest.fixture
def style(tmp_path):
    return tiny_lora(tmp_path / "style", tiny_pipeline(), SD)


@pytest.fixture
def pipe(tiny_folder, style):
    """Gives a pipeline of a model in a folder, with a LoRA."""
    made = quiet(InferencePipeline.from_pretrained(tiny_folder("sd15")))
    made.graph.add_node("style", type="adapter/lora", weights=str(style), scale=0.8)
    return made


def test_a_folder_holds_the_loras_of_its_graph(ours, style, tmp_path):
    ours.graph.add_node("style", type="adapter/lora", weights=str(style), scale=0.8)
    expected = ours("a cat", **CALL).images
    folder = ours.save_pretrained(tmp_path / "saved")
    shutil.rmtree(style)
    moved = folder.rename(tmp_path / "moved")
    assert "weights: adapters/style/" in (moved / "graph.yaml").read_text()
    again = quiet(InferencePipeline.from_pretrained(moved))
    assert torch.equal(again("a cat", **CALL).images, expected)
    again.save_pretrained(moved)  # over itself
    assert (moved / "adapters/style" / NAME).is_file()


def test_a_folder_holds_loras_that_were_trained(tmp_path):
    pipeline, _ = learner()
    pipeline.fit(Pictures(), settings(steps=2), tmp_path / "run", inputs=INPUTS)
    ours = quiet(pipeline.inference())
    expected = ours("a cat", **CALL).images
    again = quiet(InferencePipeline.from_pretrained(ours.save_pretrained(tmp_path / "saved")))
    assert torch.equal(again("a cat", **CALL).images, expected)


def test_a_lora_that_peft_saved_is_saved_with_its_configuration(ours, tmp_path):
    torch.manual_seed(0)
    config = LoraConfig(r=2, lora_alpha=5, target_modules=["to_q"], init_lora_weights=False)
    get_peft_model(tiny_pipeline().unet, config).save_pretrained(tmp_path / "peft")
    ours.graph.add_node("style", type="adapter/lora", weights=str(tmp_path / "peft"))
    expected = ours("a cat", **CALL).images
    folder = ours.save_pretrained(tmp_path / "saved")
    again = quiet(InferencePipeline.from_pretrained(folder))
    assert torch.equal(again("a cat", **CALL).images, expected)
    theirs = tiny_pipeline()
    theirs.set_progress_bar_config(disable=True)
    theirs.load_lora_weights(folder / "adapters/style")
    call = {**CALL, "generator": torch.Generator().manual_seed(CALL["seed"])}
    del call["seed"]
    assert torch.equal(theirs("a cat", **call).images, expected)


@pytest.mark.parametrize("place", ["../style", "/tmp"])  # noqa: S108 - nothing is written there
def test_a_saved_graph_names_no_file_outside_its_folder(ours, style, tmp_path, place):
    ours.graph.add_node("style", type="adapter/lora", weights=str(style))
    ours("a cat", **CALL)
    folder = ours.save_pretrained(tmp_path / "saved")
    file = folder / "graph.yaml"
    file.write_text(file.read_text().replace(f"adapters/style/{NAME}", place))
    with pytest.raises(ModelError, match="which lies outside that folder"):
        InferencePipeline.from_pretrained(folder)


def test_a_picture_made_with_a_lora_is_made_again(pipe, tmp_path):
    pipe("a cat", **PIL).save(tmp_path / "cat.png")
    again = rerun(tmp_path / "cat.png")
    assert again.same, again.differences


def test_a_lora_that_is_another_by_now_is_told(pipe, style, tmp_path):
    pipe("a cat", **PIL).save(tmp_path / "cat.png")
    write(style, tiny_factors(tiny_pipeline(), SD, seed=5))
    again = rerun(tmp_path / "cat.png")
    assert not again.same
    assert "the weights of style are others" in again.differences


def test_a_lora_that_is_gone_is_told(pipe, style, tmp_path):
    pipe("a cat", **PIL).save(tmp_path / "cat.png")
    shutil.rmtree(style)
    with pytest.raises(ModelError, match=r"There is no LoRA '.*style'"):
        rerun(tmp_path / "cat.png")


def test_a_scale_that_was_set_later_is_recorded(pipe, tmp_path):
    pipe("a cat", **PIL)
    pipe.graph.block("style").scale = 0.3
    pipe("a cat", **PIL).save(tmp_path / "cat.png")
    again = rerun(tmp_path / "cat.png")
    assert again.same, again.differences


def test_a_workflow_keeps_how_a_lora_is_fused(pipe, style, tmp_path):
    apart = pipe("a cat", **CALL).images
    pipe.graph.add_node("other", "adapter/lora", weights=str(style), scale=0.3, order=1)
    pipe.fuse_lora(["unet"], 0.5, safe_fusing=True, adapter_names=["other", "style"])
    expected = pipe("a cat", **CALL).images
    path = pipe.save_workflow(tmp_path / "work.yaml", "a cat", **CALL)
    runner = Runner.open(path)
    quiet(runner.pipeline)
    assert torch.equal(runner.run().images, expected)
    block = runner.pipeline.graph.block("style")
    assert block.fuse == {"unet": 0.5}
    assert (block.fuse_order, block.fuse_alone, block.safe_fusing) == (1, True, True)
    runner.pipeline.unfuse_lora()
    runner.pipeline.graph.remove_node("other")
    assert torch.equal(runner.pipeline("a cat", **CALL).images, apart)


def test_a_workflow_keeps_a_lora_that_was_trained(tiny_folder, tmp_path):
    pipeline, _ = learner()
    pipeline.fit(Pictures(), settings(steps=2), tmp_path / "run", inputs=INPUTS)
    ours = quiet(pipeline.inference())
    expected = ours("a cat", **CALL).images
    path = ours.save_workflow(tmp_path / "work.yaml", "a cat", **CALL)
    runner = Runner.open(path)
    quiet(runner.pipeline)
    assert torch.equal(runner.run().images, expected)
