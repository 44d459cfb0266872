from __future__ import annotations

import json

import torch

from yggdrasil import __version__


def cached_model(cache, name, size):
    """Puts a model of one file into a hub cache, as the hub's client lays it out."""
    folder = cache / f"models--{name.replace('/', '--')}"
    commit = "0" * 40
    for path in (folder / "blobs", folder / "refs", folder / "snapshots" / commit):
        path.mkdir(parents=True)
    (folder / "blobs" / "abc").write_bytes(b"x" * size)
    (folder / "refs" / "main").write_text(commit, encoding="utf-8")
    (folder / "snapshots" / commit / "model.safetensors").symlink_to("../../blobs/abc")


def test_info_tells_versions_devices_and_models(yggdrasil, zoo, tmp_path, monkeypatch):
    cache = tmp_path / "hub"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    cached_model(cache, "some/small", 2048)
    cached_model(cache, "some/large", 3 * 2**20)
    ended = yggdrasil("info")
    assert ended.code == 0
    told = [" ".join(line.split()) for line in ended.out.splitlines()]
    assert told[0] == f"versions yggdrasil {__version__}"
    assert f"torch {torch.__version__}" in told
    for line in ("some/large 3.0 MiB", "some/small 2.0 KiB", f"hub cache 3.0 MiB in {cache}"):
        assert line in told
    assert any(line.startswith("devices cpu") for line in told if "cuda" not in ended.out)
    assert any(line.startswith("zoo zoo/shapes ") for line in told)


def test_info_for_programs(yggdrasil, zoo, tmp_path, monkeypatch):
    cache = tmp_path / "hub"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    cached_model(cache, "some/model", 2048)
    found = json.loads(yggdrasil("info", "--json").out)
    assert found["versions"]["yggdrasil"] == __version__
    assert found["memory"]["total"] > found["memory"]["available"] > 0
    assert found["devices"][-1]["device"] == "cpu"
    assert found["hub_cache"]["models"] == [
        {"name": "some/model", "path": str(cache / "models--some--model"), "size": 2048}
    ]
    (shapes,) = found["zoo"]
    folder = tmp_path / "zoo" / "shapes"
    assert shapes["name"] == "zoo/shapes"
    assert shapes["size"] == sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


def test_a_cache_that_is_not_there_is_empty(yggdrasil, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "none"))
    monkeypatch.setattr("yggdrasil.hub.zoo_models._ZOO", tmp_path)
    told = [" ".join(line.split()) for line in yggdrasil("info").out.splitlines()]
    assert f"hub cache 0 B in {tmp_path / 'none'}" in told
    assert "zoo none" in told


def test_a_package_that_is_not_installed_is_told(yggdrasil, monkeypatch):
    monkeypatch.setattr("yggdrasil.cli.info._PACKAGES", ("torch", "no-such-package"))
    assert "no-such-package not installed" in yggdrasil("info").out


def test_devices_of_cuda_come_first(yggdrasil, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda number: (2**30, 4 * 2**30))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: "A card")
    assert "cuda:0  A card, 1.0 GiB free of 4.0 GiB" in yggdrasil("info").out
