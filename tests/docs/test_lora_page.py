"""The page on LoRAs: every block on it is run, in order, in one folder."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from tests.pipelines.test_training import Pictures, settings
from tests.tiny_loras import SD, tiny_lora
from tests.tiny_models import tiny_pipeline

PAGE = Path(__file__).parents[2] / "docs" / "lora.md"
BLOCKS = re.findall(
    r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
)


def test_every_block_of_the_page_runs(hub, tiny_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_folder("sd15"), tmp_path / "path" / "to" / "model")
    folder = tiny_lora(tmp_path / "folder", tiny_pipeline(), SD)
    shutil.copy(next(folder.glob("*.safetensors")), "style.safetensors")
    (tmp_path / "hub").mkdir()
    shutil.copy("style.safetensors", tmp_path / "hub")
    hub.add("organisation/style", tmp_path / "hub")
    names = {"samples": Pictures(), "settings": settings(steps=1)}
    for text in BLOCKS:
        exec(compile(text, str(PAGE), "exec"), names)  # noqa: S102 - the page is ours
    assert list(Path("trained").glob("*.safetensors"))
