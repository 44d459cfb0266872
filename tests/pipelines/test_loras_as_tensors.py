"""LoRAs that were handed in as tensors: they have no file, so what is saved holds them."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file

from tests.pipelines.conftest import generator, quiet
from tests.pipelines.test_lora_training import learner
from tests.pipelines.test_training import INPUTS, Pictures, settings
from tests.tiny_loras import NAME, SD, as_kohya, tiny_factors, write
from tests.tiny_models import tiny_pipeline
from yggdrasil import InferencePipeline
from yggdrasil.core.errors import ConfigError, InputError, ModelError
from yggdrasil.pipelines.rerun import rerun
from yggdrasil.pipelines.runner import Runner

CALL = {"num_inference_steps": 2, "output_type": "pt"}


@pytest.fixture
def tensors(theirs):
    return tiny_factors(theirs, SD)


@pytest.fixture
def pipe(tiny_folder, tensors):
    """Gives a pipeline of a model in a folder, with a LoRA of tensors."""
    made = quiet(InferencePipeline.from_pretrained(tiny_folder("sd15")))
    made.load_lora_weights(tensors, "style", scale=0.8)
    return made


def images(pipe):
    return pipe("a cat", seed=0, **CALL).images


def test_they_are_copied_as_they_are(ours, tensors):
    ours.load_lora_weights(tensors)
    before = images(ours)
    for tensor in tensors.values():
        tensor.zero_()
    ours._runtime.cache.clear()
    assert torch.equal(images(ours), before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_any_layout_that_files_have_is_read(tensors, dtype):
    kohya = as_kohya(tensors, alpha=13.7)
    ours = quiet(InferencePipeline.from_diffusers(tiny_pipeline()))
    ours.load_lora_weights(kohya)
    ours.to(dtype)
    theirs = quiet(tiny_pipeline().to(dtype))
    theirs.load_lora_weights(dict(kohya))
    expected = theirs("a cat", generator=generator(), **CALL).images
    assert (images(ours) - expected).abs().max() == 0.0


def test_the_dtype_of_the_models_leaves_them_as_they_are(tensors, tmp_path):
    ours = quiet(InferencePipeline.from_diffusers(tiny_pipeline()))
    ours.load_lora_weights(tensors)
    ours.to(torch.bfloat16)
    images(ours)
    saved = load_file(ours.save_lora_weights(tmp_path))
    assert saved.keys() == tensors.keys()
    assert all(torch.equal(saved[name], tensors[name]) for name in tensors)


def test_others_take_their_place_between_calls(ours, theirs, tensors):
    ours.load_lora_weights(tensors, "style")
    first = images(ours)
    block = ours.graph.block("style")
    block.give_tensors(tiny_factors(theirs, SD, seed=5))
    assert not torch.equal(images(ours), first)
    block.give_tensors(tensors)
    assert torch.equal(images(ours), first)


def test_a_file_takes_their_place_between_calls(ours, tensors, tmp_path):
    ours.load_lora_weights(tensors, "style")
    first = images(ours)
    other = write(tmp_path / "other", {name: tensor * 2 for name, tensor in tensors.items()})
    ours.graph.block("style").weights = str(other)
    assert not torch.equal(images(ours), first)
    assert not list(ours.graph.block("style").buffers())


def test_saving_writes_them_as_a_file_that_diffusers_reads(ours, tensors, tmp_path):
    ours.load_lora_weights(tensors, "style")
    expected = images(ours)
    path = ours.save_lora_weights(tmp_path / "lora")
    assert load_file(path).keys() == tensors.keys()
    theirs = quiet(tiny_pipeline())
    theirs.load_lora_weights(path.parent)
    assert torch.equal(theirs("a cat", generator=generator(), **CALL).images, expected)


def test_a_folder_holds_them_as_a_file(pipe, tmp_path):
    expected = images(pipe)
    folder = pipe.save_pretrained(tmp_path / "saved")
    assert (folder / "adapters" / "style" / NAME).is_file()
    assert torch.equal(images(quiet(InferencePipeline.from_pretrained(folder))), expected)


def test_a_workflow_keeps_them(pipe, tmp_path):
    expected = images(pipe)
    runner = Runner.open(pipe.save_workflow(tmp_path / "work.yaml", "a cat", seed=0, **CALL))
    quiet(runner.pipeline)
    assert torch.equal(runner.run().images, expected)
    assert runner.pipeline.get_list_adapters() == pipe.get_list_adapters()


def test_a_picture_keeps_them(pipe, tmp_path):
    pipe("a cat", seed=0, num_inference_steps=2).save(tmp_path / "cat.png")
    again = rerun(tmp_path / "cat.png")
    assert again.same, again.differences


def test_what_is_saved_says_which_loras_act(pipe, tensors, tmp_path):
    pipe.load_lora_weights({key: each * 2 for key, each in tensors.items()}, "other")
    pipe.disable_lora()
    disabled = images(pipe)
    again = quiet(InferencePipeline.from_pretrained(pipe.save_pretrained(tmp_path / "saved")))
    assert torch.equal(images(again), disabled)
    again.enable_lora()
    pipe.enable_lora()
    assert again.get_active_adapters() == pipe.get_active_adapters() == ["other"]
    assert torch.equal(images(again), images(pipe))


def test_what_peft_calls_its_tensors_is_read(ours, tmp_path):
    torch.manual_seed(0)
    config = LoraConfig(r=2, lora_alpha=2, target_modules=["to_q"], init_lora_weights=False)
    get_peft_model(tiny_pipeline().unet, config).save_pretrained(tmp_path)
    ours.load_lora_weights(tmp_path, "file")
    expected = images(ours)
    ours.load_lora_weights(load_file(tmp_path / "adapter_model.safetensors"), "tensors")
    assert torch.equal(images(ours), expected)


def test_training_goes_on_from_them(tensors, tmp_path):
    pipeline, _ = learner()
    pipeline.graph.block("style").give_tensors(tensors)
    before = images(quiet(pipeline.inference()))
    pipeline.fit(Pictures(), settings(steps=2), tmp_path / "run", inputs=INPUTS)
    ours = quiet(pipeline.inference())
    trained = images(ours)
    assert not torch.equal(trained, before)
    ours.save_lora_weights(tmp_path / "saved")
    theirs = quiet(tiny_pipeline())
    theirs.scheduler = ours.graph.block("solver").make_scheduler()
    theirs.load_lora_weights(tmp_path / "saved")
    assert torch.equal(theirs("a cat", generator=generator(), **CALL).images, trained)
    runner = Runner.open(ours.save_workflow(tmp_path / "work.yaml", "a cat", seed=0, **CALL))
    quiet(runner.pipeline)
    assert torch.equal(runner.run().images, trained)


def test_what_is_none_of_a_lora_is_refused(ours, tensors, tmp_path):
    wrong = {
        "without tensors": {},
        "is a float: give tensors": {"unet.lora_A.weight": 1.0},
        "is no name of a tensor": {"unet/lora_A": torch.ones(1)},
    }
    for message, given in wrong.items():
        with pytest.raises(InputError, match=message):
            ours.load_lora_weights(given)
    with pytest.raises(ModelError, match="The LoRA given as tensors is no LoRA"):
        ours.load_lora_weights({"conv_in.weight": torch.ones(2, 2)})
    with pytest.raises(InputError, match="given as tensors: weight_name='a' means nothing there"):
        ours.load_lora_weights(tensors, weight_name="a")
    with pytest.raises(ConfigError, match=r"weights is a dict.*pipe.load_lora_weights"):
        ours.graph.add_node("style", type="adapter/lora", weights=tensors)
    with pytest.raises(InputError, match=r"takes no 'wieght_name'.*weight_name"):
        ours.load_lora_weights(tensors, wieght_name="a")
    with pytest.raises(InputError, match="use_safetensors=False: weights are read from safeten"):
        ours.load_lora_weights(tmp_path, use_safetensors=False)
    assert not ours.get_list_adapters()
