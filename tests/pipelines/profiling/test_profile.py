from __future__ import annotations

import json
import sys
import time
from collections import Counter
from xml.etree import ElementTree as ET

import pytest
import torch

from tests.pipelines.conftest import quiet
from yggdrasil import InferencePipeline
from yggdrasil.pipelines.profiling import memory
from yggdrasil.pipelines.profiling.flame import to_flame
from yggdrasil.pipelines.profiling.memory import make_meter
from yggdrasil.pipelines.profiling.record import ProfileReport, VertexTime
from yggdrasil.pipelines.profiling.table import to_html, to_text

CALL = {"prompt": "a cat", "num_inference_steps": 3, "seed": 0, "output_type": "pt"}
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def euler(theirs):
    pipe = quiet(InferencePipeline.from_diffusers(theirs))
    pipe.graph.replace_node("solver", "solver/euler")
    return pipe


# -- what is measured ------------------------------------------------------------------------------


def test_every_vertex_that_runs_is_measured(euler):
    with euler.profile() as profile:
        euler(**CALL)
    report = profile.report()
    ran = {str(call.vertex) for call in euler.plan(**CALL).calls()} | {"solver.done"}
    facts = {str(call.vertex) for call in euler.plan(**CALL).calls() if call.spec.fact}
    assert {each.vertex for each in report.vertices} == ran
    calls = {each.vertex: each.calls for each in report.vertices}
    assert calls["unet.predict"] == calls["solver.step"] == 3
    assert calls["solver.done"] == 4
    assert calls["vae.decode"] == 1
    loops = {each.vertex for each in report.vertices if each.loop == "solver.loop"}
    assert {"unet.predict", "solver.tick", "solver.done"} < loops
    assert not loops & ({"vae.decode", "text.encode", "solver.start"} | facts)


def test_times_add_up(euler):
    def slowly(*args, **kwargs):
        time.sleep(0.05)

    hook = euler.components["unet"].register_forward_pre_hook(slowly)
    start = time.perf_counter()
    try:
        with euler.profile() as profile:
            euler(**CALL)
    finally:
        hook.remove()
    taken = time.perf_counter() - start
    report = profile.report()
    seconds = {each.vertex: each.seconds for each in report.vertices}
    assert seconds["unet.predict"] >= 3 * 0.05
    assert 0 < sum(seconds.values()) <= report.seconds < taken
    assert report.outside == pytest.approx(report.seconds - sum(seconds.values()))


def test_what_the_cache_holds_is_kept_and_not_measured(euler):
    euler(**CALL)
    with euler.profile() as profile:
        euler(**{**CALL, "seed": 1})
    found = {each.vertex: each for each in profile.report().vertices}
    assert (found["guidance.branches"].calls, found["guidance.branches"].kept) == (0, 1)
    assert (found["unet.predict"].calls, found["unet.predict"].kept) == (3, 0)
    assert "text.encode" not in found


def test_several_calls_are_summed(euler):
    with euler.profile() as profile:
        for seed in (0, 1):
            euler(**{**CALL, "seed": seed})
    report = profile.report()
    assert report.runs == 2
    assert Counter({e.vertex: e.calls for e in report.vertices})["unet.predict"] == 6


def test_results_are_told_in_bytes(euler):
    with euler.profile() as profile:
        euler(**CALL)
    held = {each.vertex: each.held for each in profile.report().vertices}
    assert held["noise.sample"] == 4 * 8 * 8 * 4
    assert held["vae.decode"] == 3 * 64 * 64 * 4


def test_a_profile_changes_no_bit_and_ends_with_its_block(euler):
    with euler.profile():
        inside = euler(**CALL).images
    assert euler._profile is None
    euler._runtime.cache.clear()
    assert torch.equal(inside, euler(**CALL).images)


def test_a_profile_ends_with_its_block_when_a_call_fails(euler):
    with pytest.raises(ZeroDivisionError), euler.profile() as profile:
        euler(**CALL, callback_on_step_end=lambda *_: 1 / 0)
    assert euler._profile is None
    assert profile.report().runs == 1


# -- memory ----------------------------------------------------------------------------------------


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux tells the peak")
def test_the_growth_of_the_process_is_seen_though_it_is_given_back():
    meter = make_meter()
    if meter.end() is None:
        pytest.skip("this system lets nobody reset the peak")
    meter.begin()
    torch.ones(20 * 2**20)  # 80 MiB, more than allocators keep
    assert 60 * 2**20 < meter.end() < 200 * 2**20
    meter.begin()
    assert meter.end() < 20 * 2**20


def test_the_allocators_of_cuda_are_asked_where_they_are_in_use(monkeypatch):
    told = {"allocated": [100, 10], "peak": [300, 15], "reset": []}
    monkeypatch.setattr(memory, "cuda_in_use", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda d: told["allocated"][d])
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda d: told["peak"][d])
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", told["reset"].append)
    meter = make_meter()
    meter.begin()
    assert told["reset"] == [0, 1]
    assert meter.end() == 205


def test_a_machine_that_does_not_tell_gives_no_number(monkeypatch, tmp_path, euler):
    monkeypatch.setattr(memory, "_RESET", tmp_path / "no" / "such")
    with euler.profile() as profile:
        euler(**CALL)
    assert {each.peak for each in profile.report().vertices} == {None}


def test_memory_can_be_left_out(euler):
    with euler.profile(memory=False) as profile:
        euler(**CALL)
    assert {each.peak for each in profile.report().vertices} == {None}


# -- how it is shown -------------------------------------------------------------------------------


def vertex(name, seconds, **more):
    settings = {"type_name": "role/kind", "role": "codec", "loop": None, "calls": 2, "kept": 0}
    return VertexTime(
        vertex=name, seconds=seconds, **{**settings, "held": 2048, "peak": 3 * 2**20, **more}
    )


REPORT = ProfileReport(
    graph="<b>&",
    runs=1,
    seconds=2.0,
    vertices=(
        vertex("text.encode", 0.2),
        vertex("unet.predict", 1.0, loop="solver.loop", calls=20),
        vertex("solver.step", 0.3, loop="solver.loop", calls=20),
        vertex("vae.decode", 0.4, peak=None),
        vertex("image.post", 0.0, calls=0, kept=1),
    ),
)


def test_the_table():
    assert [line.split() for line in to_text(REPORT).splitlines()] == [
        ["<b>&:", "1", "run,", "2.00", "s"],
        ["vertex", "block", "calls", "total", "each", "share", "results", "peak"],
        ["text.encode", "role/kind", "2", "200", "ms", "100", "ms", "10.0", "%", "2.0", "KiB",
         "3.0", "MiB"],
        ["solver.loop", "1.30", "s", "65.0", "%"],
        ["unet.predict", "role/kind", "20", "1.00", "s", "50", "ms", "50.0", "%", "2.0", "KiB",
         "3.0", "MiB"],
        ["solver.step", "role/kind", "20", "300", "ms", "15", "ms", "15.0", "%", "2.0", "KiB",
         "3.0", "MiB"],
        ["vae.decode", "role/kind", "2", "400", "ms", "200", "ms", "20.0", "%", "2.0", "KiB"],
        ["image.post", "role/kind", "kept"],
        ["outside", "ops", "100", "ms", "5.0", "%"],
    ]  # fmt: skip


def test_the_flame_picture():
    root = ET.fromstring(to_flame(REPORT))  # noqa: S314 - written here
    bars = {
        group.findtext(f"{SVG}title").split(":")[0]: group.find(f"{SVG}rect")
        for group in root.iter(f"{SVG}g")
    }
    assert list(bars) == [
        "<b>&", "text.encode", "solver.loop", "unet.predict", "solver.step", "vae.decode",
    ]  # fmt: skip
    width = {name: float(bar.get("width")) for name, bar in bars.items()}
    assert width["unet.predict"] == pytest.approx(width["<b>&"] / 2, rel=0.01)
    assert width["solver.loop"] == pytest.approx(width["<b>&"] * 0.65, rel=0.01)
    place = {name: (float(bar.get("x")), float(bar.get("y"))) for name, bar in bars.items()}
    assert place["unet.predict"][0] == place["solver.loop"][0] > place["text.encode"][0]
    labels = [text.text for text in root.iter(f"{SVG}text")]
    assert "solver.loop: 1.30 s, 65.0 %" in labels
    assert "text.encode" in labels
    assert place["<b>&"][1] < place["solver.loop"][1] < place["unet.predict"][1]


def test_a_notebook_shows_both_and_takes_nothing_for_markup():
    shown = to_html(REPORT)
    assert "<b>&" not in shown
    assert "&lt;b&gt;&amp;" in shown
    assert "data:image/svg+xml;base64," in shown
    assert "<td>vae.decode</td>" in shown
    assert "<td>&emsp;unet.predict</td>" in shown


def test_a_profile_can_be_saved_printed_and_read_by_programs(euler, tmp_path):
    with euler.profile() as profile:
        euler(**CALL)
    profile.save(tmp_path / "flame.svg")
    text = (tmp_path / "flame.svg").read_text(encoding="utf-8")
    assert "unet.predict" in text == profile._repr_svg_()
    assert "unet.predict" in str(profile)
    plain = json.loads(json.dumps(profile.report().as_dict()))
    assert plain["graph"] == "sd15"
    assert {each["vertex"] for each in plain["vertices"]} >= {"unet.predict", "vae.decode"}


def test_an_empty_profile_is_no_error(euler):
    with euler.profile() as profile:
        pass
    assert "0 runs" in str(profile)
    ET.fromstring(profile.to_svg())  # noqa: S314 - written here
