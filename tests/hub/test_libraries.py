"""Libraries, families, and where models are found."""

from __future__ import annotations

import shutil

import pytest
import torch
from diffusers import DDIMScheduler, DiffusionPipeline, UNet2DConditionModel
from huggingface_hub.errors import LocalEntryNotFoundError

from yggdrasil.core.component import Component
from yggdrasil.core.errors import ModelError
from yggdrasil.hub.families import diffusers_class, template_for
from yggdrasil.hub.library import FolderLibrary, ObjectLibrary
from yggdrasil.hub.locate import locate, zoo_models
from yggdrasil.hub.zoo import fallback


def slot(cls, name):
    made = Component(cls)
    made.__set_name__(object, name)
    return made


def test_a_folder_gives_what_its_index_names(tiny_folder):
    library = FolderLibrary.open(tiny_folder("sd2"))
    assert library.pipeline_class() == "StableDiffusionPipeline"
    assert library.scheduler_class() == "DDIMScheduler"
    assert library.describe() == str(tiny_folder("sd2"))
    assert not library.has_graph()
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
        ModelError, match=r"m is a FluxPipeline, for which there is no template yet"
    ):
        template_for("FluxPipeline", "m")
    with pytest.raises(ModelError, match=r"Did you mean.*'StableDiffusionPipeline'"):
        template_for("StableDiffusionPipelines", "m")


def test_the_box_is_searched_by_name(tiny_folder, tmp_path, monkeypatch):
    shutil.copytree(tiny_folder("sd15"), tmp_path / "shapes")
    (tmp_path / "empty").mkdir()
    monkeypatch.setattr("yggdrasil.hub.locate._ZOO", tmp_path)
    assert zoo_models() == {"zoo/shapes": tmp_path / "shapes"}
    assert locate("zoo/shapes").root == tmp_path / "shapes"
    assert fallback("sd15_inpaint").root == tmp_path / "shapes"


def test_a_folder_goes_before_the_hub(tiny_folder, monkeypatch):
    folder = tiny_folder("sd15")
    monkeypatch.chdir(folder.parent.parent)
    monkeypatch.setattr(DiffusionPipeline, "download", pytest.fail)
    assert locate(f"{folder.parent.name}/sd15").root.resolve() == folder
    assert locate(folder).root == folder


@pytest.mark.parametrize("name", ["./some/model", "/some/model", "some/model/deep", "model"])
def test_what_is_no_id_is_not_asked_of_the_hub(monkeypatch, name):
    monkeypatch.setattr(DiffusionPipeline, "download", pytest.fail)
    with pytest.raises(ModelError, match="There is no folder"):
        locate(name)


@pytest.mark.parametrize(
    "error", [OSError("no network"), ValueError("bad id"), LocalEntryNotFoundError("not cached")]
)
def test_what_the_hub_refuses_is_said(monkeypatch, error):
    def download(*_, **__):
        raise error

    monkeypatch.setattr(DiffusionPipeline, "download", download)
    with pytest.raises(ModelError, match=r"'some/model' is no folder here, and the hub did not"):
        locate("some/model")


def test_a_folder_that_is_no_pipeline_says_what_is_wanted(tmp_path):
    with pytest.raises(
        ModelError, match=r"has no model_index.json.*Give the folder that holds unet"
    ):
        FolderLibrary.open(tmp_path)
    with pytest.raises(ModelError, match=r"There is no folder .*/a/b\.$"):
        FolderLibrary.open(tmp_path / "a" / "b")
