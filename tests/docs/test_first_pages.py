"""The pages that people read first: every block of Python on them is run, in order."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from PIL import Image

from tests.pipelines.conftest import quiet
from tests.tiny_models import tiny_pipeline
from yggdrasil import InferencePipeline

ROOT = Path(__file__).parents[2]
PAGES = {
    "README.md": dict,
    "docs/quickstart.md": lambda: {"diffusers_pipe": tiny_pipeline(), "prompt": "a circle"},
    "docs/hub.md": lambda: {"picture": Image.new("RGB", (64, 64))},
}
"""By page: what it takes for granted."""


@pytest.mark.parametrize("page", PAGES)
def test_every_block_of_the_page_runs(page, tiny_folder, tmp_path, monkeypatch):
    shutil.copytree(tiny_folder("sd15"), tmp_path / "zoo" / "shapes")
    shutil.copytree(tiny_folder("sd15"), tmp_path / "path" / "to" / "model")
    monkeypatch.setattr("yggdrasil.hub.zoo_models._ZOO", tmp_path / "zoo")
    monkeypatch.chdir(tmp_path)
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert blocks
    names = PAGES[page]()
    for block in blocks:
        exec(compile(block, page, "exec"), names)  # noqa: S102 - the page is ours
    assert isinstance(quiet(names["pipe"]), InferencePipeline)
