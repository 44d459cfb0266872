"""The newcomer's first ten commands, run as the page has them."""

from __future__ import annotations

import contextlib
import io
import shutil
import sys
from pathlib import Path

import pytest

from tests.docs.transcript import difference, read_transcript
from yggdrasil.cli import main
from yggdrasil.hub.zoo_models import zoo_models

PAGE = Path(__file__).parents[2] / "docs" / "first_ten_commands.md"


@pytest.fixture
def shapes(tiny_folder, tmp_path, monkeypatch):
    """Puts a tiny model into the box where the one that ships is not there."""
    if "zoo/shapes" not in zoo_models():
        shutil.copytree(tiny_folder("sd15"), tmp_path / "zoo" / "shapes")
        monkeypatch.setattr("yggdrasil.hub.zoo_models._ZOO", tmp_path / "zoo")


def test_the_first_ten_commands_print_what_the_page_says(shapes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "dumb")
    commands = read_transcript(PAGE.read_text(encoding="utf-8"))
    assert len(commands) == 10
    for command in commands:
        monkeypatch.setattr(sys, "argv", command.words)
        printed, code = io.StringIO(), 0
        # Both streams in one, as a terminal shows them.
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            try:
                main()
            except SystemExit as end:
                code = end.code or 0
        where = f"{PAGE.name}:{command.line}: {' '.join(command.words)}"
        assert code == 0, f"{where}: exit code {code}\n{printed.getvalue()}"
        wrong = difference(command.expected, printed.getvalue())
        assert wrong is None, f"{where}: {wrong}\n{printed.getvalue()}"
    assert {path.suffix for path in tmp_path.iterdir()} >= {".svg"}
