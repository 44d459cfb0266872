from __future__ import annotations

import pytest

from yggdrasil.core.errors import ConfigError, InputError, MissingInputError, UnknownInputError
from yggdrasil.core.tasks import choose_task, read_task, read_tasks

TASKS = {
    "txt2img": {"takes": ["prompt", "steps", "height"], "defaults": {"steps": 50}},
    "img2img": {
        "takes": ["prompt", "steps"],
        "also_takes": ["image", "strength", "kwargs"],
        "arguments": {"image": "init_image", "kwargs": "model_arguments.kwargs"},
        "defaults": {"steps": 50, "strength": 0.8},
        "requires": ["image"],
        "outputs": ["images"],
        "diffusers": "StableDiffusionImg2ImgPipeline",
    },
    "inpaint": {
        "takes": ["prompt", "image", "mask_image"],
        "arguments": {"image": "init_image", "mask_image": "mask"},
        "requires": ["image", "mask_image"],
        "fixed": {"duplicate": "latents"},
    },
}
ALL = read_tasks(TASKS)


def test_a_task_is_read_from_data():
    task = ALL["img2img"]
    assert task.takes == ("prompt", "steps", "image", "strength", "kwargs")
    assert task.requires == ("image",)
    assert task.outputs == ("images",)
    assert task.diffusers == "StableDiffusionImg2ImgPipeline"


def test_names_are_mapped_and_defaults_filled_in():
    task = ALL["img2img"]
    assert task.bind({"image": "x", "strength": None}) == {
        "init_image": "x",
        "steps": 50,
        "strength": 0.8,
    }
    assert task.bind({"image": "x", "strength": 0.1, "steps": 3})["strength"] == 0.1
    assert ALL["inpaint"].bind({"image": 1, "mask_image": 2})["duplicate"] == "latents"


def test_none_is_not_given():
    assert ALL["txt2img"].bind({"prompt": None}) == {"steps": 50}
    with pytest.raises(MissingInputError, match="Task 'img2img' needs 'image', which was not"):
        ALL["img2img"].bind({"image": None})
    with pytest.raises(MissingInputError, match="'image' and 'mask_image', which were not given"):
        ALL["inpaint"].bind({})


def test_an_unknown_argument_is_named_with_the_nearest():
    with pytest.raises(
        UnknownInputError, match=r"takes no argument 'promt'. Did you mean 'prompt'"
    ):
        ALL["txt2img"].bind({"promt": "a"})


def test_an_argument_that_is_declined_says_why_and_what_to_do():
    task = read_task("txt2img", {"takes": ["prompt"], "declines": {"eta": "give eta=0 instead"}})
    with pytest.raises(UnknownInputError, match="takes no 'eta': give eta=0 instead"):
        task.bind({"prompt": "a cat", "eta": 0.5})
    with pytest.raises(ConfigError, match="'prompt' is in 'takes' and in 'declines'"):
        read_task("txt2img", {"takes": ["prompt"], "declines": {"prompt": "no"}})


def test_an_argument_of_another_task_says_of_which():
    with pytest.raises(
        UnknownInputError, match=r"no argument 'image'. Task 'img2img' or 'inpaint'"
    ):
        ALL["txt2img"].bind({"image": 1}, others=ALL.values())


def test_ports_are_passed_on_and_entries_of_mappings_put_in():
    assert ALL["img2img"].bind({"image": 1, "unet.sample": 2, "a.b.c": 3, "kwargs": {"x": 1}}) == {
        "init_image": 1,
        "unet.sample": 2,
        "a.b.c": 3,
        "model_arguments": {"kwargs": {"x": 1}},
        "steps": 50,
        "strength": 0.8,
    }


def test_two_arguments_for_one_input_are_refused():
    task = read_task("t", {"takes": ["image", "init_image"], "arguments": {"image": "init_image"}})
    with pytest.raises(InputError, match="'image' and 'init_image' both stand for the input"):
        task.bind({"image": 1, "init_image": 2})


def test_what_the_graph_does_not_have_is_left_out_of_defaults():
    bound = ALL["img2img"].bind({"image": 1}, known={"init_image", "steps"})
    assert bound == {"init_image": 1, "steps": 50}
    assert "duplicate" not in ALL["inpaint"].bind({"image": 1, "mask_image": 2}, known=set())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"take": []}, "unknown key 'take'. Did you mean 'takes'"),
        ({"takes": "prompt"}, "'takes' is 'prompt'; it must be a list of names"),
        ({"takes": [1]}, "must be a list of names"),
        ({"arguments": ["a"]}, "'arguments' is .*; it must be a mapping"),
        (
            {"takes": ["image"], "requires": ["imag"]},
            "'requires' names 'imag'.*Did you mean 'image'",
        ),
        ({"takes": ["a"], "defaults": {"b": 1}}, "'defaults' names 'b', which is not in 'takes'"),
        ({"takes": ["a"], "arguments": {"a": 1}}, "'a' is mapped to 1; it must be the name"),
        ({"diffusers": 3}, "'diffusers' is 3; it must be a string"),
    ],
)
def test_a_wrong_task_is_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        read_task("t", settings)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        ({"prompt": "a"}, "txt2img"),
        ({"prompt": "a", "image": None}, "txt2img"),
        ({"image": 1}, "img2img"),
        ({"image": 1, "mask_image": 2}, "inpaint"),
        ({"image": 1, "strength": 2, "unet.sample": 1}, "img2img"),
        ({"prompt": "a", "nonsense": 1}, "txt2img"),
        ({"image": 1, "nonsense": 1}, "img2img"),
    ],
)
def test_the_task_is_chosen_by_what_is_given(call, name):
    assert choose_task(TASKS, None, call).name == name


def test_a_task_is_chosen_by_name():
    assert choose_task(TASKS, "inpaint", {}).name == "inpaint"
    assert choose_task({}, None, {"x": 1}) is None
    with pytest.raises(UnknownInputError, match=r"no task 'inpain'. Did you mean 'inpaint'"):
        choose_task(TASKS, "inpain", {})


def test_a_choice_that_nothing_decides_is_refused():
    with pytest.raises(InputError, match="could be for the task 'a' or 'b': say which"):
        choose_task({"a": {"takes": ["x"]}, "b": {"takes": ["x"]}}, None, {"x": 1})


def test_a_task_for_another_model_is_chosen_by_name_alone():
    tasks = {"a": {"takes": ["x"]}, "b": {"takes": ["x"], "only_by_name": True}}
    assert choose_task(tasks, None, {"x": 1}).name == "a"
    assert choose_task(tasks, "b", {"x": 1}).name == "b"
    assert choose_task({"b": tasks["b"]}, None, {"x": 1}) is None
    with pytest.raises(ConfigError, match="'only_by_name' is 'yes'; it must be true or false"):
        read_task("b", {"only_by_name": "yes"})


def test_what_the_models_of_a_task_read_is_one_of_three():
    assert read_task("fill", {"reads": "mask"}).reads == "mask"
    with pytest.raises(
        ConfigError, match="'reads' is 'masks'; it must be of nothing, picture, mask"
    ):
        read_task("fill", {"reads": "masks"})


def test_an_argument_is_passed_over_beside_another():
    task = read_task("inpaint", {"takes": ["start", "latents"], "ignores": {"start": ["latents"]}})
    assert task.bind({"start": 0.3, "latents": 1}) == {"start": 0.3}
    assert task.bind({"start": None, "latents": 1}) == {"latents": 1}
    assert task.ignored({"start": 0.3, "latents": 1}) == {"latents"}
    with pytest.raises(ConfigError, match="'ignores' names 'begin', which is not in 'takes'"):
        read_task("inpaint", {"takes": ["latents"], "ignores": {"begin": ["latents"]}})
    with pytest.raises(ConfigError, match="'start' is 3; it must be a list of names"):
        read_task("inpaint", {"takes": ["start"], "ignores": {"start": 3}})
