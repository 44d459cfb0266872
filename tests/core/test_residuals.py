"""Control pictures for branches, and what several inner modules add."""

from __future__ import annotations

import pytest
import torch

from yggdrasil.core.errors import InputError
from yggdrasil.core.residuals import (
    BranchedResidualsValue,
    ControlPictureValue,
    ResidualsValue,
    joined,
    summed,
)

PICTURE = torch.arange(2.0).reshape(1, 2)


def test_one_picture_serves_every_branch():
    picture = ControlPictureValue(tensor=PICTURE, size=(8, 8))
    assert picture.of(()) is PICTURE
    assert picture.of(("positive",)) is PICTURE
    assert picture.of(("negative", "positive")).tolist() == [[0.0, 1.0], [0.0, 1.0]]


def test_a_branch_gets_the_picture_that_was_made_for_it():
    both = torch.cat([PICTURE, PICTURE + 5])
    picture = ControlPictureValue(tensor=both, size=(8, 8), branches=("negative", "positive"))
    assert picture.of(("negative", "positive")) is both
    assert picture.of(("positive",)).tolist() == [[5.0, 6.0]]
    assert picture.of(("positive", "negative")).tolist() == [[5.0, 6.0], [0.0, 1.0]]


def test_residuals_are_told_apart_by_the_branches_they_are_for():
    one, other = (ResidualsValue(tensors={"mid": PICTURE + n}) for n in (0, 1))
    branched = BranchedResidualsValue({("negative", "positive"): one, ("skipped",): other})
    assert branched.of(("negative", "positive")) is one
    assert branched.of(("skipped",)) is other
    assert branched.of(("positive",)) is None
    assert BranchedResidualsValue(everywhere=one).of(("positive",)) is one
    assert BranchedResidualsValue().of(()) is None


def test_residuals_are_added_from_the_first_to_the_last():
    first = ResidualsValue(tensors={"mid": PICTURE, "down": (PICTURE, PICTURE)}, shared={"a": 1})
    second = ResidualsValue(tensors={"mid": PICTURE, "down": (PICTURE,)}, shared={"a": 2, "b": 3})
    total = summed([first, second], {"mid", "down", "a", "b"})
    assert total["mid"].tolist() == [[0.0, 2.0]]
    assert [each.tolist() for each in total["down"]] == [[[0.0, 2.0]]]  # the deeper is cut
    assert (total["a"], total["b"]) == (1, 3)
    assert summed([], {"mid"}) == {}


def test_residuals_for_another_kind_of_model_are_refused():
    with pytest.raises(InputError, match=r"gives the backbone mid, and it reads deep"):
        summed([ResidualsValue(tensors={"mid": PICTURE})], {"deep"})


def test_residuals_of_several_pictures_are_one():
    each = [ResidualsValue(tensors={"mid": PICTURE}, shared={"repeat": n}) for n in (True, False)]
    both = joined(each)
    assert both.tensors["mid"].tolist() == [[0.0, 2.0]]
    assert both.shared == {"repeat": True}
