"""The shapes world as a PyTorch dataset."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from yggdrasil.training.datasets.shapes import ShapesDataset, check, parse_caption


def test_examples_have_the_promised_form() -> None:
    dataset = ShapesDataset(size=32, length=3)
    assert len(dataset) == 3
    example = dataset[1]
    assert example["image"].shape == (3, 32, 32)
    assert example["image"].dtype == torch.float32
    assert -1 <= example["image"].min() < example["image"].max() <= 1
    assert example["prompt"]


def test_an_example_depends_on_seed_and_index_alone() -> None:
    first, second = ShapesDataset(seed=5, length=100), ShapesDataset(seed=5, length=9)
    for index in (7, 0, 7):
        assert torch.equal(first[index]["image"], second[index]["image"])
        assert first[index]["prompt"] == second[index]["prompt"]
    assert not torch.equal(first[0]["image"], first[1]["image"])
    assert not torch.equal(first[0]["image"], ShapesDataset(seed=6)[0]["image"])


def test_caption_options_leave_the_pictures_alone() -> None:
    plain = ShapesDataset(paraphrases=False)
    varied = ShapesDataset(caption_dropout=0.5, omission=0.5)
    assert all(torch.equal(plain[index]["image"], varied[index]["image"]) for index in range(20))


def test_captions_are_dropped_about_as_often_as_asked() -> None:
    dataset = ShapesDataset(size=8, caption_dropout=0.25)
    empty = sum(dataset[index]["prompt"] == "" for index in range(400))
    assert 70 <= empty <= 130


def test_two_objects_come_about_as_often_as_asked() -> None:
    dataset = ShapesDataset(two_object_fraction=0.25)
    two = sum(dataset.scene(index).relation is not None for index in range(400))
    assert 70 <= two <= 130


def test_nothing_kept_out_is_shown() -> None:
    dataset = ShapesDataset(two_object_fraction=0.5)
    assert not any(dataset.scene(index).is_kept_out for index in range(500))


def test_canonical_captions_tell_the_picture() -> None:
    dataset = ShapesDataset(paraphrases=False, omission=0.3, two_object_fraction=0.3)
    for index in range(50):
        example = dataset[index]
        pixels = (example["image"].permute(1, 2, 0).numpy() + 1) * 127.5
        picture = np.rint(pixels).astype(np.uint8)
        assert check(picture, parse_caption(example["prompt"])).is_right


@pytest.mark.parametrize("index", [-1, 3])
def test_there_are_no_examples_outside(index: int) -> None:
    with pytest.raises(IndexError):
        ShapesDataset(length=3)[index]


@pytest.mark.parametrize(
    "options",
    [{"size": 0}, {"seed": -1}, {"caption_dropout": 1.5}, {"two_object_fraction": -0.1}],
)
def test_options_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"must"):
        ShapesDataset(**options)  # type: ignore[arg-type]
