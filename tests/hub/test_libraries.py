"""Libraries, families, and where models are found."""

from __future__ import annotations

import logging
import shutil

import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel

from yggdrasil.core.component import Component, Given
from yggdrasil.core.errors import ModelError
from yggdrasil.hub import locate as locating
from yggdrasil.hub.families import diffusers_class, template_for
from yggdrasil.hub.library import FolderLibrary, ObjectLibrary, OverlaidLibrary
from yggdrasil.hub.locate import is_hub_id, locate
from yggdrasil.hub.zoo import fallback
from yggdrasil.hub.zoo_models import zoo_models


def slot(cls, name):
    made = Component(cls)
    made.__set_name__(object, name)
    return made


def test_a_folder_gives_what_its_index_names(tiny_folder):
    library = FolderLibrary.open(tiny_folder("sd2"))
    assert library.pipeline_class() == "StableDiffusionPipeline"
    assert library.scheduler_class() == "DDIMScheduler"
    assert library.describe() == str(tiny_folder("sd2"))
    assert library.graph_file is None
    assert library.source(slot(torch.nn.Module, "safety_checker")) is None
    assert library.source(slot(torch.nn.Module, "controlnet")) is None
    source = library.source(slot(UNet2DConditionModel, "unet"))
    assert source.describe() == {"pretrained": str(tiny_folder("sd2"))}


def test_a_component_is_loaded_once_for_all_slots_of_its_class(tiny_folder):
    library = FolderLibrary.open(tiny_folder("sd15"))
    first, second = slot(UNet2DConditionModel, "unet"), slot(UNet2DConditionModel, "unet")
    assert library.source(first).load(first) is library.source(second).load(second)
    other = FolderLibrary.open(tiny_folder("sd15"))
    assert other.source(first).load(first) is not library.source(first).load(first)


def test_another_schedulers_configuration_serves(tiny_folder):
    library = FolderLibrary.open(tiny_folder("sd15"))
    scheduler = slot(DDIMScheduler, "scheduler")
    source = library.source(scheduler)
    assert source.config(scheduler)["_class_name"] == "PNDMScheduler"
    assert source.load(scheduler).config.beta_end == 0.012


def test_objects_are_given_as_they_are():
    model = torch.nn.Linear(1, 1)
    scheduler = DDIMScheduler()
    library = ObjectLibrary({"unet": model, "vae": None, "scheduler": scheduler}, "MyPipeline")
    assert library.source(slot(torch.nn.Module, "unet")).load(slot(torch.nn.Module, "u")) is model
    assert library.source(slot(torch.nn.Module, "vae")) is None
    assert library.scheduler_class() == "DDIMScheduler"
    assert library.describe() == library.pipeline_class() == "MyPipeline"
    assert ObjectLibrary({}, "Bare").scheduler_class() is None


def test_components_of_the_caller_go_before_the_models(tiny_folder):
    model, scheduler = torch.nn.Linear(1, 1), DDIMScheduler()
    base = FolderLibrary.open(tiny_folder("sd15"))
    library = OverlaidLibrary(base, {"unet": model, "vae": None, "scheduler": scheduler})
    unet = slot(UNet2DConditionModel, "unet")
    assert library.source(unet).load(unet) is model
    assert library.source(slot(torch.nn.Module, "vae")) is None
    assert isinstance(library.source(slot(DDIMScheduler, "scheduler")), Given)
    assert library.names() == {"unet", "text_encoder", "tokenizer", "scheduler"}
    assert (base.scheduler_class(), library.scheduler_class()) == ("PNDMScheduler", "DDIMScheduler")
    assert OverlaidLibrary(base, {"scheduler": None}).scheduler_class() is None
    assert library.describe() == base.describe()
    assert library.pipeline_class() == base.pipeline_class()
    assert library.graph_file is None


@pytest.fixture
def mixed(tiny_folder, tmp_path):
    """Gives a model whose UNet has weights in half precision too."""
    folder = shutil.copytree(tiny_folder("sd15"), tmp_path / "mixed")
    UNet2DConditionModel.from_pretrained(folder / "unet").half().save_pretrained(
        folder / "unet", variant="fp16"
    )
    return folder


def test_a_component_without_the_variant_is_loaded_from_plain_weights(mixed, caplog):
    with caplog.at_level(logging.WARNING, "yggdrasil"):
        library = FolderLibrary.open(mixed, "fp16")
    assert "has no fp16 weights of text_encoder, vae: the plain ones are taken" in caplog.text
    unet, vae = slot(UNet2DConditionModel, "unet"), slot(AutoencoderKL, "vae")
    assert library.source(unet).describe()["variant"] == "fp16"
    assert "variant" not in library.source(vae).describe()
    plain = FolderLibrary.open(mixed).source(unet).load(unet)
    half = library.source(unet).load(unet)
    assert not torch.equal(half.conv_in.weight, plain.conv_in.weight)
    assert torch.equal(half.conv_in.weight, plain.conv_in.weight.half().float())


def test_a_variant_that_nothing_has_is_refused_with_those_that_are_there(mixed):
    library = FolderLibrary.open(mixed, "fp61")
    unet = slot(UNet2DConditionModel, "unet")
    message = r"unet holds no weights of the variant 'fp61'\. Did you mean 'fp16'\? Leave variant"
    with pytest.raises(ModelError, match=message):
        library.source(unet).check(unet)


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("StableDiffusionPipeline", "txt2img"),
        ("StableDiffusionImg2ImgPipeline", "img2img"),
        ("StableDiffusionInpaintPipeline", "inpaint"),
    ],
)
def test_a_diffusers_class_has_a_template_and_a_task_and_back(name, task):
    assert template_for(name, "it") == ("sd15", task)
    assert diffusers_class("sd15", task) == name


def test_an_unknown_class_gives_the_nearest():
    with pytest.raises(
        ModelError, match=r"m is a HunyuanDiTPipeline, for which there is no template yet"
    ):
        template_for("HunyuanDiTPipeline", "m")
    with pytest.raises(ModelError, match=r"Did you mean.*'StableDiffusionPipeline'"):
        template_for("StableDiffusionPipelines", "m")


def test_the_box_is_searched_by_name(tiny_folder, tmp_path, monkeypatch):
    shutil.copytree(tiny_folder("sd15"), tmp_path / "shapes")
    (tmp_path / "empty").mkdir()
    monkeypatch.setattr("yggdrasil.hub.zoo_models._ZOO", tmp_path)
    assert zoo_models() == {"zoo/shapes": tmp_path / "shapes"}
    assert locate("zoo/shapes").root == tmp_path / "shapes"
    assert fallback("sd15_inpaint").root == tmp_path / "shapes"


def test_a_folder_goes_before_the_hub(tiny_folder, monkeypatch):
    folder = tiny_folder("sd15")
    monkeypatch.chdir(folder.parent.parent)
    monkeypatch.setattr(locating, "open_snapshot", pytest.fail)
    assert locate(f"{folder.parent.name}/sd15").root.resolve() == folder
    assert locate(folder).root == folder


@pytest.mark.parametrize("name", ["./some/model", "/some/model", "some/model/deep", "model"])
def test_what_is_no_id_is_not_asked_of_the_hub(monkeypatch, name):
    monkeypatch.setattr(locating, "open_snapshot", pytest.fail)
    assert not is_hub_id(name)
    with pytest.raises(ModelError, match="There is no folder"):
        locate(name)


def test_what_would_be_fetched_is_known(tiny_folder):
    assert is_hub_id("some/model")
    assert is_hub_id("some/model@refs/pr/1")
    assert is_hub_id("https://huggingface.co/some/model/blob/main/model.safetensors")
    assert not is_hub_id(str(tiny_folder("sd15")))
    assert not is_hub_id("models/model.safetensors")
    assert not is_hub_id("zoo/shapes")


def test_a_part_of_a_folder_is_opened(tiny_folder):
    folder = tiny_folder("sd15")
    assert locate(folder.parent, subfolder="sd15").root == folder


@pytest.mark.parametrize("part", ["..", "a/../../b", "/etc"])
def test_a_part_stays_inside(tiny_folder, part):
    for model in (tiny_folder("sd15"), "some/model"):
        with pytest.raises(ModelError, match="which leads out of the model"):
            locate(model, subfolder=part)


def test_what_means_nothing_for_a_model_is_refused(tiny_folder):
    with pytest.raises(ModelError, match=r"on this machine: revision='v1' means nothing there\."):
        locate(tiny_folder("sd15"), revision="v1")
    with pytest.raises(ModelError, match=r"is one file: variant='fp16' means nothing there"):
        locate("model.safetensors", variant="fp16")
    with pytest.raises(ModelError, match=r"says the revision 'v1', and revision='v2'"):
        locate("some/model@v1", revision="v2")


def test_a_folder_that_is_no_pipeline_says_what_is_wanted(tmp_path):
    with pytest.raises(
        ModelError, match=r"has no model_index.json.*Give the folder that holds unet"
    ):
        FolderLibrary.open(tmp_path)
    with pytest.raises(ModelError, match=r"There is no folder .*/a/b\.$"):
        FolderLibrary.open(tmp_path / "a" / "b")
