"""The page on pipelines: every block on it is run, in order, in one folder."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from tests.single_files import save_checkpoint
from tests.tiny_models import tiny_pipeline
from yggdrasil import InferencePipeline, TrainingPipeline
from yggdrasil.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "pipelines.md"
BLOCKS = re.findall(
    r"^```(\w+)\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
)


@pytest.fixture
def folder(tiny_folder, tmp_path, monkeypatch):
    """Goes into a folder with a tiny model, which is also the model in the box."""
    shutil.copytree(tiny_folder("sd15"), tmp_path / "path" / "to" / "model")
    shutil.copytree(tiny_folder("sd15"), tmp_path / "zoo" / "shapes")
    monkeypatch.setattr("yggdrasil.hub.zoo_models._ZOO", tmp_path / "zoo")
    save_checkpoint(tmp_path / "path/to/model.safetensors", tiny_pipeline().components)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_command(line, monkeypatch):
    monkeypatch.setattr(sys, "argv", shlex.split(line))
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code, line


def test_every_block_of_the_page_runs(folder, monkeypatch):
    names = {}
    for kind, text in BLOCKS:
        if kind == "python":
            exec(compile(text, str(PAGE), "exec"), names)  # noqa: S102 - the page is ours
        elif kind == "yaml":
            (folder / re.match(r"# (\S+)", text)[1]).write_text(text, encoding="utf-8")
        else:
            for line in text.splitlines():
                run_command(line, monkeypatch)
    made = {path.name for path in folder.glob("*.png")}
    assert made == {"circle.png", "star.png", "circle-again.png"}
    assert (folder / "circle.png").read_bytes() == (folder / "circle-again.png").read_bytes()
    assert names["pipe"].graph.block("objective").type_name == "objective/mse"


@pytest.mark.parametrize("cls", [InferencePipeline, TrainingPipeline])
def test_the_page_shows_every_way_to_make_a_pipeline(cls):
    ways = {name for name in dir(cls) if name.startswith("from_")}
    text = "".join(text for kind, text in BLOCKS if kind == "python")
    assert ways == {name for name in ways if f"{cls.__name__}.{name}(" in text}
    named = {"from_template", "from_graph", "from_pretrained", "from_config"}
    if cls is InferencePipeline:
        named |= {"from_diffusers", "from_single_file", "from_combined", "from_workflow"}
    assert named <= ways
