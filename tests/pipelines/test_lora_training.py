"""Training a LoRA: the same graph, with nothing but the factors of the adapter's node changing."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig

from tests.pipelines.conftest import generator, quiet
from tests.pipelines.test_training import INPUTS, Pictures, diffusers_loss, settings
from tests.tiny_loras import SD, tiny_lora
from tests.tiny_models import tiny_components, tiny_pipeline
from yggdrasil import ComputeGraph, InferencePipeline, TrainingPipeline
from yggdrasil.core.errors import ConfigError
from yggdrasil.hub.library import ObjectLibrary
from yggdrasil.training.batches import collate

CALL = {"num_inference_steps": 2, "output_type": "pt", "height": 64, "width": 64}
BOTH = {"unet": ["to_q", "to_v", "to_out.0"], "text_encoder": ["q_proj", "out_proj"]}


def learner(**config):
    """Makes a pipeline that trains a LoRA, on components of its own."""
    parts = tiny_components()
    graph = ComputeGraph.from_template("sd15")
    graph.replace_node("solver", "solver/ddim")
    graph.add_node("timesteps", "timesteps/uniform").add_node("objective", "objective/mse")
    graph.add_node("style", "adapter/lora", **{"rank": 2, "alpha": 3.0, **config})
    library = ObjectLibrary(parts, "StableDiffusionPipeline")
    return TrainingPipeline(graph, train_nodes=["style"], library=library), parts


def test_a_step_has_the_loss_and_the_gradients_of_diffusers(tmp_path):
    pipeline, _ = learner(layers=["to_q", "to_v"])
    trainer = pipeline.trainer(settings(), tmp_path, INPUTS)
    theirs = tiny_components()
    for part in ("vae", "unet", "text_encoder"):
        theirs[part].requires_grad_(requires_grad=False)
    theirs["unet"].add_adapter(LoraConfig(r=2, lora_alpha=3.0, target_modules=["to_q", "to_v"]))
    twins = dict(theirs["unet"].named_parameters())
    pairs = []
    for number, (name, parameter) in enumerate(trainer.parameters.items()):
        layer, _, factor = name.removeprefix("style.unet/").rpartition("/")
        twin = twins[f"{layer.replace('/', '.')}.{factor}.default.weight"]
        with torch.no_grad():
            twin.copy_(0.1 * torch.randn(twin.shape, generator=generator(number)))
            parameter.copy_(twin)
        pairs.append((parameter, twin))
    batch = collate([Pictures()[0], Pictures()[3]])
    expected = diffusers_loss(theirs, batch, generator(7))
    loss = trainer._loss(batch, generator(7))
    assert torch.equal(loss, expected)
    loss.backward()
    expected.backward()
    assert len(pairs) == sum(each.requires_grad for each in twins.values()) > 0
    for mine, their in pairs:
        assert torch.equal(mine.grad, their.grad)
        assert mine.grad.abs().max() > 0


def test_only_the_factors_change_and_diffusers_loads_them(tmp_path):
    pipeline, parts = learner(layers=BOTH)
    before = {
        f"{part}.{name}": value.clone()
        for part in ("vae", "unet", "text_encoder")
        for name, value in parts[part].state_dict().items()
    }
    bare = quiet(pipeline.inference())("a cat", seed=0, **CALL).images
    pipeline.fit(Pictures(), settings(steps=3), tmp_path / "run", inputs=INPUTS)
    for part in ("vae", "unet", "text_encoder"):
        for name, value in parts[part].state_dict().items():
            assert torch.equal(value, before[f"{part}.{name}"])
    ours = quiet(pipeline.inference())
    trained = ours("a cat", seed=0, **CALL).images
    assert not torch.equal(trained, bare)
    ours.save_lora_weights(tmp_path / "saved")
    theirs = tiny_pipeline()
    theirs.scheduler = parts["scheduler"] = ours.graph.block("solver").make_scheduler()
    theirs.load_lora_weights(tmp_path / "saved")
    assert torch.equal(theirs("a cat", generator=generator(), **CALL).images, trained)
    again = quiet(InferencePipeline.from_diffusers(tiny_pipeline()))
    again.graph.replace_node("solver", "solver/ddim")
    again.load_lora_weights(tmp_path / "saved")
    assert torch.equal(again("a cat", seed=0, **CALL).images, trained)


def test_a_run_that_resumes_is_the_run_that_never_stopped(tmp_path):
    def run(folder, **options):
        pipeline, _ = learner()
        pipeline.fit(Pictures(), settings(steps=4), tmp_path / folder, inputs=INPUTS, **options)
        return pipeline.graph.block("style").state_dict()

    whole = run("a")
    run("b", until=2)
    parts = run("b")
    assert whole
    assert all(torch.equal(parts[name], value) for name, value in whole.items())


def test_a_lora_of_a_file_goes_on(tmp_path):
    path = tiny_lora(tmp_path / "begun", tiny_pipeline(), SD)
    pipeline, _ = learner(weights=str(path))
    pipeline.fit(Pictures(), settings(steps=2), tmp_path / "run", inputs=INPUTS)
    ours = quiet(pipeline.inference())
    trained = ours("a cat", seed=0, **CALL).images
    ours.save_lora_weights(tmp_path / "saved")
    theirs = tiny_pipeline()
    theirs.scheduler = ours.graph.block("solver").make_scheduler()
    theirs.load_lora_weights(path)
    begun = theirs("a cat", generator=generator(), **CALL).images
    theirs.unload_lora_weights()
    theirs.load_lora_weights(tmp_path / "saved")
    assert torch.equal(theirs("a cat", generator=generator(), **CALL).images, trained)
    assert not torch.equal(begun, trained)


def test_layers_that_are_not_there_are_refused(tmp_path):
    pipeline, _ = learner(layers=["to_queue"])
    with pytest.raises(ConfigError, match="layers names 'to_queue', which no layer of 'unet'"):
        pipeline.trainer(settings(), tmp_path, INPUTS)


@pytest.mark.parametrize("fuse", [True, {"unet": 0.5}])
def test_a_fused_lora_is_not_trained(tmp_path, fuse):
    pipeline, _ = learner(fuse=fuse)
    with pytest.raises(ConfigError, match="fused cannot be trained"):
        pipeline.trainer(settings(), tmp_path, INPUTS)


def test_a_fresh_lora_changes_nothing_until_it_is_trained(tmp_path):
    ours = quiet(InferencePipeline.from_diffusers(tiny_pipeline()))
    before = ours("a cat", seed=0, **CALL).images
    ours.graph.add_node("style", "adapter/lora")
    assert torch.equal(ours("a cat", seed=0, **CALL).images, before)
    with pytest.raises(ConfigError, match="never trained"):
        ours.save_lora_weights(tmp_path)
