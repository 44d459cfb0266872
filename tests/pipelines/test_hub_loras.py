"""LoRAs from a hub: what is fetched, which file is taken, and what is said where none can be."""

from __future__ import annotations

import shutil

import pytest
import torch
from diffusers.loaders import lora_base
from huggingface_hub import constants
from peft import LoraConfig, get_peft_model

from tests.hub_server import TOKEN
from tests.pipelines.conftest import generator, quiet
from tests.tiny_loras import NAME, SD, tiny_factors, tiny_lora, write
from tests.tiny_models import tiny_pipeline
from yggdrasil import InferencePipeline
from yggdrasil.core.errors import ModelError
from yggdrasil.hub import snapshot
from yggdrasil.pipelines.rerun import rerun
from yggdrasil.pipelines.runner import Runner
from yggdrasil.pipelines.workflows.pictures import read_picture

CALL = {"num_inference_steps": 2, "output_type": "pt"}


@pytest.fixture
def style(tmp_path, theirs):
    """Gives the folder of a published LoRA, with what people put beside it."""
    folder = tiny_lora(tmp_path / "style", theirs, SD)
    for name in ("README.md", "sample.png", "pytorch_lora_weights.bin", "optimizer.safetensors"):
        (folder / name).write_text("not to be fetched")
    return folder


@pytest.fixture(autouse=True)
def _online(monkeypatch):
    """Has Diffusers, which notes it on import, ask the hub."""
    monkeypatch.setattr(lora_base, "HF_HUB_OFFLINE", False)


def images(pipe):
    return pipe("a cat", generator=generator(), **CALL).images


def test_a_lora_of_the_hub_is_that_of_diffusers_and_one_file_is_fetched(hub, ours, style, tmp_path):
    hub.add("org/style", style)
    ours.graph.add_node("style", type="adapter/lora", weights="org/style", scale=0.8)
    mine = images(ours)
    assert hub.fetched("org/style") == {NAME}
    theirs = quiet(tiny_pipeline())
    theirs.load_lora_weights("org/style", adapter_name="style", cache_dir=tmp_path / "theirs")
    theirs.set_adapters("style", 0.8)
    assert (mine - images(theirs)).abs().max() == 0.0
    ours.graph.remove_node("style")
    assert not torch.equal(images(ours), mine)


def test_a_lora_is_had_from_the_cache_without_the_hub(hub, ours, style, monkeypatch):
    hub.add("org/style", style)
    ours.load_lora_weights("org/style")
    first = images(ours)
    ours.unload_lora_weights()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.requests.clear()
    ours.load_lora_weights("org/style")
    assert torch.equal(images(ours), first)
    assert hub.requests == []


# -- which file is taken ---------------------------------------------------------------------------


def published(folder, factors, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write((folder / name).parent, factors, (folder / name).name)
    return folder


@pytest.fixture
def factors(theirs):
    return tiny_factors(theirs, SD)


def test_the_only_file_is_taken_whatever_its_name(
    hub, ours, factors, tmp_path, monkeypatch, caplog
):
    hub.add("org/style", published(tmp_path / "style", factors, "loras/mine.safetensors"))
    ours.load_lora_weights("org/style", adapter_name="style")
    assert hub.fetched("org/style") == {"loras/mine.safetensors"}
    assert not caplog.records
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    ours.load_lora_weights("org/style", adapter_name="again")


def test_of_several_files_one_is_to_be_named(hub, ours, factors, tmp_path):
    folder = published(tmp_path / "style", factors, "one.safetensors", "two.safetensors")
    hub.add("org/style", folder)
    with pytest.raises(
        ModelError, match=r"holds 2 files .*: one.safetensors, two.safetensors. Name"
    ):
        ours.load_lora_weights("org/style")
    assert hub.fetched("org/style") == set()
    assert not ours.get_list_adapters()
    ours.load_lora_weights("org/style", weight_name="two.safetensors")
    assert hub.fetched("org/style") == {"two.safetensors"}


def test_what_training_left_behind_is_passed_over_here_and_there(hub, ours, factors, tmp_path):
    names = ("style.safetensors", "checkpoint-5.safetensors", "optimizer.safetensors")
    folder = published(tmp_path / "style", factors, *names)
    hub.add("org/style", folder)
    for weights in ("org/style", folder):
        ours.load_lora_weights(weights, "style")
        assert ours.graph.block("style")._file().name == "style.safetensors"
        ours.unload_lora_weights()
    (folder / "style.safetensors").unlink()
    (folder / "optimizer.safetensors").unlink()
    hub.add("org/other", folder)
    for weights in ("org/other", folder):
        ours.load_lora_weights(weights)


def test_a_file_of_that_name_in_a_part_of_the_model(hub, ours, factors, tmp_path):
    folder = published(tmp_path / "style", factors, "a/one.safetensors", "b/one.safetensors")
    hub.add("org/style", folder)
    where = {"subfolder": "b", "weight_name": "one.safetensors"}
    ours.graph.add_node("style", type="adapter/lora", weights="org/style", **where)
    images(ours)
    assert hub.fetched("org/style") == {"b/one.safetensors"}


def test_what_peft_saved_comes_with_its_configuration(hub, ours, tmp_path):
    torch.manual_seed(0)
    config = LoraConfig(r=2, lora_alpha=5, target_modules=["to_q"], init_lora_weights=False)
    get_peft_model(tiny_pipeline().unet, config).save_pretrained(tmp_path / "peft")
    hub.add("org/peft", tmp_path / "peft")
    ours.load_lora_weights("org/peft")
    mine = images(ours)
    assert hub.fetched("org/peft") == {"adapter_model.safetensors", "adapter_config.json"}
    ours.unload_lora_weights()
    ours.load_lora_weights(tmp_path / "peft")
    assert torch.equal(images(ours), mine)


def test_a_revision_is_kept_to(hub, ours, theirs, factors, tmp_path):
    model = hub.add("org/style", published(tmp_path / "new", factors, NAME))
    old = write(tmp_path / "old", tiny_factors(theirs, SD, seed=7))
    commit = model.commit(old, "v1")
    ours.load_lora_weights(old)
    expected = images(ours)
    for weights, revision in (("org/style", "v1"), ("org/style", commit), ("org/style@v1", None)):
        ours.unload_lora_weights()
        ours.load_lora_weights(weights, revision=revision)
        assert torch.equal(images(ours), expected)


def test_the_address_of_a_file_is_taken(hub, ours, factors, tmp_path):
    hub.add("org/style", published(tmp_path / "style", factors, "a/one.safetensors", NAME))
    ours.load_lora_weights(f"{hub.url}/org/style/blob/main/a/one.safetensors")
    assert hub.fetched("org/style") == {"a/one.safetensors"}


def test_what_is_on_this_machine_goes_before_the_hub(hub, ours, style, tmp_path, monkeypatch):
    hub.add("org/style", style)
    (tmp_path / "here" / "org").mkdir(parents=True)
    shutil.copytree(style, tmp_path / "here" / "org" / "style")
    monkeypatch.chdir(tmp_path / "here")
    ours.load_lora_weights("org/style", weight_name=NAME)
    assert hub.requests == []
    with pytest.raises(ModelError, match=r"is on this machine: revision='main' means nothing"):
        ours.load_lora_weights("org/style", weight_name=NAME, revision="main")


def test_a_file_in_the_cache_of_the_hub_is_a_file_like_others(hub, ours, style):
    hub.add("org/style", style)
    ours.load_lora_weights("org/style", "style")
    expected = images(ours)
    path = ours.graph.block("style")._file()
    assert path.is_symlink()  # to one without a name, which Diffusers would take for a pickle
    ours.load_lora_weights(path, "again", weight_name=NAME)
    assert torch.equal(images(ours), expected)
    ours.load_lora_weights(path.parent, "once_more")
    assert torch.equal(images(ours), expected)


def test_a_lora_is_swapped_for_one_of_the_hub_between_calls(hub, ours, style, theirs, tmp_path):
    hub.add("org/style", style)
    ours.load_lora_weights(tiny_lora(tmp_path / "other", theirs, SD, seed=9), "style")
    other = images(ours)
    ours.graph.block("style").weights = "org/style"
    assert not torch.equal(images(ours), other)
    assert hub.fetched("org/style") == {NAME}


def test_a_cache_and_an_account_of_ones_own(hub, ours, style, tmp_path):
    hub.add("org/style", style, gated=True)
    with pytest.raises(ModelError, match=r"'org/style' is gated"):
        ours.load_lora_weights("org/style")
    own = tmp_path / "own"
    ours.load_lora_weights("org/style", token=TOKEN, cache_dir=own)
    assert list(own.rglob(NAME))
    ours.load_lora_weights("org/style", cache_dir=own, local_files_only=True)
    with pytest.raises(ModelError, match=r"local_files_only=True reads the cache alone"):
        ours.load_lora_weights("org/style", local_files_only=True)


# -- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["style.bin", "style.pt"])
def test_what_is_pickled_is_not_fetched(hub, ours, tmp_path, name):
    (tmp_path / "style").mkdir()
    (tmp_path / "style" / name).write_bytes(b"\x80\x04.")
    hub.add("org/style", tmp_path / "style")
    with pytest.raises(ModelError, match=r"pickled, and loading it could run any code"):
        ours.load_lora_weights("org/style")
    with pytest.raises(ModelError, match=r"pickled, and loading it could run any code"):
        ours.load_lora_weights("org/style", weight_name=name)
    assert hub.fetched("org/style") == set()


def test_a_file_that_is_not_there_gives_the_nearest(hub, ours, factors, tmp_path):
    hub.add("org/style", published(tmp_path / "style", factors, "pixel.safetensors"))
    with pytest.raises(ModelError, match=r"has no file 'pixle.safetensors'.*'pixel.safetensors'"):
        ours.load_lora_weights("org/style", weight_name="pixle.safetensors")
    with pytest.raises(ModelError, match=r"has no file 'pixel.safetensors' in 'part'"):
        ours.load_lora_weights("org/style", weight_name="pixel.safetensors", subfolder="part")


def test_a_model_that_is_not_there_is_told(hub, ours):
    with pytest.raises(ModelError, match=r"'org/none' is no folder here, and .* has no such model"):
        ours.load_lora_weights("org/none")
    with pytest.raises(ModelError, match=r"There is no LoRA 'style': neither a file nor a folder"):
        ours.load_lora_weights("style")
    assert set(ours.graph.nodes).isdisjoint({"default_0"})


@pytest.mark.parametrize("name", ["../../style.safetensors", "/tmp/style.safetensors"])  # noqa: S108
def test_a_name_that_leads_out_of_the_model_is_refused(hub, ours, style, name):
    hub.add("org/style", style)
    for where in ("org/style", style):
        with pytest.raises(ModelError, match=r"leads out of the model"):
            ours.load_lora_weights(where, weight_name=name)
    with pytest.raises(ModelError, match=r"leads out of the model"):
        ours.graph.add_node("style", type="adapter/lora", weights="org/style", subfolder=name)
    assert hub.requests == []


def test_without_the_hub_a_file_is_taken_only_where_nothing_else_can_be_meant(
    hub, ours, factors, tmp_path, monkeypatch
):
    hub.add(
        "org/style", published(tmp_path / "style", factors, "one.safetensors", "two.safetensors")
    )
    ours.load_lora_weights("org/style", weight_name="one.safetensors")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(snapshot, "_listing", lambda *_: None)  # an older library fetched it
    with pytest.raises(ModelError, match=r"only this much .* weight_name='one.safetensors'"):
        ours.load_lora_weights("org/style")
    ours.load_lora_weights("org/style", weight_name="one.safetensors")


# -- what is recorded ------------------------------------------------------------------------------


@pytest.fixture
def pipe(hub, tiny_folder, style):
    """Gives a pipeline of a model in a folder, with a LoRA of the hub."""
    hub.add("org/style", style)
    made = quiet(InferencePipeline.from_pretrained(tiny_folder("sd15")))
    made.graph.add_node("style", type="adapter/lora", weights="org/style", scale=0.8)
    return made


def test_a_picture_names_model_commit_and_file(hub, pipe, theirs, tmp_path):
    pipe("a cat", seed=0, num_inference_steps=2).save(tmp_path / "cat.png")
    node = read_picture(tmp_path / "cat.png").workflow.graph["nodes"]["style"]
    commit = hub.models["org/style"].revisions["main"]
    assert node == {
        "type": "adapter/lora", "weights": "org/style", "scale": 0.8, "weight_name": NAME,
        "revision": commit,
    }  # fmt: skip
    assert "revision" not in pipe.graph.to_yaml()  # the graph says what its owner said
    hub.models["org/style"].commit(tiny_lora(tmp_path / "new", theirs, SD, seed=9))
    hub.requests.clear()
    again = rerun(tmp_path / "cat.png")
    assert again.same, again.differences
    assert hub.requests == []


def test_a_picture_of_anyones_fetches_no_lora_unasked(hub, pipe, tmp_path, monkeypatch):
    pipe("a cat", seed=0, num_inference_steps=2).save(tmp_path / "cat.png")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "empty"))
    hub.requests.clear()
    with pytest.raises(
        ModelError, match=r"'org/style' at .* nothing is fetched unasked.*--allow-d"
    ):
        rerun(tmp_path / "cat.png")
    assert hub.requests == []
    again = rerun(tmp_path / "cat.png", allow_download=True)
    assert again.same, again.differences
    assert {each.path for each in hub.requests if each.method == "GET"} >= {
        f"/org/style/resolve/{hub.models['org/style'].revisions['main']}/{NAME}"
    }


def test_a_picture_of_stages_names_the_commits_of_each(pipe, tiny_folder, tmp_path):
    plain = quiet(InferencePipeline.from_pretrained(tiny_folder("sd15")))
    links = {"second.init_image": "first.images"}
    both = quiet(InferencePipeline.from_combined({"first": pipe, "second": plain}, links=links))
    both("a cat", seed=0, num_inference_steps=2).save(tmp_path / "cat.png")
    graph = read_picture(tmp_path / "cat.png").workflow.graph
    node = graph["nodes"]["first"]["graph"]["nodes"]["style"]
    assert (node["weights"], node["weight_name"], len(node["revision"])) == ("org/style", NAME, 40)
    assert rerun(tmp_path / "cat.png").same


@pytest.mark.parametrize(
    "name", ["//elsewhere/share/style.safetensors", "~no_user_of_this_machine/style"]
)
def test_a_workflow_of_anyones_reaches_no_other_machine(pipe, tmp_path, name):
    path = pipe.save_workflow(tmp_path / "work.yaml", "a cat")
    path.write_text(path.read_text().replace("weights: org/style", f"weights: '{name}'"))
    with pytest.raises(ModelError, match=r"lies on another machine|is no name of a LoRA"):
        Runner.open(path)


def test_a_workflow_names_the_commit(hub, pipe, theirs, tmp_path):
    call = {"seed": 0, "num_inference_steps": 2, "output_type": "pt"}
    expected = pipe("a cat", **call).images
    path = pipe.save_workflow(tmp_path / "work.yaml", "a cat", **call)
    hub.models["org/style"].commit(tiny_lora(tmp_path / "new", theirs, SD, seed=9))
    runner = Runner.open(path)
    quiet(runner.pipeline)
    assert torch.equal(runner.run().images, expected)


def test_a_folder_holds_the_lora_itself(hub, pipe, tmp_path, monkeypatch):
    expected = images(pipe)
    folder = pipe.save_pretrained(tmp_path / "saved")
    text = (folder / "graph.yaml").read_text()
    assert f"weights: adapters/style/{NAME}" in text
    assert "org/style" not in text
    hub.requests.clear()
    assert torch.equal(images(quiet(InferencePipeline.from_pretrained(folder))), expected)
    assert hub.requests == []
    # Published, it is fetched with the model.
    hub.add("org/saved", folder)
    again = quiet(InferencePipeline.from_pretrained("org/saved"))
    assert f"adapters/style/{NAME}" in hub.fetched("org/saved")
    assert torch.equal(images(again), expected)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert torch.equal(images(quiet(InferencePipeline.from_pretrained("org/saved"))), expected)


def test_the_graph_of_a_saved_model_fetches_no_lora_of_others(hub, pipe, style, tmp_path):
    folder = pipe.save_pretrained(tmp_path / "saved")
    file = folder / "graph.yaml"
    file.write_text(file.read_text().replace(f"adapters/style/{NAME}", "org/other"))
    hub.add("org/other", style)
    hub.requests.clear()
    with pytest.raises(ModelError, match=r"There is no LoRA .*org/other'"):
        InferencePipeline.from_pretrained(folder)
    assert hub.requests == []
