"""Fixtures for every test: tiny models on disk, made once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

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
