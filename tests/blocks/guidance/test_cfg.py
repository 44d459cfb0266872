from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg

from yggdrasil.core.errors import InputError
from yggdrasil.core.registry import make_block
from yggdrasil.core.values import BackboneSpecValue, BranchedValue, ConditioningValue

CFG = make_block("guidance/cfg")
PLAIN = BackboneSpecValue(in_channels=4, sample_size=None)
DISTILLED = BackboneSpecValue(in_channels=4, sample_size=None, guidance_embedding=16)


def conditioning(batch=2, tokens=7, name="encoder_hidden_states"):
    return ConditioningValue(tensors={name: torch.randn(batch, tokens, 5)}, batch=batch)


def test_positive_comes_first_where_it_is_said():
    block = make_block("guidance/cfg", positive_first=True)
    assert block.branches(conditioning(), conditioning()).names == ("positive", "negative")


def test_a_distilled_model_is_never_guided():
    block = make_block("guidance/cfg", distilled=True)
    assert block.branches(conditioning(), conditioning(), 4.0).names == ("positive",)
    assert block.unused_inputs("branches", {"guidance_scale": 4.0}) == {"negative"}


def test_guidance_that_is_optional_is_off_without_a_negative_conditioning():
    block = make_block("guidance/cfg", optional=True)
    assert block.branches(conditioning(), None, 2.0).names == ("positive",)
    assert block.branches(conditioning(), conditioning(), 2.0).names == ("negative", "positive")


def test_negative_comes_first():
    positive, negative = conditioning(), conditioning()
    branches = CFG.branches(positive, negative)
    assert branches.names == ("negative", "positive")
    joined = torch.cat([part.tensors["encoder_hidden_states"] for part in (negative, positive)])
    assert torch.equal(branches.joined.tensors["encoder_hidden_states"], joined)


@pytest.mark.parametrize(
    ("scale", "backbone", "names"),
    [
        (1.0, None, ("positive",)),
        (0.0, PLAIN, ("positive",)),
        (1.01, PLAIN, ("negative", "positive")),
        (7.5, DISTILLED, ("positive",)),
    ],
)
def test_when_guidance_is_on(scale, backbone, names):
    branches = CFG.branches(conditioning(), conditioning(), scale, backbone)
    assert branches.names == names
    unused = CFG.unused_inputs("branches", {"guidance_scale": scale, "backbone": backbone})
    assert unused == ({"negative"} if len(names) == 1 else set())


def test_unused_by_default():
    assert CFG.unused_inputs("branches", {}) == set()
    assert CFG.unused_inputs("branches", {"backbone": DISTILLED}) == {"negative"}
    assert CFG.unused_inputs("combine", {"guidance_scale": 1.0}) == set()


def test_negative_is_needed():
    with pytest.raises(InputError, match=r"guidance_scale is .*, which needs a negative"):
        CFG.branches(conditioning())
    assert CFG.branches(conditioning(), None, 1.0).names == ("positive",)


def test_both_must_fit():
    with pytest.raises(InputError, match=r"\[2, 7, 5\] in the positive and \[1, 7, 5\]"):
        CFG.branches(conditioning(), conditioning(1)).joined  # noqa: B018 - made when asked for
    with pytest.raises(InputError, match="the same kind of encoder"):
        CFG.branches(conditioning(), conditioning(name="other")).joined  # noqa: B018 - the same


@pytest.mark.parity
@pytest.mark.parametrize("rescale", [0.0, 0.7])
def test_combination(rescale):
    negative, positive = torch.randn(2, 2, 4, 8, 8)
    expected = negative + 7.5 * (positive - negative)
    if rescale:
        expected = rescale_noise_cfg(expected, positive, guidance_rescale=rescale)
    prediction = BranchedValue(("negative", "positive"), (negative, positive))
    assert torch.equal(CFG.combine(prediction, 7.5, rescale), expected)


def test_without_branches_nothing_is_combined():
    tensor = torch.randn(1, 4, 8, 8)
    assert CFG.combine(tensor, 7.5, 0.7) is tensor
    assert CFG.combine(BranchedValue(("positive",), (tensor,))) is tensor


@pytest.mark.parametrize("name", ["guidance_scale", "guidance_rescale"])
@pytest.mark.parametrize("value", [math.nan, math.inf, "7", None, True, [7.5]])
def test_refused_scales(name, value):
    with pytest.raises(InputError, match=f"{name} is .*: give a finite number"):
        CFG.check_inputs("branches", {name: value})


@pytest.mark.parametrize("value", [7.5, 7, -1.0, np.float32(3.0)])
def test_accepted_scales(value):
    CFG.check_inputs("combine", {"guidance_scale": value})
