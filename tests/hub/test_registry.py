"""The registry of models: from ids to templates, with where each fact is from."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import diffusers
import pytest

import yggdrasil
from yggdrasil.core.errors import ModelError
from yggdrasil.core.template_sources import template_names
from yggdrasil.hub.families import template_of
from yggdrasil.hub.library import FolderLibrary, ObjectLibrary
from yggdrasil.hub.locate import locate
from yggdrasil.hub.model_entries import ModelEntry
from yggdrasil.hub.pipeline_classes import tasks_by_class
from yggdrasil.hub.registry import MODEL_REGISTRY
from yggdrasil.hub.resolving import resolve

ENTRIES = MODEL_REGISTRY.entries
LOADABLE = (
    "controlnet", "t2i_adapter", "vae", "unet", "transformer", "motion_adapter", "text_encoder",
)  # fmt: skip
PIPELINES = Path(diffusers.__file__).parent / "pipelines"
OF_THESE_FAMILIES = (
    "stable_diffusion/*", "stable_diffusion_xl/*", "stable_diffusion_3/*", "flux/*", "flux2/*",
    "controlnet/*controlnet.py", "controlnet/*controlnet_[!b]*", "controlnet_sd3/*", "pag/*_sd*",
    "latent_consistency_models/*", "t2i_adapter/*", "../loaders/lora_base.py", "../loaders/peft.py",
    "../loaders/textual_inversion.py", "../loaders/single_file.py", "../loaders/ip_adapter.py",
    "../loaders/unet.py",
)  # fmt: skip
MODEL = re.compile(r"""["'`]([\w.-]+/[\w.-]+)["'`]|huggingface\.co/([\w.-]+/[\w.-]+)""")
OF_OTHERS = {"google/ddpm-celebahq-256", "CompVis/ldm-text2im-large-256"}
NO_MODEL = re.compile(r"\.(png|jpg|jpeg|json|py|pdf|html)$|^\.|^different_|^N/A$"
                      r"|^(unet|datasets|docs|papers|spaces|blog)/")  # fmt: skip


def named_in_docstrings():
    """Gives the ids that Diffusers' docstrings of these families name, with where."""
    found = {}
    for pattern in OF_THESE_FAMILIES:
        for path in PIPELINES.glob(pattern):
            if path.suffix != ".py":
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    several = "\n" in node.value
                    for match in MODEL.finditer(node.value) if several else ():
                        name = (match[1] or match[2]).rstrip(".")
                        if not NO_MODEL.search(name) and name not in OF_OTHERS:
                            found.setdefault(name, path.name)
    return found


NAMED = named_in_docstrings()


def test_diffusers_docstrings_name_models_of_every_family():
    families = {MODEL_REGISTRY.resolve(name).family for name in NAMED}
    assert families == {entry.family for entry in ENTRIES}
    assert len(NAMED) > 40


@pytest.mark.parametrize("name", sorted(NAMED))
def test_each_id_in_diffusers_docstrings_resolves(name):
    entry = MODEL_REGISTRY.resolve(name)
    assert entry.source
    if entry.pipeline is not None and entry.template in template_names():
        assert resolve(name).template == entry.template


def test_the_registry_is_a_mapping_of_the_package():
    assert yggdrasil.MODEL_REGISTRY is MODEL_REGISTRY
    assert len(MODEL_REGISTRY) == len(list(MODEL_REGISTRY)) == sum(len(e.ids) for e in ENTRIES)
    assert isinstance(MODEL_REGISTRY["black-forest-labs/FLUX.1-dev"], ModelEntry)
    assert "nobody/nothing" not in MODEL_REGISTRY
    assert MODEL_REGISTRY.find("nobody/nothing") is None


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.ids[0])
def test_what_an_entry_names_is_there(entry):
    assert (entry.pipeline is None) != (entry.component is None)
    assert entry.pipeline is None or hasattr(diffusers, entry.pipeline)
    if entry.component in LOADABLE and entry.family != "helpers":
        assert hasattr(diffusers, entry.class_name)
    if entry.pipeline is not None and entry.template is not None:
        assert (entry.configs is None) != (entry.no_configs is None)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.ids[0])
def test_an_entry_and_the_templates_agree(entry):
    known = tasks_by_class()
    if entry.pipeline is not None and entry.template is not None:
        assert known[entry.pipeline][0] == entry.template
    else:
        assert entry.pipeline not in known


@pytest.mark.parametrize(
    ("model", "template", "configs"),
    [
        ("stabilityai/stable-diffusion-3.5-large@main", "sd3", "sd35_large"),
        ("stabilityai/Stable-Diffusion-3.5-Large", "sd3", "sd35_large"),
        ("somebody/stable-diffusion-3.5-large", "sd3", "sd35_large"),
        ("somebody/stable-diffusion-3.5-large-turbo", "sd3", "sd35_large"),
        ("stabilityai/stable-diffusion-2-1-unclip", None, None),
        ("lllyasviel/sd-controlnet-depth", "sd15", "controlnet_sd1"),
        ("diffusers/controlnet-depth-sdxl-1.0", "sdxl", "controlnet_sdxl"),
        ("diffusers/controlnet-depth-sdxl-1.0-small", "sdxl", None),
    ],
)
def test_ids_come_before_patterns(model, template, configs):
    entry = MODEL_REGISTRY.resolve(model)
    assert (entry.template, entry.configs) == (template, configs)


def test_an_unknown_model_is_an_error_with_the_nearest():
    with pytest.raises(ModelError, match=r"no model 'black-forest-labs/FLUX\.1-def'.*FLUX\.1-dev'"):
        MODEL_REGISTRY.resolve("black-forest-labs/FLUX.1-def")


# -- resolving -------------------------------------------------------------------------------------


def index(folder, **values):
    folder.mkdir(exist_ok=True)
    (folder / "model_index.json").write_text(json.dumps(values))
    return folder


def test_an_index_comes_before_the_registry(tiny_folder):
    found = resolve(str(tiny_folder("sd15")))
    assert (found.template, found.task) == ("sd15", "txt2img")
    assert found.why == "model_index.json names StableDiffusionPipeline"
    assert found.family == "Stable Diffusion 1 and 2"


def test_without_an_index_the_registry_says_what_a_model_is():
    found = resolve("black-forest-labs/FLUX.1-Fill-dev")
    assert (found.template, found.task, found.pipeline) == ("flux", "fill", "FluxFillPipeline")
    assert found.why.startswith("the registry has its id")
    copy = resolve("somebody/FLUX.1-schnell")
    assert copy.why.startswith("the registry has a pattern for it, */FLUX.1-schnell")


def test_a_folder_of_one_component_is_told_by_its_configuration(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "ControlNetModel"}))
    found = resolve(str(tmp_path))
    assert (found.template, found.component) == (None, "ControlNetModel")


def test_nothing_is_guessed_of_an_id_that_nobody_knows():
    with pytest.raises(ModelError, match=r"neither the registry nor the hub's cache .* --online"):
        resolve("nobody/nothing")


def test_a_model_of_an_unknown_family_is_an_error_that_says_what_was_seen(tmp_path):
    folder = index(
        tmp_path, _class_name="SanaPipeline", transformer=["diffusers", "SanaTransformer2DModel"]
    )
    wanted = r"is a SanaPipeline.*Its components are transformer \(SanaTransformer2DModel\)"
    with pytest.raises(ModelError, match=wanted):
        template_of(FolderLibrary.open(folder))
    with pytest.raises(ModelError, match="Its components are unet"):
        template_of(ObjectLibrary({"unet": object()}, "SomePipeline"))


def test_a_copy_with_a_class_of_its_own_is_told_by_the_registry(tmp_path):
    """In the cache of the hub a folder says which model it is."""
    root = tmp_path / "models--stable-diffusion-v1-5--stable-diffusion-v1-5" / "snapshots" / "0"
    root.mkdir(parents=True)
    assert template_of(FolderLibrary.open(index(root, _class_name="MyPipeline"))) == "sd15"


def test_the_hub_is_asked_only_when_it_may_be(hub, tiny_folder):
    hub.add("somebody/stable-diffusion-v1-5", tiny_folder("sd15_inpaint"))
    assert resolve("somebody/stable-diffusion-v1-5").task == "txt2img"
    assert hub.requests == []
    found = resolve("somebody/stable-diffusion-v1-5", online=True)
    assert found.task == "inpaint"
    assert found.why == "model_index.json names StableDiffusionInpaintPipeline"


def test_a_part_on_the_hub_is_no_pipeline_and_is_named(hub, tmp_path):
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "config.json").write_text("{}")
    hub.add("lllyasviel/sd-controlnet-canny", tmp_path / "part")
    with pytest.raises(ModelError, match=r"ControlNet of Stable Diffusion 1\.5 \(controlnet\)"):
        locate("lllyasviel/sd-controlnet-canny")
