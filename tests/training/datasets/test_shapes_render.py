"""Drawing the shapes world."""

from __future__ import annotations

import numpy as np
import pytest

from yggdrasil.training.datasets.shapes import draw_scene, parse_caption, render

SCENE = parse_caption("a large red heart in the center on a white background")


@pytest.mark.parametrize("size", [32, 64, 100])
def test_pictures_are_rgb_bytes_of_any_size(size: int) -> None:
    picture = render(SCENE, np.random.default_rng(0), size=size)
    assert picture.shape == (size, size, 3)
    assert picture.dtype == np.uint8


def test_the_generator_decides_the_picture() -> None:
    first, same, other = (render(SCENE, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)


def test_edges_are_antialiased() -> None:
    picture = render(SCENE, np.random.default_rng(0))
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 10


def test_items_stay_inside_the_picture() -> None:
    rng = np.random.default_rng(0)
    for index in range(100):
        picture = render(draw_scene(rng, two_objects=index % 2 == 0), rng)
        border = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
        assert (border == border[0]).all()


def test_a_picture_needs_a_size() -> None:
    with pytest.raises(ValueError, match="positive"):
        render(SCENE, np.random.default_rng(0), size=0)
