"""The machinery of ``make bench``, with sizes so small that the figures mean nothing."""

from __future__ import annotations

import json
import time

import pytest
import torch

from benchmarks import __main__ as bench
from benchmarks.bounds import BOUNDS
from benchmarks.clock import clocked
from benchmarks.engine import chain, measure_engine, tree
from benchmarks.pipelines import FEW, MANY, _figures, _Taken
from benchmarks.report import page
from tests.tiny_models import tiny_pipeline
from yggdrasil.core.runtime import Runtime


@pytest.fixture(scope="module")
def figures(tmp_path_factory):
    """Gives the figures that a very small run of everything writes, with the folder."""
    folder = tmp_path_factory.mktemp("bench")
    bench.main(
        ["--folder", str(folder), "--pairs", "2", "--processes", "1", "--sizes", "10", "100",
         "--schedulers", "DDIMScheduler", "--widths", "32"]
    )  # fmt: skip
    return folder, json.loads((folder / "benchmarks.json").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_a_run_writes_figures_page_and_plots(figures):
    folder, found = figures
    assert set(found) >= {"pipelines", "engine", "memory", "imports", "versions"}
    assert sorted(path.name for path in folder.iterdir()) == [
        "benchmarks-engine.svg",
        "benchmarks-pipelines.svg",
        "benchmarks.json",
        "benchmarks.md",
    ]
    assert found["pipelines"]["DDIMScheduler"]["yggdrasil"]["step_seconds"]["count"] == 2
    assert found["imports"]["ratio"]["median"] > 1


@pytest.mark.slow
def test_the_page_is_made_of_the_figures_alone(figures):
    folder, found = figures
    assert (folder / "benchmarks.md").read_text(encoding="utf-8") == page(found)
    for bound in BOUNDS:
        assert bound.of(found)
        assert bound.name in page(found)


@pytest.mark.slow
def test_one_part_can_be_measured_anew(figures):
    folder, found = figures
    bench.main(["--folder", str(folder), "--only", "engine", "--sizes", "100"])
    again = json.loads((folder / "benchmarks.json").read_text(encoding="utf-8"))
    assert again["pipelines"] == found["pipelines"]
    assert len(again["engine"]) == 2


@pytest.mark.parametrize(("shape", "result"), [(chain, 12.0), (tree, 12.0)])
def test_chains_and_trees_calculate(shape, result):
    graph, output = shape(11)  # a tree of 11 has 6 leaves, each of which gives 2
    assert len(graph.nodes) == 11
    assert Runtime(graph).run({"x": torch.ones(1)}, [output])[output].item() == result


def test_the_engine_is_measured_per_vertex():
    rows = measure_engine((10,))
    assert [(row["shape"], row["vertices"]) for row in rows] == [("chain", 10), ("tree", 9)]
    for row in rows:
        assert 0 < row["microseconds"]["cached"] < row["microseconds"]["first"]


def test_the_clock_counts_the_models_and_lets_them_be_afterwards():
    pipe = tiny_pipeline()
    with clocked(pipe) as clock:
        start = time.process_time()
        pipe("a cat", num_inference_steps=2)
        whole = time.process_time() - start
        assert 0.3 * whole < clock.seconds < whole
    assert not {"forward", "decode", "encode"} & (vars(pipe.unet).keys() | vars(pipe.vae).keys())


def test_steps_and_calls_are_told_apart():
    """Made-up times: 3 ms a step and 5 ms a call, beside models of 10 ms a step."""
    taken = {
        (side, steps): [_Taken(1.0, (3 + 10) * 1e-3 * steps + 5e-3, 10e-3 * steps)] * 2
        for side in ("diffusers", "yggdrasil", "uncached")
        for steps in (FEW, MANY)
    }
    found = _figures(taken)["yggdrasil"]
    assert found["step_seconds"]["median"] == pytest.approx(3e-3)
    assert found["call_seconds"]["median"] == pytest.approx(5e-3)
    assert found["step_ratio"]["median"] == pytest.approx(1.0)


def test_a_bound_tells_which_figures_break_it():
    by_name = {bound.name: bound for bound in BOUNDS}
    lower = next(bound for name, bound in by_name.items() if name.startswith("import"))
    assert [each.kept for each in lower.of({"imports": {"ratio": {"low": 14.9}}})] == [False]
    assert [each.kept for each in lower.of({"imports": {"ratio": {"low": 15.0}}})] == [True]
    upper = next(bound for name, bound in by_name.items() if name.startswith("memory"))
    rows = [{"millions": 3, "ratio": {"high": high}} for high in (1.02, 1.03)]
    assert [each.kept for each in upper.of({"memory": rows})] == [True, False]
