"""``yggdrasil run`` and ``yggdrasil rerun``: what they write and print, and how they end."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tests.pipelines.pictures import picture
from tests.tiny_models import tiny_pipeline
from yggdrasil import InferencePipeline


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
        (("cat.yaml", "prompt"), "InputError: 'prompt' is no input: write name=value"),
        (("cat.yaml", "promt=x"), "takes no argument 'promt'. Did you mean 'prompt'"),
        (
            ("cat.yaml", "image=none.png"),
            "InputError: image: none.png cannot be read: No such file",
        ),
        (("cat.yaml", "image=cat.yaml"), "InputError: image: cat.yaml cannot be read: image: cat"),
        (("cat.yaml", "prompt=@none.txt"), "prompt: none.txt cannot be read"),
        (("cat.yaml", "num_inference_steps=0"), "InputError: num_inference_steps is 0"),
        (("cat.yaml", "-m", "./nowhere"), "ModelError: There is no folder 'nowhere'"),
        (("cat.yaml", "-m", "org/name"), "'org/name' is not on this machine, and nothing is fetch"),
        (("cat.yaml", "--device", "cuda:9"), "'cuda:9', which this machine does not have"),
        (("cat.yaml", "-o", "a.gif"), "InputError: a.gif names no kind of picture"),
    ],
)
def test_run_refuses_with_a_message(yggdrasil, workflow, arguments, message):
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


def test_rerun_refuses_with_a_message(yggdrasil, pipe, tmp_path):
    pipe("a cat", seed=1, num_inference_steps=1).save(tmp_path / "cat.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "bare.png")
    with Image.open(tmp_path / "cat.png") as image:
        record = image.info["yggdrasil"]
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("yggdrasil", record)
    Image.new("RGB", (64, 64)).save(tmp_path / "edited.png", pnginfo=info)
    for arguments, message in {
        ("none.png",): "GraphFileError: none.png cannot be read: No such file",
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
