from __future__ import annotations

import pytest
import torch

from yggdrasil.core.errors import InputError
from yggdrasil.core.registry import make_block
from yggdrasil.core.values import BackboneSpecValue, BranchedValue, ConditioningValue

BLOCK = make_block("guidance/skip_layers")
DEEP = BackboneSpecValue(in_channels=16, sample_size=None, layers=4)


def conditioning(value):
    return ConditioningValue(tensors={"text": torch.full((2, 1), value)}, batch=2)


def branches(**given):
    return BLOCK.branches(conditioning(1.0), conditioning(0.0), **given)


def test_layers_to_skip_make_a_branch_of_the_positive_conditioning():
    made = branches(skip_guidance_layers=[7, 8])
    assert made.names == ("negative", "positive", "skipped")
    assert made["skipped"] is made["positive"]
    assert made.arguments_of("skipped") == {"skip_layers": [7, 8]}
    assert made.alike == ("negative", "positive")


@pytest.mark.parametrize("given", [{}, {"skip_guidance_layers": [1], "guidance_scale": 1.0}])
def test_without_layers_or_guidance_nothing_is_skipped(given):
    assert "skipped" not in branches(**given).names


def test_layers_are_skipped_within_a_window_of_steps():
    made = branches(
        skip_guidance_layers=[1], skip_layer_guidance_start=0.1, skip_layer_guidance_stop=0.4
    )
    steps = [step for step in range(10) if "skipped" in made.names_at(step, 10)]
    assert steps == [2, 3]  # both ends excluded


def test_combine_goes_away_from_what_skipped_layers_answer():
    tensors = [torch.tensor([each]) for each in (1.0, 3.0, 2.0)]
    prediction = BranchedValue(("negative", "positive", "skipped"), tuple(tensors))
    assert (
        BLOCK.combine(prediction, 5.0, skip_layer_guidance_scale=2.0).item()
        == 1.0 + 5.0 * 2.0 + 2.0 * 1.0
    )
    plain = BranchedValue(("negative", "positive"), tuple(tensors[:2]))
    assert BLOCK.combine(plain, 5.0, skip_layer_guidance_scale=2.0).item() == 11.0


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([4], "names layer 4, but the model has 4, 0 to 3"),
        ([-1], "a layer of skip_guidance_layers is -1"),
        (7, r"give a list of layers, such as \[7, 8, 9\]"),
    ],
)
def test_layers_that_cannot_be_skipped_are_refused(layers, message):
    with pytest.raises(InputError, match=message):
        BLOCK.check_inputs("branches", {"skip_guidance_layers": layers, "backbone": DEEP})
    BLOCK.check_inputs("branches", {"skip_guidance_layers": [0, 3], "backbone": DEEP})


@pytest.mark.parametrize("name", ["guidance_scale", "skip_layer_guidance_stop"])
def test_scales_and_shares_are_numbers(name):
    with pytest.raises(InputError, match=f"{name} is nan: give a finite number"):
        BLOCK.check_inputs("branches", {name: float("nan")})


def test_without_guidance_no_negative_conditioning_is_read():
    assert BLOCK.unused_inputs("branches", {"guidance_scale": 1.0}) == {"negative"}
    assert BLOCK.unused_inputs("branches", {}) == set()
