"""The code that a newcomer copies first."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from yggdrasil.hub.zoo_models import zoo_models

README = Path(__file__).parents[2] / "README.md"


@pytest.mark.skipif("zoo/shapes" not in zoo_models(), reason="the zoo is not in this build")
def test_the_ten_lines_of_the_readme_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, str(README), "exec"), {})  # noqa: S102 - our own page
    assert (tmp_path / "circle.png").is_file()
    assert "rule backbone.predict.sample" in capsys.readouterr().out
