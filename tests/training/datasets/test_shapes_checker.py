"""The judge of the shapes world: tolerant to noise, strict about content."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from yggdrasil.training.datasets.shapes import (
    Background,
    Color,
    Position,
    Scene,
    Shape,
    Size,
    Verdict,
    check,
    complete,
    draw_scene,
    parse_caption,
    render,
)

ONE = parse_caption("a large red circle at the left on a gray background")
TWO = parse_caption("a red circle left of a green square on a white background")
ALL_WRONG = Verdict(
    color=False, shape=False, size=False, position=False, background=True, relation=False
)


def drawn(scene: Scene, *, seed: int = 0, size: int = 64) -> NDArray[np.uint8]:
    return render(scene, np.random.default_rng(seed), size=size)


def worn(picture: NDArray[np.uint8], *, blur: float, noise: float) -> NDArray[np.uint8]:
    soft = ndimage.gaussian_filter(picture.astype(np.float64), (blur, blur, 0))
    soft += np.random.default_rng(0).normal(0, noise, soft.shape)
    return np.clip(soft, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("two_objects", [False, True])
@pytest.mark.parametrize(("blur", "noise"), [(0.0, 0.0), (0.7, 4.0)])
def test_drawn_pictures_are_right(*, two_objects: bool, blur: float, noise: float) -> None:
    rng = np.random.default_rng(1)
    right = 0
    for index in range(100):
        scene = draw_scene(rng, two_objects=two_objects, kept_out=index % 5 == 0)
        right += check(worn(render(scene, rng), blur=blur, noise=noise), scene).is_right
    assert right >= 98


@pytest.mark.parametrize("size", [48, 96, 128])
def test_the_size_of_the_picture_does_not_matter(size: int) -> None:
    assert check(drawn(TWO, size=size), TWO).is_right
    assert check(Image.fromarray(drawn(ONE, size=size)), ONE).is_right


@pytest.mark.parametrize("color", [color for color in Color if color is not Color.RED])
def test_a_wrong_color_is_rejected(color: Color) -> None:
    verdict = check(drawn(ONE), replace(ONE, items=(replace(ONE.items[0], color=color),)))
    assert not verdict.color
    assert verdict.shape
    assert verdict.position


@pytest.mark.parametrize("size", list(Size))
@pytest.mark.parametrize("shown", list(Shape))
def test_every_wrong_shape_is_rejected(shown: Shape, size: Size) -> None:
    item = replace(ONE.items[0], size=size)
    picture = drawn(replace(ONE, items=(replace(item, shape=shown),)))
    for asked in Shape:
        verdict = check(picture, replace(ONE, items=(replace(item, shape=asked),)))
        assert verdict.shape is (asked is shown)
        assert verdict.color
        assert verdict.size


@pytest.mark.parametrize("shown", list(Size))
@pytest.mark.parametrize("asked", list(Size))
def test_a_wrong_size_is_rejected(shown: Size, asked: Size) -> None:
    picture = drawn(replace(ONE, items=(replace(ONE.items[0], size=shown),)))
    verdict = check(picture, replace(ONE, items=(replace(ONE.items[0], size=asked),)))
    assert verdict.size is (shown is asked)


@pytest.mark.parametrize("shown", list(Position))
@pytest.mark.parametrize("asked", list(Position))
def test_a_wrong_position_is_rejected(shown: Position, asked: Position) -> None:
    picture = drawn(replace(ONE, items=(replace(ONE.items[0], position=shown),)))
    verdict = check(picture, replace(ONE, items=(replace(ONE.items[0], position=asked),)))
    assert verdict.position is (shown is asked)


def test_a_corner_is_no_position() -> None:
    corner = np.roll(drawn(ONE), 18, axis=0)
    for position in Position:
        asked = replace(ONE, items=(replace(ONE.items[0], position=position),))
        assert not check(corner, asked).position


@pytest.mark.parametrize("ground", [ground for ground in Background if ground != "gray"])
def test_a_wrong_background_is_rejected(ground: Background) -> None:
    verdict = check(drawn(ONE), replace(ONE, background=ground))
    assert not verdict.background
    assert verdict.shape


def test_an_uneven_background_is_rejected() -> None:
    picture = drawn(ONE)
    picture[:, 40:] = (250, 170, 196)
    assert not check(picture, ONE).is_right


@pytest.mark.parametrize("level", [0, 132, 255])
def test_blank_pictures_are_rejected(level: int) -> None:
    blank = np.full((64, 64, 3), level, dtype=np.uint8)
    verdict = check(blank, ONE)
    assert verdict == replace(ALL_WRONG, background=level == 132)


def test_noise_is_rejected() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert not check(noise, ONE).is_right
    assert not check(noise, ONE).background


def test_two_objects_are_not_one_and_one_is_not_two() -> None:
    asked = parse_caption("a red circle on a white background")
    assert check(drawn(TWO), asked) == ALL_WRONG
    assert check(drawn(asked), TWO) == ALL_WRONG


def test_a_two_colored_object_is_rejected() -> None:
    picture = drawn(ONE)
    half = picture[32:]
    half[(half[..., 0] > 180) & (half[..., 1] < 90)] = (30, 156, 60)
    assert not check(picture, ONE).color


def test_a_shape_without_a_name_is_rejected() -> None:
    picture = np.full((64, 64, 3), 132, dtype=np.uint8)
    picture[28:36, 2:30] = (222, 36, 40)
    assert not check(picture, ONE).shape


def test_a_swapped_relation_is_rejected_but_the_items_are_right() -> None:
    swapped = replace(TWO, items=TWO.items[::-1])
    verdict = check(drawn(TWO), swapped)
    assert not verdict.relation
    assert verdict.color
    assert verdict.shape


def test_swapped_colors_are_rejected() -> None:
    asked = parse_caption("a green circle left of a red square on a white background")
    verdict = check(drawn(TWO), asked)
    assert not (verdict.color and verdict.shape)


def test_what_is_not_said_is_right() -> None:
    rng = np.random.default_rng(0)
    asked = parse_caption("a red star")
    assert all(check(render(complete(asked, rng), rng), asked).is_right for _ in range(20))


@pytest.mark.parametrize("shape", [(64, 64), (64, 64, 4), (64, 32, 3)])
def test_pictures_of_another_form_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected"):
        check(np.zeros(shape, dtype=np.uint8), ONE)
