"""Pipelines as the stages of one give the bits of Diffusers' pipelines one after the other."""

from __future__ import annotations

import pytest
import torch
from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionInpaintPipeline

from tests.pipelines.conftest import generator, quiet
from tests.pipelines.pictures import mask, picture
from tests.tiny_models import tiny_pipeline
from yggdrasil import ComputeGraph, InferencePipeline, TrainingPipeline
from yggdrasil.core.errors import (
    ConfigError,
    ConnectError,
    GraphError,
    InputError,
    MissingInputError,
    UnknownInputError,
)
from yggdrasil.training.settings import TrainingSettings

LINKS = {"refiner.init_image": "base.images"}
STEPS = {"num_inference_steps": 3}


@pytest.fixture(scope="module")
def models():
    """Gives two Diffusers pipelines, the second for img2img."""
    second = tiny_pipeline("sd2", StableDiffusionImg2ImgPipeline, seed=20)
    return tiny_pipeline(), second


@pytest.fixture
def both(models):
    """Gives base and refiner in one."""
    base, refiner = (InferencePipeline.from_diffusers(each) for each in models)
    stages = {"base": base, "refiner": refiner}
    return quiet(InferencePipeline.from_combined(stages, links=LINKS))


def test_stages_give_the_bits_of_two_pipelines(models, both):
    first, second = models
    draws = generator(3)
    image = first("a cat", generator=draws, guidance_scale=4.0, **STEPS).images[0]
    expected = second(
        "a cat", image=image, strength=0.9, generator=draws, guidance_scale=4.0,
        output_type="pt", **STEPS,
    ).images  # fmt: skip
    call = {"generator": generator(3), "guidance_scale": 4.0, "strength": 0.9, **STEPS}
    assert torch.equal(both("a cat", **call, output_type="pt").images, expected)


def test_what_is_for_one_stage_goes_to_that_stage_alone(models, both):
    first, second = models
    image = first("a cat", generator=generator(3), num_inference_steps=2).images[0]
    expected = second(
        "a dog", image=image, strength=0.6, generator=generator(5), output_type="pt", **STEPS
    ).images
    result = both(
        "a cat",
        seed=3,
        output_type="pt",
        num_inference_steps=2,
        refiner={"prompt": "a dog", "strength": 0.6, "seed": 5, **STEPS},
    )
    assert torch.equal(result.images, expected)
    by_name = {"refiner.prompt": "a dog", "refiner.strength": 0.6, "refiner.seed": 5}
    dotted = both(
        "a cat", seed=3, output_type="pt", num_inference_steps=2,
        **by_name, **{"refiner.num_inference_steps": 3},
    )  # fmt: skip
    assert torch.equal(dotted.images, expected)


def test_a_list_is_an_order(models):
    graphs = [InferencePipeline.from_diffusers(each).graph for each in models]
    order = InferencePipeline.from_combined(graphs, links={"sd15_2.init_image": "sd15.images"})
    assert [*order.graph.nodes] == ["sd15", "sd15_2"]
    assert str(order.graph.outputs["images"]) == "sd15_2.run.images"


def test_in_an_order_the_nearest_stage_before_is_taken():
    def stage(name, output):
        graph = ComputeGraph(name).add_node("vae", "codec/autoencoder_kl")
        graph.expose_input("pixels", "vae.encode.image")
        return graph.expose_output(output, "vae.decode.image")

    first, second = stage("one", "pixels"), stage("two", "pixels")
    whole = InferencePipeline.from_combined([first, second, stage("three", "picture")]).graph
    assert [str(edge) for edge in whole.edges] == [
        "one.run.pixels -> two.run.pixels",
        "two.run.pixels -> three.run.pixels",
    ]


def test_what_one_stage_gives_is_not_asked_for_and_not_overruled(both):
    with pytest.raises(UnknownInputError, match="Task 'img2img' takes no argument 'h") as caught:
        both("a cat", refiner={"height": 64}, **STEPS)
    assert caught.value.__notes__ == ["That is in stage 'refiner'."]
    # The picture is the base's to begin from, so the refiner has that of the base.
    given = both("a cat", image=picture(), seed=1, strength=0.9, output_type="pt", **STEPS)
    plain = both("a cat", seed=1, strength=0.9, output_type="pt", **STEPS)
    assert not torch.equal(given.images, plain.images)


def test_a_mask_makes_the_stage_inpaint(models, both):
    first, second = models
    inpaint = StableDiffusionInpaintPipeline(**second.components, requires_safety_checker=False)
    draws = generator(3)
    image = first("a cat", generator=draws, **STEPS).images[0]
    expected = quiet(inpaint)(
        "a cat", image=image, mask_image=mask(), generator=draws, output_type="pt", **STEPS
    ).images
    result = both("a cat", seed=3, output_type="pt", refiner={"mask_image": mask()}, **STEPS)
    assert torch.equal(result.images, expected)


def test_a_stage_that_is_for_a_task_keeps_to_it(models, both):
    base, refiner = (InferencePipeline.from_diffusers(each).graph for each in models)
    graph = ComputeGraph("both").add_stage("base", base, task="txt2img")
    graph.add_stage("refiner", refiner, task="img2img").connect("base.images", *LINKS)
    graph.expose_output("images", "refiner.images")
    pipe = quiet(InferencePipeline.from_graph(graph))
    call = {"seed": 3, "strength": 0.9, "output_type": "pt", **STEPS}
    expected = both("a cat", **call).images
    assert torch.equal(pipe("a cat", **call).images, expected)
    # A mask would make the refiner inpaint, were it not for its task.
    with pytest.raises(UnknownInputError, match="takes the argument 'mask_image'"):
        pipe("a cat", mask_image=mask(), **call)
    defaults = quiet(pipe)("a cat", seed=3, output_type="pt", **STEPS).images
    assert torch.equal(defaults, both("a cat", seed=3, output_type="pt", **STEPS).images)


def test_a_change_of_the_last_stage_does_not_run_the_first(models, both):
    runs = []
    hook = models[0].unet.register_forward_hook(lambda *_: runs.append(1))
    try:
        both("a cat", seed=3, **STEPS)
        before = len(runs)
        both("a cat", seed=3, **STEPS, refiner={"guidance_scale": 3.0})
    finally:
        hook.remove()
    assert before > 0
    assert len(runs) == before


def test_edits_of_a_stage_are_seen(both):
    before = both("a cat", seed=1, output_type="pt", **STEPS).images
    both.graph.block("base").inner_graph.replace_node("solver", "solver/euler")
    assert not torch.equal(both("a cat", seed=1, output_type="pt", **STEPS).images, before)


@pytest.mark.parametrize(
    ("links", "error", "message"),
    [
        ({"refine.init_image": "base.images"}, ConnectError, "no stage 'refine'.*'refiner'"),
        ({"refiner.init_imag": "base.images"}, ConnectError, "'init_imag|init_image"),
        ({"refiner.init_image": "base.latents"}, ConnectError, "does not fit"),
    ],
)
def test_a_link_that_cannot_be(models, links, error, message):
    stages = {
        "base": InferencePipeline.from_diffusers(models[0]),
        "refiner": InferencePipeline.from_diffusers(models[1]),
    }
    with pytest.raises(error, match=message):
        InferencePipeline.from_combined(stages, links=links)


def test_no_stages_are_no_pipeline():
    with pytest.raises(GraphError, match="There are no stages to combine"):
        InferencePipeline.from_combined([])


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"strenth": 0.5}, UnknownInputError, "No stage takes the argument 'strenth'.*'strength'"),
        ({"refiner": 5}, InputError, "refiner is a stage, and 5 is no mapping"),
        ({"refiner": {"strenth": 0.5}}, UnknownInputError, "takes no argument 'strenth'"),
        ({"prompt": None}, MissingInputError, "'prompt'"),
    ],
)
def test_a_call_that_cannot_be(both, given, error, message):
    with pytest.raises(error, match=message):
        both(**{"prompt": "a cat", **STEPS, **given})


# -- training --------------------------------------------------------------------------------------


def test_a_stage_is_trained_and_the_other_stands_still(both, tmp_path):
    base = both.graph.block("base").inner_graph
    base.replace_node("solver", "solver/ddim")
    base.add_node("timesteps", "timesteps/uniform").add_node("objective", "objective/mse")
    base.expose_output("loss", "objective.loss")
    pipeline = TrainingPipeline.from_graph(both.graph, train_nodes=["base.unet"], loss="base.loss")
    modules = {
        name: both.graph.block(name).inner_graph.block("unet").unet for name in ("base", "refiner")
    }
    before = {name: each.conv_out.weight.clone() for name, each in modules.items()}

    class Pictures(list):
        """One picture."""

    samples = Pictures([{"image": torch.zeros(3, 64, 64), "prompt": "a cat"}])
    pipeline.fit(
        samples, TrainingSettings(steps=1, optimizer={"lr": 1e-2}), tmp_path,
        inputs={"image": "base.pixels", "prompt": "base.prompt"},
    )  # fmt: skip
    assert not torch.equal(modules["base"].conv_out.weight, before["base"])
    assert torch.equal(modules["refiner"].conv_out.weight, before["refiner"])


def test_stages_to_train_are_checked(both):
    assert TrainingPipeline(both.graph, train_stages=["base"]).train_nodes == ("base",)
    for given, message in {
        "refine": "train_stages names 'refine', which graph 'base.refiner' has not.*'refiner'",
        "base.unet": "train_stages names 'base.unet', which is no stage",
        "base.unt": "train_stages names 'base.unt'.*'base.unet'",
    }.items():
        with pytest.raises(ConfigError, match=message):
            TrainingPipeline(both.graph, train_stages=[given])
