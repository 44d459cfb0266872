"""A model from nothing, phase by phase."""

from __future__ import annotations

import json

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file

from tests.pipelines.conftest import generator, quiet
from tests.smoke_recipe import smoke_recipe, write_recipe
from yggdrasil import InferencePipeline
from yggdrasil.core.errors import (
    ConfigError,
    GraphError,
    GraphFileError,
    RegistryError,
    UnknownInputError,
)
from yggdrasil.pipelines.recipes import Recipe, find_recipe, read_recipe, run_recipe


@pytest.fixture(scope="module")
def recipe():
    return Recipe.model_validate(smoke_recipe())


@pytest.fixture(scope="module")
def finished(recipe, tmp_path_factory):
    """Gives the model's folder of a whole run; it must be left as it is."""
    return run_recipe(recipe, tmp_path_factory.mktemp("run"))


class Watch:
    """Lists the steps of each phase."""

    def __init__(self):
        self.steps = []

    def __call__(self, phase, trainer, pipeline):
        self.phase = phase.name
        return [self]

    def on_step(self, report):
        self.steps.append((self.phase, report["step"]))


def tensors(folder):
    """Gives all weights below a folder."""
    return {
        f"{path.parent.name}.{name}": each
        for path in sorted(folder.glob("*/*.safetensors"))
        for name, each in load_file(path).items()
    }


def assert_same(one, other):
    first, second = tensors(one), tensors(other)
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


def test_a_recipe_gives_a_folder_that_diffusers_runs(finished):
    theirs = quiet(StableDiffusionPipeline.from_pretrained(finished))
    assert {each.dtype for each in (theirs.unet, theirs.vae, theirs.text_encoder)} == {
        torch.float32
    }
    call = {"num_inference_steps": 2, "output_type": "pt"}
    expected = theirs("a red circle", generator=generator(), **call).images
    assert expected.shape == (1, 3, 32, 32)
    ours = quiet(InferencePipeline.from_pretrained(finished))
    assert ours.graph.block("solver").type_name == "solver/ddim"
    mine = ours("a red circle", generator=generator(), **call).images
    torch.testing.assert_close(mine, expected, atol=1e-5, rtol=1e-4)


def test_the_model_is_in_half_precision_and_knows_its_schedule(finished):
    assert {each.dtype for each in tensors(finished).values()} == {torch.float16}
    scheduler = json.loads((finished / "scheduler" / "scheduler_config.json").read_text())
    assert scheduler["prediction_type"] == "v_prediction"
    vae = json.loads((finished / "vae" / "config.json").read_text())
    assert vae["scaling_factor"] == 1.0
    text = json.loads((finished / "text_encoder" / "config.json").read_text())
    tokenizer = InferencePipeline.from_pretrained(finished).components["tokenizer"]
    assert text["vocab_size"] == len(tokenizer)
    assert text["eos_token_id"] == tokenizer.eos_token_id
    assert len(tokenizer("a red circle on white background").input_ids) == 8


def test_latents_of_the_model_have_variance_1(finished):
    from yggdrasil.training.datasets import make_dataset

    vae = InferencePipeline.from_pretrained(finished).components["vae"]
    samples = make_dataset("shapes", size=32, seed=1, length=64)
    pictures = torch.stack([samples[index]["image"] for index in range(16)])
    with torch.no_grad():
        mean = vae.encode(pictures).latent_dist.mean
    torch.testing.assert_close(mean.std((0, 2, 3)), torch.ones(4), atol=0.02, rtol=0)


def test_the_same_recipe_gives_the_same_model(recipe, finished, tmp_path):
    torch.manual_seed(99)
    assert_same(run_recipe(recipe, tmp_path), finished)


def test_a_run_that_is_broken_off_goes_on(recipe, finished, tmp_path):
    watch = Watch()
    for until in ({"first": 2}, {"second": 3}, {}):
        model = run_recipe(recipe, tmp_path, until=until, observers=watch)
    assert [step for phase, step in watch.steps if phase == "first"] == [1, 2, 3, 4]
    assert [step for phase, step in watch.steps if phase == "second"] == [1, 2, 3, 4]
    assert_same(model, finished)


def test_phases_that_are_done_are_not_run_again(recipe, tmp_path):
    run_recipe(recipe, tmp_path)
    watch = Watch()
    run_recipe(recipe, tmp_path, observers=watch)
    assert watch.steps == []


def test_a_run_from_scratch_takes_nothing_from_the_one_before(recipe, finished, tmp_path):
    other = smoke_recipe()
    other["seed"] = 5
    run_recipe(Recipe.model_validate(other), tmp_path)
    watch = Watch()
    model = run_recipe(recipe, tmp_path, resume=False, observers=watch)
    assert len(watch.steps) == 8
    assert_same(model, finished)


def test_only_the_nodes_of_a_phase_are_trained(recipe, finished):
    from yggdrasil.pipelines import recipes

    graph = recipes._graph(recipe, {})
    recipes._fill(graph, recipe, None)
    fresh = graph.block("unet").unet.state_dict()
    trained = load_file(finished / "unet" / "diffusion_pytorch_model.safetensors")
    assert not fresh["conv_out.weight"].any()
    assert trained["conv_out.weight"].any()


# -- what cannot be --------------------------------------------------------------------------------


def test_recipes_are_found_by_name_and_by_path(tmp_path):
    assert find_recipe("shapes").name == "shapes.yaml"
    path = write_recipe(tmp_path)
    assert find_recipe(str(path)) == path
    assert read_recipe(path).name == "smoke"
    with pytest.raises(GraphFileError, match=r"There is no recipe 'shape'\. Did you mean 'shapes'"):
        find_recipe("shape")
    with pytest.raises(GraphFileError, match=r"There is no recipe '.*nothing\.yaml'"):
        find_recipe(str(tmp_path / "nothing.yaml"))


def change(*path, to):
    def make(recipe):
        place = recipe
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = to

    return make


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (change("schema", to=2), "at schema: Input should be 1"),
        (change("wordz", to=[]), "at wordz: Extra inputs are not permitted"),
        (change("phases", to=[]), "at phases: List should have at least 1 item"),
        (change("phases", 1, "settings", "stepz", to=3), r"at phases\.1\.settings\.stepz: Extra"),
        (
            change("phases", 0, "wiring", to="train"),
            r"at phases\.0\.wiring: Input should be 'corru",
        ),
        (change("phases", 0, "name", to="../up"), r"at phases\.0\.name: String should match"),
        (change("phases", 0, "name", to="second"), "'second' is the folder of two things"),
        (change("phases", 0, "name", to="model"), "'model' is the folder of two things"),
        (change("phases", 0, "data", to={"seed": 1}), r"at phases\.0: data says no type"),
        (change("phases", 0, "inputs", to={"prompt": "prompt"}), r"phases\.0: normalize_latents"),
    ],
)
def test_a_recipe_that_cannot_be_says_where(tmp_path, edit, message):
    recipe = smoke_recipe()
    edit(recipe)
    path = write_recipe(tmp_path, recipe)
    with pytest.raises(GraphFileError, match=message) as caught:
        read_recipe(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: [", "is no YAML that can be read safely"),
        (b"\xff\xfe\x00", "is no YAML that can be read safely"),
        (b"a: !!python/object/apply:os.system [ls]", "is no YAML that can be read safely"),
        (b"- 1", "smoke.yaml: Input should be a valid dictionary"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused(tmp_path, content, message):
    path = tmp_path / "smoke.yaml"
    path.write_bytes(content)
    with pytest.raises(GraphFileError, match=message):
        read_recipe(path)


@pytest.mark.parametrize(
    ("edit", "error", "message"),
    [
        (change("template", to="sd51"), RegistryError, "'sd51'.*'sd15'"),
        (change("phases", 1, "train", to=["unett"]), ConfigError, "'unett'.*'unet'"),
        (
            change("phases", 1, "nodes", "objective", "type", to="objective/msee"),
            RegistryError,
            "objective/msee.*'objective/mse'",
        ),
        (
            change("phases", 1, "nodes", "no-name", to={"type": "timesteps/uniform"}),
            GraphError,
            "no-",
        ),
        (change("phases", 1, "data", "type", to="shape"), ConfigError, "'shape'.*'shapes'"),
        (change("phases", 1, "data", "sizes", to=3), ConfigError, "Dataset 'shapes'.*sizes"),
        (change("phases", 1, "data", "length", to=0), ConfigError, "Phase 'second' has no samples"),
        (change("phases", 1, "inputs", "imag", to="x"), ConfigError, "'imag'.*'image'"),
        (
            change("phases", 1, "inputs", "image", to="pixel"),
            UnknownInputError,
            "'pixel'.*'pixels'",
        ),
        (
            change("phases", 1, "settings", "optimizer", to={"lr_factors": {"txt": 2}}),
            ConfigError,
            "lr_factors names 'txt', which is not trained.*'text'",
        ),
        (
            change("components", "unet", "in_channel", to=4),
            ConfigError,
            "'in_channel'.*'in_channels'",
        ),
        (change("components", "unett", to={}), ConfigError, "configures 'unett', which is no com"),
        (change("zero", "clip", to=["x"]), ConfigError, "configures 'clip'"),
    ],
)
def test_the_last_phase_is_checked_before_the_first_one_runs(tmp_path, edit, error, message):
    data = smoke_recipe()
    data["phases"][1] = {**data["phases"][1], "data": {**data["phases"][1]["data"]}}
    edit(data)
    with pytest.raises(error, match=message):
        run_recipe(Recipe.model_validate(data), tmp_path / "run")
    assert not (tmp_path / "run").exists()
