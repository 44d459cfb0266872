"""Pictures name the model that made them, wherever that came from."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from tests.pipelines.conftest import quiet
from tests.pipelines.test_safety_checker import checked
from tests.single_files import save_checkpoint
from tests.tiny_models import tiny_pipeline
from yggdrasil import InferencePipeline, Runner
from yggdrasil.core.errors import ModelError
from yggdrasil.pipelines.rerun import rerun

CALL = {"seed": 1, "num_inference_steps": 2}


def record_of(path):
    with Image.open(path) as image:
        return json.loads(image.info["yggdrasil"])["record"]


def made(pipe, tmp_path):
    """Makes a picture and gives its file."""
    (path,) = quiet(pipe)("a cat", **CALL).save(tmp_path / "made.png")
    return path


def test_a_model_of_the_hub_is_named_by_its_commit_and_read_from_the_cache(
    hub, tiny_folder, tmp_path
):
    hub.add("org/name", tiny_folder("sd15"))
    path = made(InferencePipeline.from_pretrained("org/name"), tmp_path)
    (commit,) = hub.models["org/name"].commits
    assert record_of(path)["model"] == {"name": "org/name", "revision": commit}
    assert record_of(path).get("components", {}).keys() <= {"solver.scheduler"}
    hub.requests.clear()
    assert rerun(path).same
    assert hub.requests == []


def test_what_the_cache_has_lost_is_fetched_only_when_that_is_allowed(
    hub, tiny_folder, tmp_path, monkeypatch
):
    hub.add("org/name", tiny_folder("sd15"))
    path = made(InferencePipeline.from_pretrained("org/name"), tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "empty"))
    hub.requests.clear()
    with pytest.raises(ModelError, match=r"'org/name' at revision \w+ is not on this machine"):
        rerun(path)
    assert hub.requests == []
    assert rerun(path, allow_download=True).same
    assert "unet/diffusion_pytorch_model.safetensors" in hub.fetched("org/name")


def test_a_node_may_name_a_model_of_the_hub(hub, tiny_folder, tmp_path):
    hub.add("org/name", tiny_folder("sd15"))
    pipe = InferencePipeline.from_pretrained(tiny_folder("sd15"))
    path = quiet(pipe).save_workflow(tmp_path / "cat.yaml", "a cat", **CALL)
    text = path.read_text().replace(
        "type: codec/autoencoder_kl", "type: codec/autoencoder_kl, pretrained: org/name"
    )
    assert text != path.read_text()
    path.write_text(text)
    with pytest.raises(ModelError, match="'org/name' is not on this machine, and nothing is fetch"):
        Runner.open(path)
    assert hub.requests == []
    result = Runner.execute(path, allow_download=True)
    hub.requests.clear()
    again = Runner.execute(path)
    assert hub.requests == []
    assert again.images[0].tobytes() == result.images[0].tobytes()


def test_a_checkpoint_of_one_file_is_named_with_what_it_was_opened_with(tiny_folder, tmp_path):
    file = save_checkpoint(tmp_path / "model.safetensors", tiny_pipeline("sd15").components)
    opened = InferencePipeline.from_single_file(
        file, config=tiny_folder("sd15"), prediction_type="v_prediction"
    )
    path = made(opened, tmp_path)
    assert record_of(path)["model"] == {
        "name": str(file),
        "config": str(tiny_folder("sd15")),
        "prediction_type": "v_prediction",
    }
    assert rerun(path).same


def test_a_checkpoint_of_the_hub_is_named_by_its_address(hub, tiny_folder, tmp_path):
    folder = tmp_path / "whole"
    folder.mkdir()
    save_checkpoint(folder / "model.safetensors", tiny_pipeline("sd15").components)
    hub.add("org/single", folder)
    opened = InferencePipeline.from_single_file(
        f"{hub.url}/org/single/blob/main/model.safetensors", config=tiny_folder("sd15")
    )
    path = made(opened, tmp_path)
    (commit,) = hub.models["org/single"].commits
    name = record_of(path)["model"]["name"]
    assert name == f"{hub.url}/org/single/blob/{commit}/model.safetensors"
    hub.requests.clear()
    assert rerun(path).same
    assert hub.requests == []


def test_what_was_left_out_of_a_model_stays_out(tmp_path):
    checked(-2.0).save_pretrained(tmp_path / "model")
    pipe = InferencePipeline.from_pretrained(tmp_path / "model", safety_checker=None)
    path = made(pipe, tmp_path)
    assert record_of(path)["without"] == ["safety_checker"]
    again = rerun(path)
    assert again.same
    assert again.result.nsfw_content_detected is None


def test_a_component_of_ones_own_is_asked_for(tiny_folder, tmp_path):
    vae = tiny_pipeline("sd15", seed=7).vae
    pipe = InferencePipeline.from_pretrained(tiny_folder("sd15"), vae=vae)
    path = made(pipe, tmp_path)
    with pytest.raises(ModelError, match="AutoencoderKL that was handed in as an object"):
        rerun(path)
    workflow = quiet(pipe).save_workflow(tmp_path / "cat.yaml", "a cat", **CALL)
    with Image.open(path) as image:
        assert Runner.execute(workflow).images[0].tobytes() == image.tobytes()
