from __future__ import annotations

import pytest
import torch

from yggdrasil.blocks.guidance.instruct import UNSEEN
from yggdrasil.core.errors import InputError
from yggdrasil.core.registry import make_block
from yggdrasil.core.values import BranchedValue, ConditioningValue

GUIDANCE = make_block("guidance/instruct")
ASKED, UNLIKE = (ConditioningValue(tensors={"x": torch.full((1,), v)}, batch=1) for v in (1.0, 2.0))


def test_three_branches_of_which_two_are_not_asked():
    branches = GUIDANCE.branches(ASKED, UNLIKE)
    assert branches.names == ("positive", "seen", UNSEEN)
    assert branches.joined.tensors["x"].tolist() == [1.0, 2.0, 2.0]


@pytest.mark.parametrize("scales", [{"guidance_scale": 1.0}, {"image_guidance_scale": 0.9}])
def test_without_guidance_there_is_one(scales):
    assert GUIDANCE.branches(ASKED, **scales).names == ("positive",)
    assert GUIDANCE.unused_inputs("branches", scales) == {"negative"}


def test_each_scale_weighs_its_own_difference():
    parts = BranchedValue(("positive", "seen", UNSEEN), tuple(map(torch.tensor, (7.0, 3.0, 1.0))))
    assert GUIDANCE.combine(parts, 2.0, 5.0) == 1.0 + 2.0 * 4.0 + 5.0 * 2.0
    assert GUIDANCE.combine(torch.tensor(4.0)) == 4.0


def test_guidance_needs_a_negative_conditioning():
    with pytest.raises(InputError, match="needs a negative conditioning"):
        GUIDANCE.branches(ASKED)


def test_one_branch_does_not_see_the_picture():
    latents = torch.ones(2, 4, 8, 8)
    extras = make_block("conditioner/edited_picture").embed(latents)
    assert torch.equal(extras.tensors["channels"], latents)
    assert not extras.branches[UNSEEN]["channels"].any()
    assert make_block("conditioner/edited_picture", scaled=True).scales()
