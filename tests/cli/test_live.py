"""What a terminal shows while a picture is made."""

from __future__ import annotations

import io
import time
from types import SimpleNamespace

import pytest
from PIL import Image
from rich.console import Console

from yggdrasil.cli.half_blocks import HalfBlocks, can_show
from yggdrasil.cli.live import LiveDisplay
from yggdrasil.pipelines.live.interrupt import StopOnInterrupt
from yggdrasil.pipelines.live.preview import PreviewFrame


def terminal(width=80, height=24, **options):
    """Gives a console that takes itself for a terminal."""
    settings = {"force_terminal": True, "color_system": "truecolor", "_environ": {}, **options}
    return Console(file=io.TextIOWrapper(io.BytesIO(), "utf-8"), width=width, height=height,
                   **settings)  # fmt: skip


def text_of(renderable, console):
    with console.capture() as captured:
        console.print(renderable)
    return captured.get()


@pytest.fixture
def display(tmp_path):
    made = LiveDisplay("2/4 a red cat", StopOnInterrupt(), tmp_path / "out" / "cat-preview.png")
    made._console = terminal(color_system=None)
    return made


def step(index, count, ago):
    return SimpleNamespace(index=index, count=count, since=time.perf_counter() - ago)


def frame(*colours, size=(4, 4)):
    images = [Image.new("RGB", size, colour) for colour in colours]
    return PreviewFrame(index=1, count=2, images=images)


# -- the line --------------------------------------------------------------------------------------


def test_before_the_loop_the_line_tells_what_runs(display):
    assert text_of(display.render(), display._console).rstrip().endswith("loading")
    display.on_call(SimpleNamespace(vertex="text.encode"))
    line = text_of(display.render(), display._console).rstrip()
    assert line.startswith("2/4 a red cat ")
    assert line.endswith("text.encode")


def test_in_the_loop_it_tells_the_step_and_the_time_that_is_left(display):
    display.on_step(step(5, 20, ago=10.0))
    line = text_of(display.render(), display._console).rstrip()
    assert line.endswith("5/20 00:10 left 00:30")


def test_a_count_that_nobody_knows_is_no_error(display):
    display.on_step(step(5, None, ago=10.0))
    assert text_of(display.render(), display._console).rstrip().endswith("5/? 00:10")


def test_the_time_left_runs_down_between_steps_and_not_below_nothing(display):
    display.on_step(step(5, 20, ago=10.0))
    display._last -= 4.0
    display._since -= 4.0
    assert display._numbers() == "5/20 00:14 left 00:26"
    display._last -= 100.0
    display._since -= 100.0
    assert display._numbers().endswith("left 00:00")


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_the_line_is_one_line_on_every_terminal(display, width):
    display._console = terminal(width=width, color_system=None)
    display._title = "a very long prompt " * 10
    display.on_step(step(5, 20, ago=10.0))
    shown = text_of(display.render(), display._console)
    assert len(shown.splitlines()) == 1
    assert len(shown.rstrip()) <= min(width, 100)
    assert "5/20 00:10 left 00:30" in shown
    assert "…" in shown


def test_ctrl_c_is_answered(display):
    display._stop.requested = True
    assert "Stopping after this step." in text_of(display.render(), display._console)


# -- previews --------------------------------------------------------------------------------------


def test_a_terminal_with_colours_shows_previews_itself(display, tmp_path):
    display._console = terminal()
    display.on_preview(frame("red", "blue"))
    shown = text_of(display.render(), display._console)
    assert "38;2;255;0;0;48;2;255;0;0m▀" in shown
    assert "0;0;255" not in shown
    assert not (tmp_path / "out").exists()


def test_others_get_a_file_that_is_gone_in_the_end(display, tmp_path):
    path = tmp_path / "out" / "cat-preview.png"
    with display.shown():
        for colour in ("red", "blue"):
            display.on_preview(frame(colour, size=(16, 8)))
            with Image.open(path) as picture:
                assert picture.size == (256, 128)
                assert picture.getpixel((0, 0)) == Image.new("RGB", (1, 1), colour).getpixel((0, 0))
    assert list(path.parent.iterdir()) == []
    told = display._console.file
    told.seek(0)
    assert told.read().count("preview: ") == 1


def test_without_a_terminal_nothing_is_shown(display):
    display._console = terminal(force_terminal=False)
    with display.shown():
        display.on_step(step(1, 2, ago=1.0))
    display._console.file.seek(0)
    assert display._console.file.read() == ""


@pytest.mark.parametrize(
    ("options", "can"),
    [
        ({}, True),
        ({"color_system": "256"}, True),
        ({"color_system": "standard"}, False),
        ({"color_system": None}, False),
        ({"no_color": True}, False),
        ({"force_terminal": False}, False),
        ({"_environ": {"TERM": "dumb"}}, False),
    ],
)
def test_which_terminals_can_show_pictures(options, can):
    assert can_show(terminal(**options)) is can


@pytest.mark.parametrize(
    ("size", "width", "rows", "columns", "lines"),
    [
        ((8, 8), 80, 40, 64, 32),  # no wider than 64
        ((64, 64), 80, 20, 40, 20),  # as high as the terminal
        ((64, 64), 30, 40, 30, 15),  # as wide as the terminal
        ((96, 64), 80, 40, 64, 21),
        ((4, 400), 80, 10, 1, 10),
    ],
)
def test_a_picture_is_as_large_as_fits(size, width, rows, columns, lines):
    shown = text_of(
        HalfBlocks(Image.new("RGB", size), rows), terminal(width=width, color_system=None)
    )
    assert [len(line) for line in shown.splitlines()] == [columns] * lines


def test_each_character_is_two_pixels():
    picture = Image.new("RGB", (2, 2))
    for place, colour in (((0, 0), (9, 8, 7)), ((1, 0), (6, 5, 4)), ((0, 1), (3, 2, 1))):
        picture.putpixel(place, colour)
    shown = text_of(HalfBlocks(picture, 1), terminal(width=2))
    assert "38;2;9;8;7;48;2;3;2;1m▀" in shown
    assert "38;2;6;5;4;48;2;0;0;0m▀" in shown
