"""The ways to make a pipeline, and what is said when a model is not whole."""

from __future__ import annotations

import json
import logging
import shutil

import diffusers
import pytest
import torch
from diffusers import StableDiffusionImg2ImgPipeline

from tests.pipelines.conftest import generator, quiet
from tests.pipelines.pictures import picture
from tests.tiny_models import tiny_pipeline
from yggdrasil import ComputeGraph, InferencePipeline, TrainingPipeline
from yggdrasil.core.errors import (
    ConfigError,
    InputError,
    MissingInputError,
    ModelError,
    NotLoadedError,
    RegistryError,
    UnknownInputError,
)
from yggdrasil.hub import sources
from yggdrasil.hub.locate import locate


@pytest.fixture
def zoo(tiny_folder, tmp_path, monkeypatch):
    """Puts a tiny model called shapes into the box."""
    shutil.copytree(tiny_folder("sd15"), tmp_path / "zoo" / "shapes")
    monkeypatch.setattr("yggdrasil.hub.zoo_models._ZOO", tmp_path / "zoo")
    return tmp_path / "zoo" / "shapes"


@pytest.fixture
def copy(tiny_folder, tmp_path):
    """Gives a model of one's own, to be damaged."""
    return shutil.copytree(tiny_folder("sd15"), tmp_path / "model")


@pytest.fixture
def loaded(monkeypatch):
    """Lists the components that are loaded from folders."""
    names = []
    load = sources.FolderSource._load

    def remember(self, slot, dtype):
        names.append(slot.name)
        return load(self, slot, dtype)

    monkeypatch.setattr(sources.FolderSource, "_load", remember)
    return names


# -- templates -------------------------------------------------------------------------------------


def test_a_template_refuses_a_model_of_another_family(tiny_folder):
    message = "is a StableDiffusionPipeline, a model for the template 'sd15', and not for 'sd3'"
    with pytest.raises(ModelError, match=message):
        InferencePipeline.from_template("sd3", pretrained=tiny_folder("sd15"))


def test_a_template_without_weights_takes_the_model_in_the_box_and_says_so(zoo, caplog):
    with caplog.at_level(logging.WARNING, "yggdrasil"):
        pipe = quiet(InferencePipeline.from_template("sd15"))
    assert "sd15 was given no weights: using zoo/shapes" in caplog.text
    assert pipe.task is None
    assert len(pipe("a cat", num_inference_steps=1, seed=0)) == 1


def test_a_template_with_weights_says_nothing(zoo, tiny_folder, caplog):
    InferencePipeline.from_template("sd15", pretrained=tiny_folder("sd15"))
    InferencePipeline.from_template("sd15", pretrained="zoo/shapes")
    assert "no weights" not in caplog.text


def test_the_name_of_a_task_fixes_the_task(zoo):
    pipe = InferencePipeline.from_template("sd15_img2img", pretrained="zoo/shapes")
    assert pipe.task == "img2img"
    with pytest.raises(MissingInputError, match="Task 'img2img' needs 'image', which was not"):
        pipe("a cat")


def test_a_task_that_the_graph_has_not_is_known_at_once(tiny_folder):
    with pytest.raises(UnknownInputError, match=r"no task 'img'\..*'img2img'"):
        InferencePipeline.from_pretrained(tiny_folder("sd15"), task="img")


def test_a_template_without_a_model_in_the_box_says_what_to_give(tmp_path, monkeypatch):
    monkeypatch.setattr("yggdrasil.hub.zoo_models._ZOO", tmp_path)
    with pytest.raises(ModelError, match=r"zoo has no model of its family\. Give pretrained="):
        InferencePipeline.from_template("sd15")


@pytest.mark.parametrize(
    ("name", "message"),
    [("sd51", "no template.*'sd51'.*'sd15'"), ("sd15_img2imq", "sd15_img2imq.*'sd15_img2img'")],
)
def test_an_unknown_template_or_task_gives_the_nearest(zoo, name, message):
    with pytest.raises(RegistryError, match=message):
        InferencePipeline.from_template(name)


def test_a_solver_of_ones_own_takes_the_schedule_of_the_model(tiny_folder):
    pipe = InferencePipeline.from_template(
        "sd15", pretrained=tiny_folder("sd15"), solver="solver/euler"
    )
    assert pipe.graph.block("solver").type_name == "solver/euler"
    assert pipe.graph.block("solver").make_scheduler().config.beta_start == 0.00085


def test_an_unknown_solver_gives_the_nearest(tiny_folder):
    with pytest.raises(RegistryError, match=r"solver/eulr.*'solver/euler'"):
        InferencePipeline.from_pretrained(tiny_folder("sd15"), solver="solver/eulr")


def test_a_solver_is_not_chosen_for_a_graph_with_none(tiny_folder, tmp_path):
    folder = shutil.copytree(tiny_folder("sd15"), tmp_path / "model")
    (folder / "graph.yaml").write_text("schema: 1\nname: bare\n", encoding="utf-8")
    with pytest.raises(InputError, match="solver='solver/euler' is for a graph with one solver"):
        InferencePipeline.from_pretrained(folder, solver="solver/euler")


# -- folders ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "solver"), [("sd15", "solver/pndm"), ("sd2", "solver/ddim"), ("lcm", "solver/lcm")]
)
def test_a_folder_is_loaded_with_its_own_solver(tiny_folder, kind, solver):
    pipe = quiet(InferencePipeline.from_pretrained(tiny_folder(kind)))
    assert pipe.graph.block("solver").type_name == solver
    theirs = tiny_pipeline(kind)
    call = {"num_inference_steps": 2, "output_type": "pt"}
    expected = theirs("a red cat", generator=generator(), **call).images
    assert torch.equal(pipe("a red cat", generator=generator(), **call).images, expected)


def test_the_scheduler_of_a_model_without_solver_is_named(copy):
    index = json.loads((copy / "model_index.json").read_text())
    index["scheduler"] = ["diffusers", "RePaintScheduler"]
    (copy / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(ConfigError, match="No solver drives the scheduler 'RePaintScheduler'"):
        InferencePipeline.from_pretrained(copy)


def test_nothing_is_loaded_before_it_is_needed(tiny_folder, loaded):
    pipe = quiet(InferencePipeline.from_pretrained(tiny_folder("sd15")))
    assert loaded == []
    pipe("a cat", num_inference_steps=1, output_type="latent", seed=0)
    assert sorted(loaded) == ["scheduler", "text_encoder", "tokenizer", "unet"]
    assert not pipe.graph.block("vae")._modules
    pipe("a cat", num_inference_steps=1, seed=0)
    assert sorted(loaded) == ["scheduler", "text_encoder", "tokenizer", "unet", "vae"]


def test_a_call_that_is_wrong_loads_nothing(tiny_folder, loaded):
    pipe = InferencePipeline.from_pretrained(tiny_folder("sd15"))
    with pytest.raises(InputError):
        pipe("a cat", num_inference_steps=0)
    with pytest.raises(InputError):
        pipe("a cat", callback_on_step_end=print, callback_on_step_end_tensor_inputs=["latent"])
    assert loaded == []


def _spoil(folder, name, spoil):
    path = folder / name
    if callable(spoil):
        spoil(path)
    else:
        path.write_text(spoil, encoding="utf-8")


def _cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def _pickle(path):
    path.rename(path.with_suffix(".bin"))


DAMAGE = {
    "no index": ("model_index.json", lambda p: p.unlink(), "has no model_index.json, so it is not"),
    "broken index": ("model_index.json", "{", r"model_index.json is damaged: .*\. Copy or down"),
    "index of a list": ("model_index.json", "[]", "should hold a JSON object, not a list"),
    "unknown class": (
        "model_index.json",
        '{"_class_name": "StableDiffusionPipelines"}',
        "is a StableDiffusionPipelines, for which there is no.*'StableDiffusionPipeline'",
    ),
    "no class": ("model_index.json", "{}", "says no _class_name, so the model's family is unknown"),
    "odd entry": (
        "model_index.json",
        '{"_class_name": "StableDiffusionPipeline", "scheduler": ["diffusers"]}',
        r"says scheduler: \['diffusers'\], which is not \[library, class\]",
    ),
    "no folder": ("unet", shutil.rmtree, "has no folder 'unet', which UNet2D.*it has scheduler,"),
    "no config": ("unet/config.json", lambda p: p.unlink(), "unet holds none of config.json"),
    "broken config": ("vae/config.json", '{"a": ', r"vae/config.json is damaged: .*Copy or downl"),
    "no weights": (
        "unet/diffusion_pytorch_model.safetensors",
        lambda p: p.unlink(),
        r"unet holds no weights \(diffusion_pytorch_model\.safetensors\)\. Was the copy or the ",
    ),
    "cut weights": (
        "unet/diffusion_pytorch_model.safetensors",
        _cut,
        r"has [\d,]+ bytes, but its header promises [\d,]+: it was cut short",
    ),
    "pickled weights": (
        "text_encoder/model.safetensors",
        _pickle,
        "text_encoder holds only model.bin, which can run code when it is read. Convert it",
    ),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_folder_is_refused_before_anything_is_loaded(copy, loaded, case):
    name, spoil, message = DAMAGE[case]
    _spoil(copy, name, spoil)
    with pytest.raises(ModelError, match=message):
        InferencePipeline.from_pretrained(copy)
    assert loaded == []


def test_a_component_that_the_caller_leaves_out_is_missed_when_it_is_needed(tiny_folder, loaded):
    pipe = InferencePipeline.from_pretrained(tiny_folder("sd15"), unet=None)
    with pytest.raises(NotLoadedError, match="UNet2DConditionBackbone has no 'unet'"):
        pipe("a cat")
    assert loaded == []


def test_a_missing_folder_gives_the_nearest_names(tiny_folder):
    folder = tiny_folder("sd15")
    with pytest.raises(ModelError, match=r"There is no folder .*sd51\. Did you mean 'sd15'"):
        InferencePipeline.from_pretrained(folder.parent / "sd51")


def test_a_zoo_model_that_is_not_there_gives_the_nearest(zoo):
    with pytest.raises(
        ModelError, match=r"zoo has no model 'zoo/shape'\. Did you mean 'zoo/shapes"
    ):
        InferencePipeline.from_pretrained("zoo/shape")


def test_a_variant_is_loaded_where_it_is_asked_for(copy, tmp_path):
    tiny_pipeline(seed=5).save_pretrained(tmp_path / "half", variant="fp16")
    pipe = InferencePipeline.from_pretrained(tmp_path / "half", variant="fp16")
    assert pipe.components["unet"].conv_in.weight.dtype == torch.float32
    with pytest.raises(ModelError, match=r"holds weights of a variant only\. Give variant='fp16'"):
        InferencePipeline.from_pretrained(tmp_path / "half")
    with pytest.raises(ModelError, match=r"no weights of the variant 'fp16'. Leave variant out"):
        InferencePipeline.from_pretrained(copy, variant="fp16")


def test_options_of_the_constructor_are_checked(tiny_folder):
    with pytest.raises(ConfigError, match=r"'cache_limits' is neither.*Did.*'cache_limit'"):
        InferencePipeline.from_pretrained(tiny_folder("sd15"), cache_limits=0)


# -- objects and graphs ----------------------------------------------------------------------------


def test_the_modules_of_a_diffusers_pipeline_are_shared(theirs):
    pipe = InferencePipeline.from_diffusers(theirs)
    for name in ("unet", "vae", "text_encoder", "tokenizer", "scheduler"):
        assert pipe.components[name] is getattr(theirs, name)
    assert set(pipe.modules()) == {"unet", "vae", "text_encoder"}


def test_the_task_is_that_of_the_diffusers_class(theirs):
    pipe = StableDiffusionImg2ImgPipeline(**theirs.components, requires_safety_checker=False)
    assert InferencePipeline.from_diffusers(pipe).task == "img2img"
    assert InferencePipeline.from_diffusers(theirs).task == "txt2img"


def test_a_diffusers_pipeline_of_another_class_runs_whole(theirs):
    class Odd(diffusers.StableDiffusionPipeline):
        pass

    odd = Odd(**theirs.components, requires_safety_checker=False)
    pipe = InferencePipeline.from_diffusers(odd)
    assert list(pipe.graph.nodes) == ["pipeline"]


def test_a_pipeline_of_a_graph_runs_it_as_it_is(theirs):
    graph = ComputeGraph.from_template("sd15")
    graph.block("text").give(tokenizer=theirs.tokenizer, text_encoder=theirs.text_encoder)
    graph.block("unet").give(unet=theirs.unet)
    graph.block("vae").give(vae=theirs.vae)
    graph.block("solver").give(scheduler=theirs.scheduler)
    pipe = quiet(InferencePipeline.from_graph(graph))
    assert pipe.graph is graph
    mine = pipe("a dog", generator=generator(), num_inference_steps=2, output_type="pt").images
    call = {"num_inference_steps": 2, "output_type": "pt"}
    assert torch.equal(mine, theirs("a dog", generator=generator(), **call).images)


def test_a_node_may_name_a_model_of_its_own(theirs, tiny_folder, tmp_path):
    other = tmp_path / "other"
    tiny_pipeline(seed=3).save_pretrained(other)
    graph = ComputeGraph.from_template("sd15")
    graph.replace_node("vae", "codec/autoencoder_kl", pretrained=str(other))
    pipe = InferencePipeline(graph, library=locate(tiny_folder("sd15")))
    vae, plain = pipe.components["vae"], theirs.vae
    assert not torch.equal(vae.encoder.conv_in.weight, plain.encoder.conv_in.weight)
    assert torch.equal(pipe.components["unet"].conv_in.weight, theirs.unet.conv_in.weight)


def with_graph(folder, change):
    """Saves a changed graph beside a model's components."""
    graph = ComputeGraph.from_template("sd15")
    change(graph)
    (folder / "graph.yaml").write_text(graph.to_yaml(), encoding="utf-8")
    return graph


def _name_model(graph):
    graph.replace_node("vae", "codec/autoencoder_kl", pretrained="someone/else")


def _name_component(graph):
    graph.replace_node("vae", "codec/autoencoder_kl", components={"vae": "someone/else"})


def _name_model_in_stage(graph):
    inner = ComputeGraph("inner")
    inner.add_node("vae", "codec/autoencoder_kl", pretrained="someone/else")
    graph.remove_node("masked").remove_node("vae").add_stage("vae", inner)


def _name_model_of_stage(graph):
    graph.add_stage("stage", ComputeGraph("inner"), pretrained="someone/else")


@pytest.mark.parametrize(
    ("change", "node"),
    [
        (_name_model, "vae"),
        (_name_component, "vae"),
        (_name_model_in_stage, "vae.vae"),
        (_name_model_of_stage, "stage"),
    ],
)
@pytest.mark.parametrize("make", [InferencePipeline, TrainingPipeline])
def test_the_graph_of_a_model_does_not_fetch_another_model(copy, monkeypatch, make, change, node):
    monkeypatch.setattr("yggdrasil.hub.locate.open_snapshot", pytest.fail)
    with_graph(copy, change)
    options = {"train_nodes": ["unet"]} if make is TrainingPipeline else {}
    message = (
        rf"Node '{node}' of .*graph\.yaml names the model 'someone/else', which would be fetched "
        r"from the hub.*from_graph\(ComputeGraph\.from_yaml\('.*graph\.yaml'\), library=locate\("
    )
    with pytest.raises(ModelError, match=message):
        make.from_pretrained(copy, **options)


def test_a_graph_read_by_the_caller_may_fetch_another_model(copy, tiny_folder, hub):
    hub.add("someone/else", tiny_folder("sd2"))
    with_graph(copy, _name_model)
    graph = ComputeGraph.from_yaml(copy / "graph.yaml")
    pipe = InferencePipeline.from_graph(graph, library=locate(copy))
    assert pipe.components["vae"].config.latent_channels == 4
    assert "vae/diffusion_pytorch_model.safetensors" in hub.fetched("someone/else")


def test_the_graph_of_a_model_may_name_folders_and_the_zoo(copy, zoo, tiny_folder, monkeypatch):
    monkeypatch.chdir(tiny_folder("sd15").parent.parent)
    relative = str(tiny_folder("sd15").relative_to(tiny_folder("sd15").parent.parent))
    for name in (str(tiny_folder("sd15")), relative, "zoo/shapes"):
        with_graph(copy, lambda graph, name=name: graph.replace_node(
            "vae", "codec/autoencoder_kl", pretrained=name))  # fmt: skip
        pipe = InferencePipeline.from_pretrained(copy)
        root = zoo if name == "zoo/shapes" else tiny_folder("sd15")
        assert pipe.graph.block("vae").sources["vae"].root.resolve() == root.resolve()


def test_the_model_of_a_stage_fills_the_nodes_inside(tiny_folder, tmp_path):
    for name, seed in (("other", 3), ("third", 4)):
        tiny_pipeline(seed=seed).save_pretrained(tmp_path / name)
    plain, inner, innermost = (ComputeGraph(name) for name in ("plain", "inner", "innermost"))
    for graph in (plain, inner, innermost):
        graph.add_node("vae", "codec/autoencoder_kl")
    inner.add_node("own", "codec/autoencoder_kl", pretrained=str(tmp_path / "third"))
    inner.add_stage("deeper", innermost)
    outer = ComputeGraph("outer").add_stage("plain", plain)
    outer.add_stage("inner", inner, pretrained=str(tmp_path / "other"))
    InferencePipeline(outer, library=locate(tiny_folder("sd15")))
    roots = [
        graph.block(name).sources["vae"].root
        for graph, name in [(plain, "vae"), (inner, "vae"), (inner, "own"), (innermost, "vae")]
    ]
    other = tmp_path / "other"
    assert roots == [tiny_folder("sd15"), other, tmp_path / "third", other]
    assert inner.block("vae").vae is innermost.block("vae").vae


def test_components_of_a_stage_are_refused():
    graph = ComputeGraph("outer").add_stage("s", ComputeGraph("i"), components={"vae": "x"})
    with pytest.raises(ConfigError, match="Node 's' gives 'vae' among its components"):
        InferencePipeline(graph)


def test_a_node_may_be_made_from_a_configuration(theirs, tiny_folder):
    config = {name: value for name, value in theirs.vae.config.items() if name[0] != "_"}
    made = []
    for components in ({"vae": {"config": config, "seed": 4}}, {"vae": config}):
        graph = ComputeGraph.from_template("sd15")
        graph.replace_node("vae", "codec/autoencoder_kl", components=components)
        made.append(InferencePipeline(graph, library=locate(tiny_folder())).components["vae"])
    weights = [vae.encoder.conv_in.weight for vae in made]
    assert weights[0].shape == weights[1].shape
    assert not torch.equal(*weights)


@pytest.mark.parametrize(
    ("components", "message"),
    [
        ({"unet": "somewhere"}, "gives 'unet' among its components.*has vae"),
        ({"vae": {"config": {}, "sed": 1}}, "'sed': 1.*give a configuration, or config, seed and"),
        ({"vae": {"config": 3}}, "give a configuration, or config"),
    ],
)
def test_components_that_cannot_be_are_refused(components, message):
    graph = ComputeGraph.from_template("sd15")
    graph.replace_node("vae", "codec/autoencoder_kl", components=components)
    with pytest.raises(ConfigError, match=message):
        InferencePipeline(graph)


# -- place and dtype -------------------------------------------------------------------------------


def test_later_components_follow_a_dtype(tiny_folder):
    pipe = quiet(InferencePipeline.from_pretrained(tiny_folder("sd15")).to(torch.bfloat16))
    result = pipe("a cat", seed=0, num_inference_steps=1, output_type="latent")
    assert result.latents.dtype == torch.bfloat16
    assert {each.dtype for each in pipe.modules().values()} == {torch.bfloat16}


def test_loaded_components_are_moved_and_a_new_node_follows(tiny_folder):
    pipe = quiet(InferencePipeline.from_pretrained(tiny_folder("sd15")))
    assert pipe.modules()["unet"].dtype == torch.float32
    pipe.to("cpu", torch.float64)
    pipe.graph.replace_node("unet", "backbone/unet2d_condition")
    assert {each.dtype for each in pipe.modules().values()} == {torch.float64}


@pytest.mark.parametrize(
    "given",
    [
        {"dtype": torch.bfloat16},
        {"torch_dtype": torch.bfloat16},
        {"dtype": torch.bfloat16, "torch_dtype": torch.bfloat16},
    ],
)
def test_a_dtype_goes_by_both_of_its_names(tiny_folder, given):
    folder = tiny_folder("sd15")
    for pipe in (
        InferencePipeline.from_pretrained(folder, **given),
        InferencePipeline.from_template("sd15", pretrained=folder, **given),
    ):
        assert {each.dtype for each in pipe.modules().values()} == {torch.bfloat16}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"dtype": torch.float16, "torch_dtype": torch.bfloat16},
         r"dtype is torch\.float16 and torch_dtype, its older name, torch\.bfloat16: give one\."),
        ({"torch_dtype": "flaot16"}, r"torch_dtype is 'flaot16', .*mean 'float16' or .*Give"),
        ({"dtype": torch.int8}, r"dtype is torch\.int8, which is no dtype of weights"),
    ],
)  # fmt: skip
def test_what_is_no_dtype_is_refused_before_the_model_is_opened(given, message):
    with pytest.raises(ConfigError, match=message):
        InferencePipeline.from_pretrained("org/never-asked", **given)


def test_an_edit_leaves_what_a_class_keeps_in_float32(tiny_folder):
    pipe = InferencePipeline.from_pretrained(tiny_folder("sd15"), dtype=torch.bfloat16)
    last = pipe.modules()["unet"].conv_out.float()
    pipe.graph.replace_node("solver", "solver/euler")
    pipe.plan("a cat")
    assert last.weight.dtype == torch.float32


def test_a_device_leaves_the_dtype_of_before(tiny_folder):
    pipe = InferencePipeline.from_pretrained(tiny_folder("sd15"), torch_dtype=torch.bfloat16)
    assert pipe.to("cpu").modules()["vae"].dtype == torch.bfloat16


def test_half_precision_gives_the_bits_of_diffusers(tiny_folder):
    folder = tiny_folder("sd15")
    theirs = quiet(diffusers.StableDiffusionPipeline.from_pretrained(folder)).to(torch.bfloat16)
    ours = quiet(InferencePipeline.from_pretrained(folder, torch_dtype=torch.bfloat16))
    call = {"num_inference_steps": 2, "output_type": "pt"}
    expected = theirs("a cat", generator=generator(), **call).images
    assert torch.equal(ours("a cat", generator=generator(), **call).images, expected)


def test_the_repr_says_graph_task_and_model(theirs):
    pipe = InferencePipeline.from_diffusers(theirs)
    assert repr(pipe) == "InferencePipeline('sd15', task='txt2img', from StableDiffusionPipeline)"
    bare = InferencePipeline(ComputeGraph.from_template("sd15"))
    assert repr(bare) == "InferencePipeline('sd15', task=None, from no model)"
    with pytest.raises(NotLoadedError):
        bare("a cat")


def test_a_name_of_another_task_is_refused_by_a_fixed_one(theirs):
    pipe = InferencePipeline.from_diffusers(theirs)
    with pytest.raises(
        UnknownInputError, match=r"'txt2img' takes no argument 'image'\. Task 'img2"
    ):
        pipe("a cat", image=picture())
