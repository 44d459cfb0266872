"""``yggdrasil run`` and ``yggdrasil rerun``: what they write and print, and how they end."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.pipelines.pictures import picture
from tests.tiny_models import tiny_pipeline
from yggdrasil import InferencePipeline
from yggdrasil.pipelines.workflows.pictures import _record_hash


def read(path):
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.fixture
def pipe(tiny_folder):
    made = InferencePipeline.from_pretrained(tiny_folder("sd15"))
    made.set_progress_bar_config(disable=True)
    return made


@pytest.fixture
def workflow(pipe, tmp_path):
    return pipe.save_workflow(
        tmp_path / "cat.yaml", "a cat", image=picture(), strength=1.0, seed=1,
        num_inference_steps=1,
    )  # fmt: skip


def test_run_writes_the_pictures_of_the_workflow(yggdrasil, pipe, workflow, tmp_path):
    ended = yggdrasil("run", "cat.yaml")
    assert ended.code == 0
    assert "pictures/cat.png" in ended.out
    call = {"image": picture(), "strength": 1.0, "num_inference_steps": 1}
    expected = pipe("a cat", seed=1, **call).images[0]
    assert np.array_equal(read(tmp_path / "pictures" / "cat.png"), expected)


def test_run_takes_inputs_as_they_are_typed(yggdrasil, pipe, workflow, tmp_path):
    picture(seed=3).save(tmp_path / "other.png")
    ended = yggdrasil(
        "run", "cat.yaml", "prompt=7", "seed=[2, 3]", "num_images_per_prompt=2",
        "image=other.png", "negative_prompt=a dog", "strength=null",
        'cross_attention_kwargs={"scale": 0.5}', "num_inference_steps=2", "-o", "deep/out.png",
    )  # fmt: skip
    assert ended.code == 0
    expected = pipe(
        "7", seed=[2, 3], num_images_per_prompt=2, image=picture(seed=3),
        negative_prompt="a dog", cross_attention_kwargs={"scale": 0.5}, num_inference_steps=2,
    ).images  # fmt: skip
    for place, each in enumerate(expected):
        assert np.array_equal(read(tmp_path / "deep" / f"out-{place}.png"), each)


def test_a_text_may_come_from_a_file(yggdrasil, pipe, workflow, tmp_path):
    (tmp_path / "prompt.txt").write_text("a dog")
    yggdrasil("run", "cat.yaml", "prompt=@prompt.txt", "-o", "a.png")
    yggdrasil("run", "cat.yaml", "prompt=a dog", "-o", "b.png")
    assert np.array_equal(read(tmp_path / "a.png"), read(tmp_path / "b.png"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("none.yaml",), "GraphFileError: There is no workflow 'none.yaml'"),
        (("graph.yaml",), "graph.yaml:1: this is no workflow, which begins with 'workflow: 1'"),
        (("cat.yaml", "prompt=a", "prompt=b"), "InputError: 'prompt' is given twice"),
        (("cat.yaml", "return_dict=false"), "InputError: 'return_dict' is no input that can be"),
        (("cat.yaml", "observers=[1]"), "InputError: 'observers' is no input that can be typed"),
        (("cat.yaml", "-m", "cat.yaml"), "ModelError: cat.yaml is a file: a model is a folder"),
        (("cat.yaml", "prompt"), "InputError: 'prompt' is no input: write name=value"),
        (("cat.yaml", "promt=x"), "takes no argument 'promt'. Did you mean 'prompt'"),
        (
            ("cat.yaml", "image=none.png"),
            "InputError: image: none.png cannot be read: No such file",
        ),
        (("cat.yaml", "image=cat.yaml"), "InputError: image: cat.yaml cannot be read: image: cat"),
        (("cat.yaml", "prompt=@none.txt"), "prompt: none.txt cannot be read"),
        (("cat.yaml", "output_type=latent"), "this command writes pictures: add output_type=pil"),
        (("cat.yaml", "num_inference_steps=0"), "InputError: num_inference_steps is 0"),
        (("cat.yaml", "-m", "./nowhere"), "ModelError: There is no folder 'nowhere'"),
        (("cat.yaml", "-m", "org/name"), "'org/name' is not on this machine, and nothing is fetch"),
        (("cat.yaml", "--device", "cuda:9"), "'cuda:9', which this machine does not have"),
        (("cat.yaml", "-o", "a.gif"), "InputError: a.gif names no kind of picture"),
    ],
)
def test_run_refuses_with_a_message(yggdrasil, workflow, arguments, message):
    (workflow.parent / "graph.yaml").write_text("schema: 1\n")
    ended = yggdrasil("run", *arguments)
    assert ended.code == 1
    assert message in ended.err
    assert "Traceback" not in ended.err


def test_rerun_makes_the_picture_of_generate_again(yggdrasil, tiny_folder, tmp_path):
    yggdrasil("generate", "a cat", "-m", tiny_folder("sd15"), "-s", 2, "--seed", 3)
    made = tmp_path / "pictures" / "0003-a-cat.png"
    ended = yggdrasil("rerun", made)
    assert ended.code == 0
    assert "the same bits as" in ended.out
    again = made.with_name("0003-a-cat-again.png")
    assert np.array_equal(read(again), read(made))
    assert yggdrasil("rerun", again, "-o", "third.png").code == 0


def test_rerun_of_one_of_several_writes_that_one(yggdrasil, pipe, tmp_path):
    result = pipe("a cat", seed=[1, 2], num_images_per_prompt=2, num_inference_steps=1)
    _, second = result.save(tmp_path / "cat.png")
    ended = yggdrasil("rerun", second, "-o", "again.png")
    assert ended.code == 0
    assert np.array_equal(read(tmp_path / "again.png"), read(second))


def test_rerun_says_what_differs_and_ends_with_1(yggdrasil, pipe, tmp_path):
    pipe("a cat", seed=1, num_inference_steps=1).save(tmp_path / "cat.png")
    tiny_pipeline(seed=5).save_pretrained(tmp_path / "other")
    ended = yggdrasil("rerun", "cat.png", "--model", "other")
    assert ended.code == 1
    assert "cat-again.png  not the bits of cat.png" in ended.out
    assert "the weights of unet.unet are others" in ended.out
    assert (tmp_path / "cat-again.png").is_file()


def test_a_picture_does_not_command_the_terminal(yggdrasil, pipe, tmp_path):
    (path,) = pipe("a cat", seed=1, num_inference_steps=1).save(tmp_path / "cat.png")
    sign = "\x1b]0;title\x07\x9b2J[red]"
    shown = r"\x1b]0;title\x07\x9b2J[red]"
    for change, message in (
        ({"model": f"./{sign}"}, shown),
        ({"model": f"/nowhere/{sign}"}, shown),
        ({"inputs": {sign: 1}}, shown),
        ({"versions": {sign: sign}, "inputs": {"prompt": "b", "seed": 1}}, f"{shown} was {shown}"),
        ({"machine": sign, "inputs": {"prompt": "b", "seed": 1}}, f"the machine was {shown}"),
    ):
        with Image.open(path) as image:
            told = json.loads(image.info["yggdrasil"])
            record = {**told["record"], **change}
            info = PngInfo()
            told = {"record": record, "sha256": _record_hash(record), "inside": {}}
            info.add_text("yggdrasil", json.dumps(told))
            image.save(tmp_path / "forged.png", pnginfo=info)
        ended = yggdrasil("rerun", "forged.png")
        assert ended.code == 1
        assert message in ended.err + ended.out
        assert not {"\x1b", "\x07", "\x9b"} & set(ended.out + ended.err)


@pytest.mark.parametrize("command", ["run cat.yaml", "rerun cat.png"])
def test_a_name_that_no_picture_can_have_is_told_before_anything_is_run(
    yggdrasil, pipe, workflow, tmp_path, monkeypatch, command
):
    pipe("a cat", seed=1, num_inference_steps=1).save(tmp_path / "cat.png")
    monkeypatch.setattr("yggdrasil.core.runtime.execute", lambda *_, **__: pytest.fail("it ran"))
    ended = yggdrasil(*command.split(), "-o", "a.gif")
    assert ended.code == 1
    assert "InputError: a.gif names no kind of picture" in ended.err


def test_rerun_refuses_with_a_message(yggdrasil, pipe, tmp_path):
    pipe("a cat", seed=1, num_inference_steps=1).save(tmp_path / "cat.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "bare.png")
    (tmp_path / "notes.txt").write_text("no picture")
    with Image.open(tmp_path / "cat.png") as image:
        record = image.info["yggdrasil"]
    info = PngInfo()
    info.add_text("yggdrasil", record)
    Image.new("RGB", (64, 64)).save(tmp_path / "edited.png", pnginfo=info)
    for arguments, message in {
        ("none.png",): "GraphFileError: none.png cannot be read: No such file",
        ("notes.txt",): "GraphFileError: notes.txt cannot be read as a picture",
        ("bare.png",): "GraphFileError: bare.png carries no record of YggDrasil",
        ("edited.png",): "was changed after it was written: the picture itself. Nothing was run",
        ("cat.png", "-o", "cat.png"): "InputError: cat.png is the picture itself",
        ("cat.png", "-m", "org/name"): "'org/name' is not on this machine",
    }.items():
        ended = yggdrasil("rerun", *arguments)
        assert ended.code == 1
        assert message in ended.err
    ended = yggdrasil("rerun", "edited.png", "--allow-changes", "-o", "again.png")
    assert ended.code == 0  # what the record says, which was not edited
    assert np.array_equal(read(tmp_path / "again.png"), read(tmp_path / "cat.png"))
