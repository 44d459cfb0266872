"""Pipelines made of configurations, and what is said of those that cannot be."""

from __future__ import annotations

import pytest
import torch
import yaml

from tests.pipelines.conftest import quiet
from tests.tiny_models import tiny_pipeline
from yggdrasil import ComputeGraph, InferencePipeline, TrainingPipeline
from yggdrasil.core.errors import ConfigError, GraphFileError, ModelError, RegistryError

CALL = {"num_inference_steps": 2, "output_type": "pt", "seed": 1}


@pytest.fixture
def config(tiny_folder, tmp_path):
    """Gives a function that writes a configuration of the tiny model."""

    def write(**data):
        path = tmp_path / "pipe.yaml"
        path.write_text(
            yaml.safe_dump({"pretrained": str(tiny_folder("sd15")), **data}, sort_keys=False)
        )
        return path

    return write


# -- generating ------------------------------------------------------------------------------------


def test_a_configuration_is_the_calls_that_it_stands_for(config, tiny_folder):
    path = config(
        schema=1,
        template="sd15_img2img",
        solver="solver/dpmpp_2m",
        dtype="bfloat16",
        device="cpu",
        nodes={
            "solver": {"use_karras_sigmas": True},
            "blend": None,
            "image": "processor/vae_image",
        },
        defaults={"guidance_scale": 4.0},
        cache_limit=0,
    )
    pipe = InferencePipeline.from_config(path)
    byhand = InferencePipeline.from_template(
        "sd15_img2img", pretrained=tiny_folder("sd15"), torch_dtype=torch.bfloat16
    )
    byhand.graph.replace_node("solver", "solver/dpmpp_2m", use_karras_sigmas=True)
    byhand.graph.remove_node("blend")
    byhand.graph.defaults["guidance_scale"] = 4.0
    assert pipe.graph.to_yaml() == byhand.graph.to_yaml()
    assert pipe.task == byhand.task == "img2img"
    assert pipe.cache_info() is None
    assert {module.dtype for module in pipe.modules().values()} == {torch.bfloat16}


def test_pictures_are_those_of_the_same_pipeline_made_otherwise(config, tiny_folder):
    pipe = quiet(InferencePipeline.from_config(config(defaults={"guidance_scale": 4.0})))
    other = quiet(InferencePipeline.from_pretrained(tiny_folder("sd15")))
    expected = other("a cat", guidance_scale=4.0, **CALL).images
    assert torch.equal(pipe("a cat", **CALL).images, expected)
    assert pipe.graph.block("solver").type_name == "solver/pndm"


def test_options_of_a_node_are_laid_over_the_models_own_solver(config):
    pipe = InferencePipeline.from_config(config(nodes={"solver": {"skip_prk_steps": False}}))
    assert pipe.graph.block("solver").type_name == "solver/pndm"
    assert pipe.graph.block("solver").make_scheduler().config.skip_prk_steps is False


def test_what_is_given_beside_it_is_laid_over_it(config):
    path = config(template="sd15", nodes={"solver": {"type": "solver/euler"}})
    pipe = InferencePipeline.from_config(
        path,
        task="inpaint",
        **{
            "nodes.solver.timestep_spacing": "trailing",
            "nodes.masked": None,
            "defaults.guidance.combine.guidance_rescale": 0.5,
        },
    )
    assert pipe.task == "inpaint"
    assert pipe.graph.block("solver").config == {"timestep_spacing": "trailing"}
    assert "masked" not in pipe.graph.nodes
    assert pipe.graph.defaults == {"guidance.combine.guidance_rescale": 0.5}
    merged = InferencePipeline.from_config(path, nodes={"blend": None})
    assert merged.graph.block("solver").type_name == "solver/euler"


def test_a_mapping_and_a_text_do_as_well(tiny_folder):
    folder = str(tiny_folder("sd15"))
    by_mapping = InferencePipeline.from_config({"pretrained": folder}, solver="solver/euler")
    by_text = InferencePipeline.from_config(f"pretrained: {folder}\nsolver: solver/euler\n")
    assert by_mapping.graph.to_yaml() == by_text.graph.to_yaml()


def test_a_graph_is_named_from_the_folder_of_the_configuration(config, tmp_path):
    graph = ComputeGraph.from_template("sd15", solver="solver/heun")
    (tmp_path / "graphs").mkdir()
    (tmp_path / "graphs" / "mine.yaml").write_text(graph.to_yaml())
    pipe = InferencePipeline.from_config(config(graph="graphs/mine.yaml"))
    assert pipe.graph.to_yaml() == graph.to_yaml()
    inline = InferencePipeline.from_config(config(graph=yaml.safe_load(graph.to_yaml())))
    assert inline.graph.to_yaml() == graph.to_yaml()


def test_a_model_may_be_named_from_there_too(tmp_path):
    tiny_pipeline().save_pretrained(tmp_path / "models" / "mine")
    (tmp_path / "pipe.yaml").write_text("pretrained: ./models/mine\n")
    assert InferencePipeline.from_config(tmp_path / "pipe.yaml").components["unet"] is not None


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (
            {"templat": "sd15"},
            GraphFileError,
            r"pipe\.yaml:2: .*'templat'.*Did you mean 'template'",
        ),
        (
            {"dtype": "float8"},
            GraphFileError,
            r"pipe\.yaml:2: 'dtype' is 'float8': input should be",
        ),
        (
            {"device": "gpu0"},
            GraphFileError,
            r"pipe\.yaml:2: 'device' is 'gpu0': PyTorch has no such",
        ),
        ({"schema": 2}, GraphFileError, r"pipe\.yaml:2: 'schema' is 2"),
        ({"cache_limit": -1}, GraphFileError, r"pipe\.yaml:2: 'cache_limit' is -1"),
        (
            {"solver": 5},
            GraphFileError,
            r"pipe\.yaml:2: 'solver' is 5: input should be a valid str",
        ),
        ({"template": "sd15", "graph": "x"}, GraphFileError, "template and graph are both given"),
        ({"pretrained": None}, GraphFileError, "nothing says which graph it is"),
        ({"template": "sd51"}, RegistryError, "'sd51'.*'sd15'"),
        ({"solver": "solver/eulr"}, RegistryError, "'solver/eulr'.*'solver/euler'"),
        ({"pretrained": "./nowhere"}, ModelError, "There is no folder .*nowhere"),
        ({"graph": "none.yaml"}, GraphFileError, "There is no graph file '.*none.yaml'"),
        ({"nodes": {"vea": None}}, GraphFileError, r"pipe\.yaml:3: .*no node 'vea'.*'vae'"),
        (
            {"nodes": {"solvr": {"use_karras_sigmas": True}}},
            GraphFileError,
            r"pipe\.yaml:3: the graph has no node 'solvr', and to add one its type.*'solver'",
        ),
        (
            {"nodes": {"solver": {"karras": True}}},
            GraphFileError,
            r"pipe\.yaml:3: solver/pndm: PNDMScheduler has no option 'karras'",
        ),
        (
            {"nodes": {"extra": {"type": "processor/vae_imag"}}},
            GraphFileError,
            r"pipe\.yaml:3: No block of type 'processor/vae_imag'.*'processor/vae_image'",
        ),
        (
            {"defaults": {"guidance_scal": 5}},
            GraphFileError,
            r"pipe\.yaml:3: Graph 'sd15' has no input 'guidance_scal'.*'guidance_scale'",
        ),
    ],
)
def test_what_cannot_be_is_told_by_line(config, data, error, message):
    with pytest.raises(error, match=message):
        InferencePipeline.from_config(config(**data))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"solvr": "x"}, "override 'solvr': there is no key 'solvr'.*'solver'"),
        ({"nodes.solver.karras": 1}, "override 'nodes.solver.karras': .*no option 'karras'"),
        ({"dtype": "int8"}, "override 'dtype': 'dtype' is 'int8'"),
        (
            {"defaults.guidance_scal": 1},
            "override 'defaults.guidance_scal': Graph 'sd15' has no in",
        ),
    ],
)
def test_an_override_that_cannot_be_is_named(config, override, message):
    with pytest.raises(GraphFileError, match=message):
        InferencePipeline.from_config(config(), **override)


# -- training --------------------------------------------------------------------------------------


def test_a_configuration_trains_what_it_names(config):
    pipeline = TrainingPipeline.from_config(
        config(template="sd15", train_nodes=["unet"], nodes={"objective": "objective/figure_mse"}),
        timesteps="timesteps/biased",
    )
    assert pipeline.train_nodes == ("unet",)
    assert pipeline.graph.block("objective").type_name == "objective/figure_mse"
    assert pipeline.graph.block("timesteps").type_name == "timesteps/biased"
    assert pipeline.graph.block("solver").type_name == "solver/pndm"


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ({}, ConfigError, "train_nodes is empty"),
        ({"train_nodes": ["unt"]}, ConfigError, "train_nodes names 'unt'.*'unet'"),
        ({"train_nodes": "unet"}, GraphFileError, r"pipe\.yaml:2: 'train_nodes' is 'unet'"),
        ({"train_nods": []}, GraphFileError, "'train_nods'.*'train_nodes'"),
        ({"wiring": "corupt"}, GraphFileError, r"pipe\.yaml:2: 'wiring' is 'corupt'"),
        ({"train_stages": ["unet"]}, ConfigError, "names 'unet', which is no stage"),
    ],
)
def test_a_training_that_cannot_be_is_told(config, data, error, message):
    with pytest.raises(error, match=message):
        TrainingPipeline.from_config(config(**data))
