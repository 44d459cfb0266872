"""Fixtures for every test: tiny models on disk, made once, and a hub on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import huggingface_hub.hf_api
import pytest
from huggingface_hub import constants

from tests.hub_server import HubServer
from tests.tiny_models import tiny_pipeline


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Gives the folder of a tiny model in Diffusers' layout; it is shared, so copy to change it."""
    made: dict[str, Path] = {}

    def folder(kind: str = "sd15") -> Path:
        if kind not in made:
            made[kind] = tmp_path_factory.mktemp("models") / kind
            tiny_pipeline(kind).save_pretrained(made[kind])
        return made[kind]

    return folder


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """Starts a hub that is asked in the place of the real one, with an empty cache."""
    with HubServer.running() as server:
        use_hub(monkeypatch, server.url)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", True)
        yield server


def use_hub(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Has the hub at an address asked: what HF_ENDPOINT says is read once, on import."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", url)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(huggingface_hub.hf_api.api, "endpoint", url)
