from __future__ import annotations

import pytest
import torch

from yggdrasil.blocks.guidance.true_cfg import TrueGuidance
from yggdrasil.core.errors import InputError
from yggdrasil.core.values import BranchedValue, ConditioningValue

GUIDANCE = TrueGuidance()
LIKE, UNLIKE = (ConditioningValue(tensors={"x": torch.full((1,), v)}, batch=1) for v in (1.0, 2.0))


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({}, ("positive",)),
        ({"true_cfg_scale": 2.0}, ("positive",)),
        ({"negative_prompt": "a"}, ("positive",)),
        ({"negative_prompt": "a", "true_cfg_scale": 2.0}, ("positive", "negative")),
        ({"negative_prompt": "", "true_cfg_scale": 2.0}, ("positive", "negative")),
        ({"adopted": UNLIKE, "true_cfg_scale": 2.0}, ("positive", "negative")),
        ({"adopted": UNLIKE}, ("positive",)),
    ],
)
def test_it_is_on_only_where_it_is_asked_for(given, names):
    assert GUIDANCE.branches(LIKE, UNLIKE, **given).names == names


@pytest.mark.parametrize(
    ("known", "unused"),
    [
        ({"negative_prompt": "a", "true_cfg_scale": 2.0}, set()),
        ({"true_cfg_scale": 2.0}, {"negative"}),
        ({"negative_prompt": "a"}, {"negative", "adopted"}),
    ],
)
def test_what_is_not_read_is_told(known, unused):
    assert GUIDANCE.unused_inputs("branches", known) == unused
    assert GUIDANCE.unused_inputs("combine", known) == set()


def test_it_goes_from_the_negative_prediction_towards_the_positive_one():
    predictions = BranchedValue(("positive", "negative"), (torch.tensor(3.0), torch.tensor(1.0)))
    assert GUIDANCE.combine(predictions, 2.0) == 5.0
    assert GUIDANCE.combine(torch.tensor(3.0), 2.0) == 3.0


def test_what_cannot_be_is_refused():
    with pytest.raises(InputError, match="both given"):
        GUIDANCE.branches(LIKE, adopted=UNLIKE, negative_prompt="a")
    with pytest.raises(InputError, match="true_cfg_scale is nan"):
        GUIDANCE.check_inputs("combine", {"true_cfg_scale": float("nan")})
