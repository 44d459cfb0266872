from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from yggdrasil.pipelines.progress import ProgressBar


def step(index, count, ago):
    return SimpleNamespace(index=index, count=count, since=time.perf_counter() - ago)


def test_the_time_of_the_first_step_counts(capsys):
    """Else the time that is left would begin at a fraction of what it is."""
    with ProgressBar() as bar:
        bar.on_step(step(1, 10, ago=8.0))
        told = bar._bar.format_dict
    assert 8.0 <= told["elapsed"] < 10.0
    assert told["n"] == 1
    shown = capsys.readouterr().err
    assert " 1/10 " in shown
    assert "<01:1" in shown


@pytest.mark.parametrize("options", [{"disable": True}, {"desc": "steps", "leave": False}])
def test_options_are_those_of_tqdm(capsys, options):
    with ProgressBar(**options) as bar:
        bar.on_step(step(1, 2, ago=0.0))
        bar.on_step(step(2, 2, ago=0.0))
    assert ("steps" in capsys.readouterr().err) == (not options.get("disable"))


def test_each_loop_has_its_bar():
    with ProgressBar(disable=True) as bar:
        bar.on_step(step(1, 2, ago=0.0))
        first = bar._bar
        bar.on_step(step(1, 3, ago=0.0))
        assert bar._bar is not first
        assert bar._bar.total == 3
