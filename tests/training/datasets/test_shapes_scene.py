"""The vocabulary of the shapes world and its kept-out combinations."""

from __future__ import annotations

import numpy as np
import pytest

from yggdrasil.training.datasets.shapes import (
    Background,
    Color,
    Item,
    Position,
    Relation,
    Scene,
    Shape,
    Size,
    complete,
    draw_scene,
    evaluation_prompts,
    kept_out_pairs,
    parse_caption,
    training_pairs,
)

RED_CIRCLE = Item(color=Color.RED, shape=Shape.CIRCLE)
BLUE_HEART = Item(color=Color.BLUE, shape=Shape.HEART)


def test_kept_out_pairs_are_about_a_tenth() -> None:
    share = len(kept_out_pairs()) / (len(Color) * len(Shape))
    assert 0.08 <= share <= 0.13


def test_kept_out_and_training_pairs_make_up_the_world() -> None:
    assert kept_out_pairs().isdisjoint(training_pairs())
    assert len(kept_out_pairs()) + len(training_pairs()) == len(Color) * len(Shape)


def test_every_color_and_shape_is_seen_in_training() -> None:
    assert {color for color, _ in training_pairs()} == set(Color)
    assert {shape for _, shape in training_pairs()} == set(Shape)


@pytest.mark.parametrize("two_objects", [False, True])
def test_drawn_scenes_are_kept_out_when_asked(*, two_objects: bool) -> None:
    rng = np.random.default_rng(0)
    for _ in range(100):
        assert draw_scene(rng, two_objects=two_objects, kept_out=True).is_kept_out
        assert not draw_scene(rng, two_objects=two_objects).is_kept_out


def test_complete_says_everything_and_changes_nothing_said() -> None:
    item = Item(color=Color.RED, shape=Shape.STAR, position=Position.TOP)
    done = complete(Scene(items=(item,)), np.random.default_rng(0))
    assert done.is_complete
    assert done.items[0].pair == item.pair
    assert done.items[0].position is Position.TOP


@pytest.mark.parametrize(
    "scene",
    [
        {"items": ()},
        {"items": (RED_CIRCLE, BLUE_HEART)},
        {"items": (RED_CIRCLE,), "relation": Relation.ABOVE},
        {"items": (BLUE_HEART,), "background": Background.BLUE},
        {
            "items": (
                Item(color=Color.RED, shape=Shape.STAR, position=Position.TOP),
                BLUE_HEART,
            ),
            "relation": Relation.ABOVE,
        },
    ],
)
def test_impossible_scenes_are_rejected(scene: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"scene|relation|cannot be seen"):
        Scene(**scene)  # type: ignore[arg-type]


def test_an_unsaid_size_leaves_the_scene_incomplete() -> None:
    item = Item(color=Color.RED, shape=Shape.STAR, size=Size.SMALL)
    assert not Scene(items=(item,), background=Background.GRAY).is_complete


@pytest.mark.parametrize("kept_out", [False, True])
def test_evaluation_prompts_are_different_repeatable_and_readable(*, kept_out: bool) -> None:
    prompts = evaluation_prompts(100, seed=3, kept_out=kept_out)
    assert prompts == evaluation_prompts(100, seed=3, kept_out=kept_out)
    assert prompts != evaluation_prompts(100, seed=4, kept_out=kept_out)
    assert len({prompt.prompt for prompt in prompts}) == 100
    assert all(parse_caption(prompt.prompt) == prompt.scene for prompt in prompts)
    assert all(prompt.scene.is_kept_out is kept_out for prompt in prompts)


def test_evaluation_prompts_say_when_there_are_too_few() -> None:
    with pytest.raises(ValueError, match="not enough"):
        evaluation_prompts(400, kept_out=True)
