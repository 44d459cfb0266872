"""What the hub gives, and what is said where it does not."""

from __future__ import annotations

import shutil

import huggingface_hub
import pytest
from huggingface_hub import _tree_cache, constants

from tests.conftest import use_hub
from tests.hub_server import TOKEN
from yggdrasil.core.errors import ModelError
from yggdrasil.hub.access import HubOptions
from yggdrasil.hub.snapshot import open_snapshot

INDEX = "model_index.json"


@pytest.fixture
def files(tmp_path):
    """Makes the files of a model; their content says which commit they are of."""

    def make(commit, *names):
        folder = tmp_path / commit
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(f"{name} of {commit}")
        return folder

    return make


@pytest.fixture
def model(hub, files):
    return hub.add("org/name", files("first", INDEX, "unet/config.json", "unet/[a]*.json"))


def opened(model="org/name", subfolder="", **options):
    also = ["graph.yaml"]
    return open_snapshot(
        model, INDEX, also=also, subfolder=subfolder, options=HubOptions(**options)
    )


def test_only_what_is_asked_for_is_fetched_and_only_once(hub, model):
    snapshot = opened()
    assert hub.fetched("org/name") == {INDEX}
    assert set(snapshot.files) == {INDEX, "unet/config.json", "unet/[a]*.json"}
    assert snapshot.in_folder("unet") == {"config.json", "[a]*.json"}
    snapshot.fetch(["unet/config.json"])
    assert hub.fetched("org/name") == {INDEX, "unet/config.json"}
    hub.requests.clear()
    snapshot.fetch([INDEX, "unet/config.json"])
    assert hub.requests == []


def test_names_are_no_patterns(hub, model):
    opened().fetch(["unet/[a]*.json"])
    assert hub.fetched("org/name") == {INDEX, "unet/[a]*.json"}


def test_files_of_two_commits_never_mix(hub, model, files):
    snapshot = opened()
    model.commit(files("second", INDEX, "unet/config.json"))
    snapshot.fetch(["unet/config.json"])
    assert (snapshot.root / "unet/config.json").read_text() == "unet/config.json of first"
    assert (opened().root / INDEX).read_text() == f"{INDEX} of second"


def test_a_revision_is_a_branch_or_a_commit(hub, model, files):
    commit = model.commit(files("second", INDEX), "next")
    for revision in ("next", commit):
        snapshot = opened(revision=revision)
        assert snapshot.commit == commit
        assert snapshot.describe() == f"org/name@{commit}"
        assert (snapshot.root / INDEX).read_text() == f"{INDEX} of second"


def test_a_part_of_a_model_is_a_model(hub, files):
    hub.add("org/parts", files("parts", "small/" + INDEX, "small/unet/config.json", INDEX))
    snapshot = opened("org/parts", subfolder="small")
    assert set(snapshot.files) == {INDEX, "unet/config.json"}
    snapshot.fetch(["unet/config.json"])
    assert hub.fetched("org/parts") == {"small/model_index.json", "small/unet/config.json"}
    assert (snapshot.root / "unet/config.json").is_file()


def test_a_token_opens_what_is_gated_or_private(hub, files):
    hub.add("org/gated", files("gated", INDEX), gated=True)
    hub.add("org/private", files("private", INDEX), private=True)
    for name in ("org/gated", "org/private"):
        assert (opened(name, token=TOKEN).root / INDEX).is_file()
    assert {each.token for each in hub.requests} == {TOKEN}
    assert TOKEN not in repr(opened("org/gated", token=TOKEN))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("org/gated", {}, r"is gated: its owner .*Accept its terms at http.*/org/gated, then give"),
        ("org/gated", {"token": "hf_x"}, "is gated, and your account has no access.*Ask for it at"),
        ("org/private", {}, "has no such model, or it is private. .*`hf auth login`"),
        ("org/private", {"token": "hf_x"}, "has no such model, or it is private. Check the name"),
        ("org/nothing", {}, r"'org/nothing' is no folder here, and http\S+ has no such model"),
        ("org/na me", {}, "neither a folder here nor an id.*An id is 'organisation/name'"),
        ("org/name", {"revision": "mian"}, "has no revision 'mian'. Did you mean 'main'?"),
        ("org/name", {"revision": "a" * 40}, "has no revision 'a{40}'. Known: 'main'."),
    ],
)
def test_what_the_hub_refuses_is_said(hub, model, files, name, options, message):
    hub.add("org/gated", files("gated", INDEX), gated=True)
    hub.add("org/private", files("private", INDEX), private=True)
    with pytest.raises(ModelError, match=message) as caught:
        opened(name, **options)
    assert "hf_x" not in str(caught.value)


def test_a_hub_that_is_ill_is_said_to_be(hub, model):
    hub.down = True
    with pytest.raises(ModelError, match=r"did not give 'org/name': Server error '503.*Try again"):
        opened()


def test_a_hub_that_cannot_be_reached_says_what_the_cache_lacks(hub, model, monkeypatch):
    use_hub(monkeypatch, "http://127.0.0.1:9")
    with pytest.raises(ModelError) as caught:
        opened()
    text = str(caught.value)
    assert "http://127.0.0.1:9 cannot be reached" in text
    assert f"the cache in {constants.HF_HUB_CACHE} lacks model_index.json of it" in text
    assert "Check the network and HF_ENDPOINT." in text


@pytest.mark.parametrize(
    ("offline", "options", "why"),
    [
        (True, {}, "HF_HUB_OFFLINE is set"),
        (False, {"local_files_only": True}, "local_files_only=True reads the cache alone"),
    ],
)
def test_nothing_is_asked_when_it_is_not_to_be(hub, model, monkeypatch, offline, options, why):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    with pytest.raises(ModelError, match=f"{why}, and the cache in .* lacks model_index.json of"):
        opened(**options)
    with pytest.raises(ModelError, match=r"lacks model_index\.json of it at v1"):
        opened(revision="v1", **options)
    assert hub.requests == []


def test_the_cache_stands_for_the_hub(hub, model, monkeypatch):
    first = opened()
    first.fetch(["unet/config.json"])
    hub.down = True
    assert opened().root == first.root
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.requests.clear()
    again = opened()
    again.fetch(["unet/config.json"])
    assert (again.root, again.files, again.complete) == (first.root, first.files, True)
    assert hub.requests == []


def test_what_an_interrupted_download_left_out_is_named(hub, model, monkeypatch):
    opened()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match=r"HF_HUB_OFFLINE is set.*lacks unet/config\.json of it"):
        opened().fetch(["unet/config.json"])


def test_a_cache_without_a_list_of_files_holds_what_it_holds(hub, model, monkeypatch):
    cached = opened().root.parents[1]
    shutil.rmtree(cached / "trees")
    _tree_cache._IN_MEMORY_TREE_CACHE.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    snapshot = opened()
    assert set(snapshot.files) == {INDEX}
    assert not snapshot.complete
    assert "only this much of 'org/name' is in the cache" in snapshot.advice()


def test_older_versions_of_the_hubs_library_are_asked_for_the_list(hub, model, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "get_cached_repo_tree", None)
    snapshot = opened()
    assert set(snapshot.files) == {INDEX, "unet/config.json", "unet/[a]*.json"}
    assert snapshot.complete
    hub.down = True
    assert set(opened().files) == {INDEX}
    assert not opened(local_files_only=True).complete
