"""Training nodes of a graph: the step is that of a Diffusers script, and runs resume to the bit."""

from __future__ import annotations

import pytest
import torch
from diffusers import DDPMScheduler
from torch.nn import functional as F

from tests.pipelines.conftest import generator, quiet
from tests.tiny_models import tiny_components
from yggdrasil import ComputeGraph, TrainingPipeline
from yggdrasil.core.errors import ConfigError, ModelError, UnknownInputError, UnknownOutputError
from yggdrasil.hub.library import ObjectLibrary
from yggdrasil.hub.locate import locate
from yggdrasil.training.batches import collate
from yggdrasil.training.settings import TrainingSettings

PROMPTS = ("a red cat", "the blue dog", "", "a photo of a house")
INPUTS = {"image": "pixels", "prompt": "prompt"}
SETTINGS = {
    "steps": 5,
    "batch_size": 2,
    "seed": 3,
    "optimizer": {"lr": 1e-3},
    "schedule": {"name": "cosine", "warmup_steps": 1},
    "ema": {"decay": 0.9},
    "checkpoint_every": 100,
}


class Pictures:
    """Four pictures of random colours, with prompts."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        coarse = torch.rand((3, 4, 4), generator=generator(index)) * 2 - 1
        image = coarse.repeat_interleave(16, 1).repeat_interleave(16, 2)
        return {"image": image, "prompt": PROMPTS[index], "number": index}


def settings(**changes):
    return TrainingSettings(**{**SETTINGS, **changes})


def denoiser(kind="sd15", train=("unet",)):
    """Makes a pipeline that trains a denoiser, on components of its own."""
    library = ObjectLibrary(tiny_components(kind), "StableDiffusionPipeline")
    graph = ComputeGraph.from_template("sd15")
    graph.replace_node("solver", "solver/ddim")
    graph.add_node("timesteps", "timesteps/uniform").add_node("objective", "objective/mse")
    return TrainingPipeline(graph, train_nodes=train, library=library)


def autoencoder():
    """Makes a pipeline that trains an autoencoder."""
    library = ObjectLibrary(tiny_components("sd15"), "StableDiffusionPipeline")
    graph = ComputeGraph.from_template("sd15").add_node("objective", "objective/autoencoding")
    return TrainingPipeline(graph, train_nodes=["vae"], wiring="denoise", library=library)


class Losses(list):
    """Keeps the losses of a run."""

    def on_step(self, report):
        self.append(report["loss"])


def diffusers_loss(parts, batch, draws):
    """A training step as Diffusers' train_text_to_image.py takes it."""
    vae, unet, tokenizer = parts["vae"], parts["unet"], parts["tokenizer"]
    scheduler = DDPMScheduler.from_config(parts["scheduler"].config)
    latents = vae.encode(batch["image"]).latent_dist.sample(draws) * vae.config.scaling_factor
    noise = torch.randn(latents.shape, generator=draws)
    timesteps = torch.randint(0, 1000, (len(latents),), generator=draws)
    noisy = scheduler.add_noise(latents, noise, timesteps)
    ids = tokenizer(
        batch["prompt"], padding="max_length", max_length=77, truncation=True, return_tensors="pt"
    ).input_ids
    target = noise
    if scheduler.config.prediction_type == "v_prediction":
        target = scheduler.get_velocity(latents, noise, timesteps)
    prediction = unet(noisy, timesteps, parts["text_encoder"](ids)[0]).sample
    return F.mse_loss(prediction.float(), target.float())


@pytest.mark.parametrize("kind", ["sd15", "sd2"])
def test_a_step_has_the_loss_and_the_gradients_of_diffusers(tmp_path, kind):
    pipeline = denoiser(kind, ["unet", "text"])
    trainer = pipeline.trainer(settings(), tmp_path, INPUTS)
    batch = collate([Pictures()[0], Pictures()[1]])
    mine = trainer._loss(batch, generator(5))
    mine.backward()
    gradients = {name: each.grad.clone() for name, each in trainer.parameters.items()
                 if each.grad is not None}  # fmt: skip
    for each in trainer.parameters.values():
        each.grad = None
    parts = {name: getattr(pipeline.graph.block(node), name) for node, name in PARTS}
    parts["scheduler"] = tiny_components(kind)["scheduler"]
    expected = diffusers_loss(parts, batch, generator(5))
    expected.backward()
    assert mine.item() == expected.item()
    assert len(gradients) > 100
    for name, each in trainer.parameters.items():
        assert (each.grad is None) == (name not in gradients), name
        if each.grad is not None:
            assert torch.equal(each.grad, gradients[name]), name


PARTS = (("vae", "vae"), ("unet", "unet"), ("text", "tokenizer"), ("text", "text_encoder"))


@pytest.mark.parametrize(
    ("make", "inputs", "precision"),
    [
        (denoiser, INPUTS, "no"),
        (denoiser, INPUTS, "bf16"),
        (lambda: denoiser("sd2"), INPUTS, "no"),
        (lambda: denoiser("sd2", ["unet", "text"]), INPUTS, "bf16"),
        (autoencoder, {"image": "pixels"}, "no"),
        (autoencoder, {"image": "pixels"}, "bf16"),
    ],
)
def test_a_run_that_resumes_is_the_run_that_never_stopped(tmp_path, make, inputs, precision):
    given = settings(precision=precision)
    losses, parts = Losses(), Losses()
    whole = make().fit(Pictures(), given, tmp_path / "a", inputs=inputs, observers=[losses])
    make().fit(Pictures(), given, tmp_path / "b", inputs=inputs, observers=[parts], until=3)
    torch.randn(1)
    again = make().fit(Pictures(), given, tmp_path / "b", inputs=inputs, observers=[parts])
    assert losses == parts
    assert len(losses) == 5
    for name, each in whole.parameters.items():
        assert torch.equal(each, again.parameters[name]), name
    shadows = zip(whole._average.shadow_params, again._average.shadow_params, strict=True)
    assert all(torch.equal(*pair) for pair in shadows)


@pytest.mark.parametrize(
    ("make", "inputs"), [(denoiser, INPUTS), (autoencoder, {"image": "pixels"})]
)
def test_the_loss_goes_down_on_what_is_seen_again_and_again(tmp_path, make, inputs):
    losses = Losses()
    given = settings(steps=24, batch_size=4, optimizer={"lr": 4e-3}, schedule={"name": "constant"})
    make().fit(Pictures(), given, tmp_path, inputs=inputs, observers=[losses])
    assert sum(losses[-6:]) < 0.8 * sum(losses[:6])


def test_only_the_nodes_named_change(tmp_path):
    pipeline = denoiser(train=["text"])
    before = weights(pipeline)
    pipeline.fit(Pictures(), settings(steps=2), tmp_path, inputs=INPUTS)
    after = weights(pipeline)
    changed = {
        node
        for node in before
        if not all(torch.equal(each, after[node][name]) for name, each in before[node].items())
    }
    assert changed == {"text"}
    assert not any(each.requires_grad for each in pipeline.graph.block("unet").parameters())
    assert all(each.grad is None for each in pipeline.graph.block("unet").parameters())


def weights(pipeline):
    """Copies the weights of each node."""
    for node in ("vae", "unet", "text"):
        pipeline.graph.block(node).load()
    return {
        node: {name: each.detach().clone() for name, each in block.named_parameters()}
        for node in ("vae", "unet", "text")
        for block in [pipeline.graph.block(node)]
    }


def test_the_trained_modules_generate(tmp_path):
    pipeline = denoiser()
    call = {"num_inference_steps": 2, "output_type": "pt", "seed": 0}
    pipe = quiet(pipeline.inference())
    before = pipe("a red cat", **call).images
    pipeline.fit(Pictures(), settings(steps=2), tmp_path, inputs=INPUTS)
    after = pipe("a red cat", **call).images
    assert not torch.equal(before, after)
    assert torch.equal(quiet(pipeline.inference())("a red cat", **call).images, after)
    assert not pipeline.graph.block("unet").training


def test_what_is_saved_after_training_is_loaded_by_the_pipeline_that_generates(tmp_path):
    from yggdrasil import InferencePipeline

    pipeline = denoiser()
    pipeline.fit(Pictures(), settings(steps=1), tmp_path / "run", inputs=INPUTS)
    call = {"num_inference_steps": 2, "output_type": "pt", "seed": 0}
    expected = quiet(pipeline.inference())("a red cat", **call).images
    pipeline.inference().save_pretrained(tmp_path / "model")
    loaded = quiet(InferencePipeline.from_pretrained(tmp_path / "model"))
    assert torch.equal(loaded("a red cat", **call).images, expected)


def test_without_resume_a_run_begins_anew(tmp_path):
    losses, again = Losses(), Losses()
    for kept in (losses, again):
        denoiser().fit(
            Pictures(), settings(steps=2), tmp_path, inputs=INPUTS, observers=[kept], resume=False
        )
    assert losses == again
    assert len(losses) == 2


# -- ways to make one ------------------------------------------------------------------------------


def test_a_model_goes_on_with_its_own_solver(tiny_folder, tmp_path):
    pipeline = TrainingPipeline.from_pretrained(tiny_folder("sd2"), train_nodes=["unet"])
    assert pipeline.graph.block("solver").type_name == "solver/ddim"
    given = denoiser("sd2")
    losses = [Losses(), Losses()]
    for kept, each in zip(losses, (pipeline, given), strict=True):
        name = str(id(each))
        each.fit(Pictures(), settings(steps=1), tmp_path / name, inputs=INPUTS, observers=[kept])
    assert losses[0] == pytest.approx(losses[1])


def test_a_model_of_another_family_is_refused(tiny_folder, tmp_path):
    import shutil

    folder = shutil.copytree(tiny_folder("sd15"), tmp_path / "m")
    (folder / "model_index.json").write_text('{"_class_name": "HunyuanDiTPipeline"}')
    with pytest.raises(ConfigError, match=r"HunyuanDiTPipeline \(opaque\) runs whole"):
        TrainingPipeline.from_pretrained(folder, train_nodes=["unet"])


def test_a_damaged_model_is_refused_before_training(tiny_folder, tmp_path):
    import shutil

    folder = shutil.copytree(tiny_folder("sd15"), tmp_path / "m")
    (folder / "vae" / "config.json").unlink()
    with pytest.raises(ModelError, match=r"vae holds none of config.json"):
        TrainingPipeline.from_pretrained(folder, train_nodes=["unet"])


def test_dtypes_of_nodes_are_refused_since_training_keeps_weights_in_float32(tiny_folder):
    made = {"pretrained": tiny_folder("sd15"), "train_nodes": ["unet"]}
    graph = TrainingPipeline.from_template("sd15", **made).graph.set_dtype("vae", "bfloat16")
    with pytest.raises(
        ConfigError, match=r"Node 'vae' has the dtype bfloat16.*set_dtype\('vae', N"
    ):
        TrainingPipeline.from_graph(graph, train_nodes=["unet"])
    stages = ComputeGraph("outer").add_stage("base", graph)
    with pytest.raises(ConfigError, match=r"Node 'base\.vae' has the dtype bfloat16"):
        TrainingPipeline.from_graph(stages, train_stages=["base"])
    graph.set_dtype("vae", None)
    assert TrainingPipeline.from_graph(graph, train_nodes=["unet"]).train_nodes == ("unet",)


def test_a_template_gets_the_two_nodes_that_training_adds(tiny_folder):
    pipeline = TrainingPipeline.from_template(
        "sd15", pretrained=tiny_folder("sd15"), train_nodes=["unet"]
    )
    assert pipeline.graph.block("timesteps").type_name == "timesteps/uniform"
    assert pipeline.graph.block("objective").type_name == "objective/mse"
    by_graph = TrainingPipeline.from_graph(
        pipeline.graph, train_nodes=["unet"], library=locate(tiny_folder("sd15"))
    )
    assert by_graph.train_nodes == ("unet",)


def test_a_model_saved_with_the_nodes_of_training_goes_on_with_them(tmp_path):
    pipeline = denoiser()
    pipeline.graph.remove_node("timesteps")
    pipeline.graph.add_node("moments", "timesteps/uniform", num_train_timesteps=7)
    pipeline.inference().save_pretrained(tmp_path)
    again = TrainingPipeline.from_pretrained(tmp_path, train_nodes=["unet"])
    assert again.graph.block("moments").num_train_timesteps == 7
    assert set(again.graph.nodes) == set(pipeline.graph.nodes)
    other = TrainingPipeline.from_pretrained(
        tmp_path, train_nodes=["vae"], objective="objective/autoencoding"
    )
    assert other.graph.block("objective").type_name == "objective/autoencoding"
    assert set(other.graph.nodes) == set(pipeline.graph.nodes)


def test_a_type_for_one_of_several_nodes_of_training_is_refused(tmp_path):
    pipeline = denoiser()
    pipeline.graph.add_node("second", "objective/mse")
    pipeline.inference().save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=r"one such node; this one has '.*', '.*'\. Use graph"):
        TrainingPipeline.from_pretrained(tmp_path, train_nodes=["unet"], objective="objective/mse")


# -- what cannot be --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([], "train_nodes is empty: name at least one"),
        (["unett"], "train_nodes names 'unett', which graph 'sd15' has not.*'unet'"),
        (["masked"], r"'masked', which has no weights of its own: it uses 'vae'\. Train 'vae'"),
        (["unet", "unet"], "names a node twice: unet, unet"),
    ],
)
def test_nodes_that_cannot_be_trained(nodes, message):
    with pytest.raises(ConfigError, match=message):
        TrainingPipeline(ComputeGraph.from_template("sd15"), train_nodes=nodes)


def test_a_node_without_weights_is_not_trained(tmp_path):
    with pytest.raises(ConfigError, match="Node 'guidance' cannot be trained: it has no weights"):
        denoiser(train=["guidance"]).fit(Pictures(), settings(), tmp_path, inputs=INPUTS)


@pytest.mark.parametrize(
    ("inputs", "error", "message"),
    [
        ({"imag": "pixels"}, ConfigError, "inputs names 'imag', which the samples.*'image'"),
        ({"image": "pixel", "prompt": "prompt"}, UnknownInputError, "no input 'pixel'.*'pixels'"),
    ],
)
def test_inputs_that_cannot_be_are_refused_before_anything_is_loaded(
    tiny_folder, tmp_path, inputs, error, message
):
    pipeline = TrainingPipeline.from_pretrained(tiny_folder("sd15"), train_nodes=["unet"])
    with pytest.raises(error, match=message):
        pipeline.fit(Pictures(), settings(), tmp_path, inputs=inputs)
    assert not pipeline.graph.block("unet")._modules


def test_a_loss_that_no_node_gives_is_refused(tmp_path):
    library = ObjectLibrary(tiny_components("sd15"), "StableDiffusionPipeline")
    graph = ComputeGraph.from_template("sd15")
    pipeline = TrainingPipeline(graph, train_nodes=["unet"], library=library)
    with pytest.raises(UnknownOutputError, match=r"objective.loss"):
        pipeline.fit(Pictures(), settings(), tmp_path, inputs=INPUTS)
