from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from yggdrasil.cli import main


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code and what it printed."""

    code: int
    out: str
    err: str


@pytest.fixture
def yggdrasil(monkeypatch, capsys, tmp_path) -> Callable[..., Ended]:
    """Gives the command line as a function; commands run in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "dumb")

    def run(*arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["yggdrasil", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        captured = capsys.readouterr()
        return Ended(code, captured.out, captured.err)

    return run


@pytest.fixture
def zoo(tiny_folder, tmp_path, monkeypatch):
    """Puts a tiny model called shapes into the box."""
    shutil.copytree(tiny_folder("sd15"), tmp_path / "zoo" / "shapes")
    monkeypatch.setattr("yggdrasil.hub.zoo_models._ZOO", tmp_path / "zoo")
