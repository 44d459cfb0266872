"""Models that name code to be fetched and run are refused, wherever they come from."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from diffusers import UNet2DConditionModel
from huggingface_hub import constants
from transformers import CLIPTextModel, CLIPTokenizer

from tests.single_files import save_checkpoint
from tests.tiny_models import tiny_pipeline
from yggdrasil import ComputeGraph, InferencePipeline, TrainingPipeline
from yggdrasil.core.component import Component
from yggdrasil.core.errors import ConfigError, ModelError
from yggdrasil.hub.access import HubOptions
from yggdrasil.hub.library import FolderLibrary
from yggdrasil.hub.named_code import find_named_code
from yggdrasil.hub.sources import FolderSource, FreshSource
from yggdrasil.hub.vocabulary import VocabularySource

KERNEL = {"_attn_implementation": "org/kernel"}
REFUSED = r"config\.json says _attn_implementation: 'org/kernel', and a model may not name code"


def slot(cls, name):
    made = Component(cls)
    made.__set_name__(object, name)
    return made


def say(path, **values):
    """Adds values to a JSON file."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.fixture
def model(tiny_folder, tmp_path):
    return shutil.copytree(tiny_folder("sd15"), tmp_path / "model")


@pytest.fixture
def hostile(model):
    say(model / "text_encoder" / "config.json", **KERNEL)
    return model


# -- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({"attn_implementation": "org/name"}, "attn_implementation"),
        ({"_attn_implementation": "paged|org/name@v1:kernel"}, "_attn_implementation"),
        ({"_attn_implementation_internal": "org/name"}, "_attn_implementation_internal"),
        ({"attn_implementation": {"": "sdpa", "vision_config": "a/b"}}, "attn_implementation"),
        ({"text_config": {"inner": [{"attn_implementation": "a/b"}]}},
         "text_config.inner[0].attn_implementation"),
        ({"experts_implementation": "sonicmoe"}, "experts_implementation"),
        ({"auto_map": {"AutoModel": "modeling.Mine"}}, "auto_map"),
        ({"custom_pipelines": {"mine": {"impl": "pipe.Mine"}}}, "custom_pipelines"),
        ({"trust_remote_code": True}, "trust_remote_code"),
        ({"use_kernels": True}, "use_kernels"),
        ({"kernel_config": {"RMSNorm": "org/name:layer"}}, "kernel_config"),
        ({"quantization_config": {"quant_method": "mxfp4"}}, "quantization_config"),
        ({"transformers_weights": "adapter_model.bin"}, "transformers_weights"),
    ],
)  # fmt: skip
def test_values_that_name_code_are_found(values, path):
    found = find_named_code({"hidden_size": 8, **values})
    assert found.path == path
    assert f"x says {path}: " in found.refused("x")


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"attn_implementation": None, "auto_map": {}, "trust_remote_code": False},
        {"_attn_implementation": "sdpa", "experts_implementation": "grouped_mm"},
        {"attn_implementation": {"": "eager", "text_config": "paged|flash_attention_2"}},
        {"chat_template": "{{ messages }}", "_name_or_path": "org/name", "model_type": "clip"},
    ],
)
def test_names_of_what_transformers_brings_along_are_none(values):
    assert find_named_code(values) is None


def test_the_message_says_how_to_mend_it():
    found = find_named_code({"attn_implementation": "org/name"})
    assert found.refused("m/config.json").endswith(
        "To use it all the same, take it out, or say one of batched_mm, eager, flash_attention_2, "
        "flash_attention_3, flash_attention_4, flex_attention, grouped_mm, sdpa."
    )
    assert len(find_named_code({"auto_map": "x" * 999}).refused("m")) < 300


# -- doors -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("pipeline", [InferencePipeline, TrainingPipeline])
def test_a_folder_is_refused_when_the_pipeline_is_made(hostile, pipeline):
    options = {"train_nodes": ["unet"]} if pipeline is TrainingPipeline else {}
    with pytest.raises(ModelError, match=rf"text_encoder/{REFUSED}"):
        pipeline.from_pretrained(hostile, **options)


@pytest.mark.parametrize(
    ("file", "where"),
    [
        ("unet/config.json", slot(UNet2DConditionModel, "unet")),
        ("text_encoder/config.json", slot(CLIPTextModel, "text_encoder")),
        ("text_encoder/generation_config.json", slot(CLIPTextModel, "text_encoder")),
        ("tokenizer/tokenizer_config.json", slot(CLIPTokenizer, "tokenizer")),
        ("tokenizer/config.json", slot(CLIPTokenizer, "tokenizer")),
    ],
)
def test_every_configuration_beside_a_component_is_looked_through(model, file, where):
    if not (model / file).exists():
        (model / file).write_text("{}")
    FolderSource(model).check(where)
    say(model / file, auto_map={"AutoModel": "mine.Mine"})
    for use in (FolderSource(model).check, FolderSource(model).config, FolderSource(model).load):
        with pytest.raises(ModelError, match=rf"{file} says auto_map: .*mine\.Mine"):
            use(where)


def test_an_adapter_that_names_its_base_is_refused(model):
    """transformers would load the base, whatever it is, in the place of the text encoder."""
    text = json.dumps({"base_model_name_or_path": "org/other", "peft_type": "LORA"})
    (model / "text_encoder" / "adapter_config.json").write_text(text)
    with pytest.raises(ModelError, match=r"adapter_config\.json makes an adapter .* Take the file"):
        InferencePipeline.from_pretrained(model)


@pytest.mark.parametrize(
    ("entry", "shown"),
    [
        ({"unet": ["mine", "MyUNet"]}, r"unet: \['mine', 'MyUNet'\]"),
        ({"unet": ["../mine", "MyUNet"]}, r"unet: \['\.\./mine', 'MyUNet'\]"),
        ({"_class_name": ["pipeline", "Mine"]}, r"_class_name: \['pipeline', 'Mine'\]"),
        ({"custom_pipeline": "org/name"}, "custom_pipeline: 'org/name'"),
    ],
)
def test_an_index_names_classes_of_known_libraries_alone(model, entry, shown):
    say(model / "model_index.json", **entry)
    with pytest.raises(ModelError, match=rf"model_index\.json says {shown}, and a model may"):
        FolderLibrary.open(model)


def test_an_index_may_name_what_a_family_of_diffusers_has(model):
    say(model / "model_index.json", safety_checker=["stable_diffusion", "Checker"], x=[None, None])
    assert "safety_checker" in FolderLibrary.open(model).names()


def test_of_a_model_on_the_hub_no_weights_are_fetched(hub, hostile, monkeypatch):
    hub.add("org/hostile", hostile)
    with pytest.raises(ModelError, match=rf"text_encoder/{REFUSED}"):
        InferencePipeline.from_pretrained("org/hostile")
    fetched = hub.fetched("org/hostile")
    assert "text_encoder/config.json" in fetched
    assert not [name for name in fetched if name.endswith(".safetensors")]
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match=REFUSED):
        InferencePipeline.from_pretrained("org/hostile", variant=None)


def test_the_configurations_for_a_checkpoint_are_refused(hostile, tmp_path):
    file = save_checkpoint(tmp_path / "model.safetensors", tiny_pipeline("sd15").components)
    with pytest.raises(ModelError, match=REFUSED):
        InferencePipeline.from_single_file(file, config=hostile)


def test_a_pipeline_saved_with_its_graph_is_refused(model, tmp_path):
    saved = InferencePipeline.from_pretrained(model).save_pretrained(tmp_path / "saved")
    say(saved / "text_encoder" / "config.json", **KERNEL)
    with pytest.raises(ModelError, match=REFUSED):
        InferencePipeline.from_pretrained(saved)


def test_a_configuration_in_a_graph_is_refused(model, tmp_path):
    saved = InferencePipeline.from_pretrained(model).save_pretrained(tmp_path / "saved")
    graph = ComputeGraph.from_yaml((saved / "graph.yaml").read_text())
    config = {"config": {**KERNEL, "hidden_size": 8}}
    graph.replace_node("text", "conditioner/clip_text", components={"text_encoder": config})
    (saved / "graph.yaml").write_text(graph.to_yaml())
    with pytest.raises(ConfigError, match=r"CLIPTextModel says _attn_implementation: 'org/kernel'"):
        InferencePipeline.from_pretrained(saved)


def test_a_node_that_names_a_model_loads_none_that_is_refused(hostile):
    graph = ComputeGraph.from_template("sd15")
    graph.replace_node("text", "conditioner/clip_text", pretrained=str(hostile))
    block = InferencePipeline.from_graph(graph).graph.block("text")
    with pytest.raises(ModelError, match=REFUSED):
        block.load()


def test_a_fresh_model_is_refused_before_it_is_made():
    where = slot(CLIPTextModel, "text_encoder")
    source = FreshSource({"hidden_size": 8, "attn_implementation": "org/kernel"})
    for use in (source.check, source.load):
        with pytest.raises(ConfigError, match=r"configuration of CLIPTextModel says attn_impl"):
            use(where)


def test_a_vocabulary_of_another_model_is_refused(hub, model):
    say(model / "tokenizer" / "tokenizer_config.json", auto_map={"AutoTokenizer": "mine.Mine"})
    for name in ("vocab.json", "merges.txt"):
        (model / "tokenizer" / name).write_text("{}")
    hub.add("org/words", model / "tokenizer")
    source = VocabularySource("org/words", {}, "model.safetensors", HubOptions())
    with pytest.raises(ModelError, match=r"tokenizer_config\.json says auto_map"):
        source.load(slot(CLIPTokenizer, "tokenizer"))


def test_a_class_of_ones_own_is_saved_as_what_others_know_it_by(model, tmp_path):
    class MyUNet(UNet2DConditionModel):
        """A UNet of the caller's."""

    unet = MyUNet.from_config(UNet2DConditionModel.load_config(model / "unet"))
    pipe = InferencePipeline.from_pretrained(model, unet=unet)
    saved = pipe.save_pretrained(tmp_path / "saved")
    index = json.loads((saved / "model_index.json").read_text())
    assert index["unet"] == ["diffusers", "UNet2DConditionModel"]
    again = InferencePipeline.from_pretrained(saved).components["unet"].state_dict()
    assert all(torch.equal(value, again[name]) for name, value in unet.state_dict().items())
