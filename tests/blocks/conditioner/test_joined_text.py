from __future__ import annotations

import pytest
import torch

from yggdrasil.core.errors import InputError
from yggdrasil.core.registry import make_block
from yggdrasil.core.values import BackboneSpecValue, TextStatesValue

BACKBONE = BackboneSpecValue(in_channels=16, sample_size=None, text_width=8)
SETTINGS = {"tokens": [["l", "g"], ["t5"]], "pooled": ["l", "g"], "filled": ["t5"]}


def part(name, width, tokens=3, pooled=None):
    vector = None if pooled is None else torch.ones(2, pooled)
    states = torch.full((2, tokens, width), float(width)).half()
    return TextStatesValue(encoder=name, states=states, pooled=vector)


PARTS = (part("l", 2, pooled=1), part("g", 4, pooled=2))


def test_states_stand_side_by_side_and_one_behind_the_other():
    made = make_block("conditioner/joined_text", **SETTINGS).encode("a", (*PARTS, part("t5", 8, 5)))
    states = made.tensors["encoder_hidden_states"]
    assert states.shape == (2, 3 + 5, 8)
    assert states[0, 0].tolist() == [2, 2, 4, 4, 4, 4, 0, 0]
    assert states[0, 3].tolist() == [8] * 8
    assert made.tensors["pooled_projections"].shape == (2, 3)


def test_an_encoder_that_is_not_there_is_filled_with_zeros():
    block = make_block("conditioner/joined_text", **SETTINGS)
    made = block.encode("a", PARTS, BACKBONE, max_sequence_length=5)
    states = made.tensors["encoder_hidden_states"]
    assert states.shape == (2, 3 + 5, 8)
    assert states.dtype == torch.float16
    assert not states[:, 3:].any()


def test_an_encoder_that_is_not_to_be_filled_is_left_out():
    block = make_block("conditioner/joined_text", **{**SETTINGS, "filled": []})
    made = block.encode("a", PARTS, BACKBONE, max_sequence_length=5)
    assert made.tensors["encoder_hidden_states"].shape == (2, 3, 6)


def test_no_encoder_at_all_is_refused():
    with pytest.raises(InputError, match="No text encoder gives any of"):
        make_block("conditioner/joined_text", **SETTINGS).encode("a", (), BACKBONE)
