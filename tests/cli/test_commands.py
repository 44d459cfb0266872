"""Every command: what it writes and prints, and how it ends."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from tests.smoke_recipe import smoke_recipe, write_recipe
from yggdrasil import ComputeGraph, InferencePipeline
from yggdrasil.cli import demo as demo_command
from yggdrasil.cli import train as train_command
from yggdrasil.cli.live import LiveDisplay
from yggdrasil.cli.quiet import quiet_libraries
from yggdrasil.core.templates import load_template

QUICK = ("--steps", 1)


def assert_refused(ended, message, code=1):
    """A refusal is a message on stderr, no traceback and nothing else."""
    assert ended.code == code
    assert message in ended.err
    assert "Traceback" not in ended.err
    assert ended.out == ""


def read(path):
    """Reads a picture as an array."""
    with Image.open(path) as picture:
        return np.asarray(picture)


# -- generate --------------------------------------------------------------------------------------


def test_generate_writes_a_picture_for_each_prompt(yggdrasil, zoo, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "yggdrasil"):
        ended = yggdrasil("generate", "A red cat!", "", *QUICK, "--seed", 7)
    assert ended.code == 0
    assert "using zoo/shapes" in caplog.text
    assert "sd15 was given no weights: using zoo/shapes" in ended.err
    written = sorted((tmp_path / "pictures").iterdir())
    assert [path.name for path in written] == ["0007-a-red-cat.png", "0008-picture.png"]
    assert [read(path).shape for path in written] == [(64, 64, 3)] * 2
    assert "pictures/0007-a-red-cat.png" in ended.out
    assert "seed 8" in ended.out
    assert "Loading" not in ended.err


def test_generate_gives_the_pictures_of_the_pipeline(yggdrasil, tiny_folder, tmp_path):
    output = tmp_path / "[odd] folder"
    ended = yggdrasil(
        "generate", "a cat", "-m", tiny_folder("sd15"), "-o", output, "-s", 2, "-g", 3.5,
        "--negative", "ugly", "--solver", "solver/euler", "--width", 72, "--height", 64,
    )  # fmt: skip
    assert ended.code == 0
    assert str(output / "0000-a-cat.png") in ended.out
    pipe = InferencePipeline.from_pretrained(tiny_folder("sd15"), solver="solver/euler")
    pipe.set_progress_bar_config(disable=True)
    expected = pipe(
        "a cat", negative_prompt="ugly", guidance_scale=3.5, num_inference_steps=2, seed=0,
        width=72, height=64,
    ).images[0]  # fmt: skip
    made = read(output / "0000-a-cat.png")
    assert made.shape == (64, 72, 3)
    assert np.array_equal(made, np.asarray(expected))


def test_generate_starts_from_a_picture_and_a_mask(yggdrasil, zoo, tmp_path):
    Image.new("RGB", (64, 64), "red").save(tmp_path / "in.png")
    Image.new("L", (64, 64), 255).save(tmp_path / "mask.png")
    from_picture = yggdrasil(
        "generate", "a cat", *QUICK, "-i", "in.png", "--strength", 1, "-o", "a"
    )
    inpainted = yggdrasil(
        "generate", "a cat", *QUICK, "-i", "in.png", "--mask", "mask.png", "-o", "b"
    )
    assert (from_picture.code, inpainted.code) == (0, 0)
    first, second = (read(tmp_path / o / "0000-a-cat.png") for o in "ab")
    assert first.shape == second.shape
    assert not np.array_equal(first, second)


def test_generate_takes_a_task_for_a_model(yggdrasil, tiny_folder):
    ended = yggdrasil("generate", "a cat", "-m", tiny_folder("sd15"), "-t", "sd15_img2img")
    assert_refused(ended, "MissingInputError: Task 'img2img' needs 'image'")


def test_generate_tells_programs_what_it_made(yggdrasil, zoo, tmp_path):
    ended = yggdrasil("generate", "a cat", "a dog", *QUICK, "--seed", 3, "--json")
    assert ended.code == 0
    told = json.loads(ended.out)
    assert told["interrupted"] is False
    seconds = [each.pop("seconds") for each in told["pictures"]]
    assert min(seconds) > 0
    assert told["pictures"] == [
        {
            "path": f"pictures/000{seed}-a-{animal}.png", "prompt": f"a {animal}", "seed": seed,
            "width": 64, "height": 64, "stopped_after": None,
        }
        for seed, animal in ((3, "cat"), (4, "dog"))
    ]  # fmt: skip
    assert all((tmp_path / each["path"]).is_file() for each in told["pictures"])


def test_previews_change_nothing_and_leave_no_file(yggdrasil, zoo, tmp_path):
    arguments = ("generate", "a cat", "-s", 4, "--solver", "solver/ddim")
    ended = yggdrasil(*arguments, "-o", "a", "--preview-every", 2)
    assert ended.code == 0
    assert ended.err.count("preview: a/0000-a-cat-preview.png") == 1
    yggdrasil(*arguments, "-o", "b")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["0000-a-cat.png"]
    assert np.array_equal(read(tmp_path / "a/0000-a-cat.png"), read(tmp_path / "b/0000-a-cat.png"))


def test_generate_shows_where_the_time_goes(yggdrasil, zoo, tmp_path):
    ended = yggdrasil("generate", "a cat", *QUICK, "--profile", "new/flame.svg")
    assert ended.code == 0
    assert "unet.predict" in ended.err
    assert "The flame picture is in new/flame.svg." in ended.err
    assert "unet.predict" not in ended.out
    assert "unet.predict" in (tmp_path / "new/flame.svg").read_text(encoding="utf-8")


@pytest.fixture
def heeded():
    """Has this process heed Ctrl-C, which shells have those in the background ignore."""
    held = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, held)


class Presses:
    """Presses Ctrl-C at steps of the pictures, counted through."""

    def __init__(self, monkeypatch, *steps):
        self.count = 0
        told = LiveDisplay.on_step

        def on_step(display, event):
            told(display, event)
            self.count += 1
            if self.count in steps:
                signal.raise_signal(signal.SIGINT)

        monkeypatch.setattr(LiveDisplay, "on_step", on_step)


MANY = ("generate", "a cat", "a dog", "a house", "-s", 4, "--solver", "solver/ddim")


def test_ctrl_c_keeps_what_is_done(heeded, yggdrasil, zoo, tmp_path, monkeypatch):
    presses = Presses(monkeypatch, 6)
    ended = yggdrasil(*MANY)
    assert ended.code == 130
    assert presses.count == 7
    written = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert written == ["0000-a-cat.png", "0001-a-dog-unfinished.png"]
    assert "unfinished: stopped after step 3 of 4" in ended.out
    assert ended.err.endswith("Interrupted: 1 of 3 pictures done, one unfinished.\n")
    again = yggdrasil("rerun", "pictures/0001-a-dog-unfinished.png")
    assert again.code == 1
    assert "the last steps: it was stopped after step 3 of 4" in again.err.replace("\n", " ")


def test_a_second_ctrl_c_keeps_whole_pictures_alone(heeded, yggdrasil, zoo, tmp_path, monkeypatch):
    Presses(monkeypatch, 6, 7)
    ended = yggdrasil(*MANY, "--json")
    assert ended.code == 130
    told = json.loads(ended.out)
    assert told["interrupted"] is True
    assert [each["path"] for each in told["pictures"]] == ["pictures/0000-a-cat.png"]
    assert [path.name for path in (tmp_path / "pictures").iterdir()] == ["0000-a-cat.png"]
    assert ended.err.endswith("Interrupted: 1 of 3 pictures done.\n")


def test_programs_are_told_which_picture_is_unfinished(heeded, yggdrasil, zoo, monkeypatch):
    Presses(monkeypatch, 2)
    ended = yggdrasil(*MANY, "--json")
    assert ended.code == 130
    (made,) = json.loads(ended.out)["pictures"]
    assert made["stopped_after"] == [3, 4]
    assert made["path"].endswith("-unfinished.png")


HEEDING = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from yggdrasil.cli import main
main()
"""


@pytest.mark.slow
def test_a_signal_from_outside_ends_the_command_between_steps(tiny_folder, tmp_path):
    command = [
        sys.executable, "-c", HEEDING, "generate", "a cat", "-m", str(tiny_folder("sd15")),
        "-s", "900", "--solver", "solver/ddim", "--preview-every", "2", "-o", str(tmp_path),
    ]  # fmt: skip
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + 240
        while not (tmp_path / "0000-a-cat-preview.png").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert [path.name for path in tmp_path.iterdir()] == ["0000-a-cat-unfinished.png"]
    assert "unfinished: stopped after step" in out
    assert "Interrupted: 0 of 1 pictures done, one unfinished." in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--steps", 0), "InputError: num_inference_steps is 0: give a whole number of at least 1"),
        (("--steps", -2), "InputError: num_inference_steps is -2"),
        (("-g", "nan"), "InputError: guidance_scale is nan: give a finite number"),
        (("--width", 60), "InputError: width is 60: it must be a multiple of 8 pixels"),
        (("-m", "./nowhere"), "ModelError: There is no folder nowhere."),
        (("-t", "sd51"), "RegistryError: There is no template"),
        (("--solver", "solver/eulr"), "Did you mean 'solver/euler"),
        (("-i", "none.png"), "InputError: none.png cannot be read as a picture"),
        (("--mask", "mask.png"), "InputError: mask.png cannot be read as a picture"),
        (("--strength", 0.5), "UnknownInputError: Task 'txt2img' takes no argument 'strength'"),
        (("--seed", 2**70), "is no integer of 64 bits"),
    ],
)
def test_generate_refuses_with_a_message(yggdrasil, zoo, tmp_path, arguments, message):
    assert_refused(yggdrasil("generate", "a cat", *arguments), message)
    assert not (tmp_path / "pictures").exists()


def test_a_refusal_is_one_line_whatever_the_width(yggdrasil, zoo, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    ended = yggdrasil("generate", "a cat", "--steps", 0)
    assert (
        "InputError: num_inference_steps is 0: give a whole number of at least 1, such" in ended.err
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("generate",),
        ("generate", "a cat", "--steps", "many"),
        ("generate", "a cat", "--stepz", 3),
        ("generate", "a cat", "-o", "file"),
        ("train", "smoke", "--threads", -1),
        ("demo", "-o", "file"),
        ("nothing",),
    ],
)
def test_wrong_usage_is_exit_code_2(yggdrasil, tmp_path, arguments):
    (tmp_path / "file").touch()
    assert_refused(yggdrasil(*arguments), "Usage: yggdrasil", code=2)


# -- demo ------------------------------------------------------------------------------------------


def test_demo_writes_a_sheet(yggdrasil, zoo, tmp_path, monkeypatch):
    monkeypatch.setattr(demo_command, "PROMPTS", ("a red cat", "a blue dog on the house " * 3))
    ended = yggdrasil("demo", "-o", "sheets")
    assert ended.code == 0
    assert ended.out.startswith("2 pictures in ")
    assert "sheets/demo.png" in ended.out
    with Image.open(tmp_path / "sheets" / "demo.png") as sheet:
        assert sheet.width > 2 * 160
        assert len(sheet.convert("RGB").getcolors(1 << 20)) > 50


def test_demo_without_a_model_in_the_box_says_so(yggdrasil, tmp_path, monkeypatch):
    monkeypatch.setattr("yggdrasil.hub.zoo_models._ZOO", tmp_path)
    assert_refused(yggdrasil("demo"), "ModelError: The zoo has no model 'zoo/shapes'.")


# -- train -----------------------------------------------------------------------------------------


def test_train_runs_a_recipe_and_goes_on_with_it(yggdrasil, tmp_path, monkeypatch):
    path = write_recipe(tmp_path)
    monkeypatch.setattr(train_command, "_PROMPTS", 2)
    ended = yggdrasil("train", path, "-o", "runs", "--evaluate-every", 4)
    assert ended.code == 0
    assert "The model is in runs/smoke/smoke." in ended.out
    assert "step 4, seen:" in ended.out
    # Nothing but the notices of evaluating with an encoder of twelve tokens.
    assert all(line.startswith("CLIP reads 12 tokens") for line in ended.err.splitlines())
    lines = (tmp_path / "runs/smoke/second/adherence.jsonl").read_text().splitlines()
    line = json.loads(lines[0])
    assert line["step"] == 4
    assert {"seen", "kept_out"} <= line.keys()
    pipe = InferencePipeline.from_pretrained(tmp_path / "runs/smoke/smoke")
    pipe.set_progress_bar_config(disable=True)
    assert pipe("a circle", num_inference_steps=1, seed=0).images[0].size == (32, 32)
    again = yggdrasil("train", path, "-o", "runs", "--evaluate-every", 4)
    assert again.code == 0
    assert "step 4" not in again.out


def test_train_refuses_what_is_no_recipe(yggdrasil, tmp_path):
    assert_refused(yggdrasil("train", "shape"), "There is no recipe 'shape'. Did you mean 'shapes'")
    recipe = smoke_recipe()
    recipe["phases"][0]["settings"]["steps"] = 0
    path = write_recipe(tmp_path, recipe)
    ended = yggdrasil("train", path)
    assert_refused(ended, "at phases.0.settings.steps: Input should be greater than 0")


def test_ctrl_c_leaves_a_checkpoint_that_training_goes_on_from(
    heeded, yggdrasil, tmp_path, monkeypatch
):
    path = write_recipe(tmp_path)
    on_step = train_command._Bar.on_step

    def press(bar, report):
        on_step(bar, report)
        if report["step"] == 3:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(train_command._Bar, "on_step", press)
    ended = yggdrasil("train", path)
    assert ended.code == 130
    checkpoint = "runs/smoke/first/checkpoint-00000003"
    assert f"The run is kept in {checkpoint}; the same command goes on" in ended.err
    assert ended.err.endswith("Interrupted.\n")
    assert (tmp_path / checkpoint / "weights.safetensors").is_file()
    monkeypatch.setattr(train_command._Bar, "on_step", on_step)
    assert yggdrasil("train", path).code == 0
    metrics = (tmp_path / "runs/smoke/first/metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in metrics][-1] == 4


# -- graphs ----------------------------------------------------------------------------------------


def test_graphs_are_drawn(yggdrasil, tmp_path):
    shown = yggdrasil("graph", "draw", "sd15")
    assert shown.code == 0
    assert shown.out.strip() == load_template("sd15").draw().strip()
    written = yggdrasil("graph", "draw", "sd15_img2img", "-f", "svg", "-o", "graph.svg")
    assert (written.code, written.out) == (0, "")
    assert (tmp_path / "graph.svg").read_text() == load_template("sd15").draw("svg")


def test_a_graph_file_is_drawn_and_explained(yggdrasil, tmp_path):
    graph = ComputeGraph.from_template("sd15").replace_node("solver", "solver/euler")
    (tmp_path / "mine.yaml").write_text(graph.to_yaml(), encoding="utf-8")
    assert yggdrasil("graph", "draw", "mine.yaml").out.strip() == graph.draw().strip()
    ended = yggdrasil("graph", "explain", "mine.yaml", "backbone.sample")
    assert ended.code == 0
    assert ended.out.strip() == graph.explain("backbone.sample").strip()
    assert "solver.tick" in ended.out


def test_an_explanation_for_programs(yggdrasil):
    (told,) = json.loads(yggdrasil("graph", "explain", "sd15", "unet.sample", "--json").out)
    assert (told["vertex"], told["port"], told["need"]) == ("unet.predict", "sample", "required")
    chosen = [each["source"] for each in told["considered"] if each["chosen"]]
    assert chosen == ["guidance.expand.sample"]
    passed = [each for each in told["considered"] if not each["chosen"]]
    assert passed
    assert all(each["note"].startswith("passed over") for each in passed)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("draw", "sd51"), "no template"),
        (("draw", "none.yaml"), "none.yaml"),
        (("draw", "sd15", "-f", "png"), "InputError: --format is 'png'. Known: 'mermaid', 'svg'."),
        (("explain", "sd15", "backbone.samples"), "ConnectError: 'backbone.samples'"),
    ],
)
def test_graphs_that_cannot_be_shown(yggdrasil, arguments, message):
    assert_refused(yggdrasil("graph", *arguments), message)


@pytest.mark.parametrize("arguments", [(), ("graph",)])
def test_without_a_command_there_is_help(yggdrasil, arguments):
    ended = yggdrasil(*arguments)
    assert ended.code == 2
    assert "Usage: yggdrasil" in ended.out + ended.err


# -- silence ---------------------------------------------------------------------------------------


def test_libraries_are_quiet_for_a_while_alone():
    from diffusers.utils import logging as of_diffusers
    from transformers.utils import logging as of_transformers

    def state():
        return [
            (each.get_verbosity(), each.is_progress_bar_enabled())
            for each in (of_diffusers, of_transformers)
        ]

    def fail():
        with quiet_libraries():
            assert state() == [(logging.ERROR, False)] * 2
            raise KeyError

    before = state()
    with pytest.raises(KeyError):
        fail()
    assert state() == before
