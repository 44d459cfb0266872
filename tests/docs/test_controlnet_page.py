"""The page on ControlNets: every block on it is run, in order, in one folder."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import torch

from tests.pipelines.pictures import picture
from tests.tiny_controlnets import tiny_controlnet
from tests.tiny_models import tiny_components
from yggdrasil.training.batches import collate

PAGE = Path(__file__).parents[2] / "docs" / "controlnet.md"
BLOCKS = re.findall(
    r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
)


def test_every_block_of_the_page_runs(tiny_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_folder("sd15"), tmp_path / "path" / "to" / "model")
    tiny_controlnet(tiny_components()["unet"]).save_pretrained("path/to/controlnet")
    picture().save("edges.png")
    names = {}
    for text in BLOCKS:
        exec(compile(text, str(PAGE), "exec"), names)  # noqa: S102 - the page is ours
    assert Path("controlled.png").is_file()
    assert Path("path/to/both/controlnet/config.json").is_file()
    sample = {
        "image": torch.zeros(3, 64, 64), "drawing": torch.ones(3, 64, 64), "text": "a circle",
    }  # fmt: skip
    names["training"].check(names["inputs"], collate([sample]))
