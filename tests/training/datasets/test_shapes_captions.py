"""Captions of the shapes world, and reading them back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from yggdrasil.training.datasets.shapes import (
    Background,
    CaptionError,
    Color,
    Item,
    Position,
    Relation,
    Scene,
    Shape,
    Size,
    caption,
    draw_scene,
    paraphrase,
    parse_caption,
)

ONE = Scene(
    items=(Item(color=Color.RED, shape=Shape.CIRCLE, size=Size.SMALL, position=Position.LEFT),),
    background=Background.YELLOW,
)
TWO = Scene(
    items=(
        Item(color=Color.RED, shape=Shape.CIRCLE),
        Item(color=Color.ORANGE, shape=Shape.SQUARE),
    ),
    background=Background.WHITE,
    relation=Relation.LEFT_OF,
)


def test_canonical_captions() -> None:
    assert caption(ONE) == "a small red circle at the left on a yellow background"
    assert caption(TWO) == "a red circle left of an orange square on a white background"


def test_what_is_not_said_is_left_out() -> None:
    assert caption(Scene(items=(Item(color=Color.RED, shape=Shape.STAR),))) == "a red star"


@pytest.mark.parametrize("two_objects", [False, True])
def test_canonical_captions_are_read_back(*, two_objects: bool) -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        scene = draw_scene(rng, two_objects=two_objects)
        for told in (scene, replace(scene, background=None)):
            assert parse_caption(caption(told)) == told


def test_case_and_commas_do_not_matter() -> None:
    text = "A small RED circle, at the left, on a yellow background."
    assert parse_caption(text) == ONE


def test_paraphrases_vary_and_name_everything() -> None:
    rng = np.random.default_rng(0)
    texts = {paraphrase(ONE, rng) for _ in range(300)}
    assert caption(ONE) in texts
    assert len(texts) > 10
    for text in texts:
        assert {"small", "red", "circle", "left", "yellow", "background"} <= set(
            text.replace(",", "").split()
        )


@pytest.mark.parametrize(
    ("text", "word", "nearest"),
    [
        ("a small red circel at the left", "circel", "circle"),
        ("a bleu star on a gray background", "bleu", "blue"),
        ("a smal red star", "smal", "small"),
        ("a red star at the buttom on a gray background", "buttom", "bottom"),
        ("a red star abov a blue heart", "abov", "above"),
        ("a red star on a grey background", "grey", "gray"),
    ],
)
def test_an_unknown_word_is_named_with_the_nearest(text: str, word: str, nearest: str) -> None:
    with pytest.raises(CaptionError) as caught:
        parse_caption(text)
    assert caught.value.word == word
    assert nearest in caught.value.nearest
    assert repr(word) in str(caught.value)
    assert repr(nearest) in str(caught.value)


@pytest.mark.parametrize("text", ["", "a", "a red", "a red star on", "a red star left of"])
def test_a_caption_that_ends_early_says_so(text: str) -> None:
    with pytest.raises(CaptionError, match="ends too early"):
        parse_caption(text)


def test_words_after_the_end_are_rejected() -> None:
    with pytest.raises(CaptionError, match="'please'"):
        parse_caption("a red star on a gray background please")


def test_an_impossible_scene_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="cannot be seen"):
        parse_caption("a blue star on a blue background")
