from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from yggdrasil.core.errors import InputError
from yggdrasil.core.registry import make_block
from yggdrasil.core.values import BackboneSpecValue, CodecSpecValue, ConditioningValue

LAYOUT = make_block("layout/image")
CODEC = CodecSpecValue(channels=4, scale=8)
BACKBONE = BackboneSpecValue(in_channels=9, sample_size=(8, 16))
CONDITIONING = ConditioningValue(tensors={"text": torch.zeros(3, 2, 2).half()}, batch=3)


@pytest.mark.parametrize(
    ("given", "size"),
    [
        ({}, (8, 16)),
        ({"height": 80, "width": 40}, (10, 5)),
        ({"height": 80}, (8, 16)),
        ({"width": 40}, (8, 16)),
        ({"image": torch.zeros(1, 3, 24, 32), "height": 80, "width": 40}, (3, 4)),
        ({"image": torch.zeros(1, 4, 24, 32)}, (24, 32)),
    ],
)
def test_size(given, size):
    shape = LAYOUT.shape(CONDITIONING, CODEC, BACKBONE, **given)
    assert shape.shape == (3, 4, *size)
    assert shape.dtype == torch.float16
    assert shape.device.type == "cpu"


def test_three_channels_are_a_picture():
    codec = CodecSpecValue(channels=3, scale=4)
    shape = LAYOUT.shape(CONDITIONING, codec, BACKBONE, torch.zeros(1, 3, 24, 32))
    assert shape.shape == (3, 3, 6, 8)


def test_nothing_tells_the_size():
    backbone = BackboneSpecValue(in_channels=4, sample_size=None)
    with pytest.raises(InputError, match="has no sample_size"):
        LAYOUT.shape(CONDITIONING, CODEC, backbone)


def test_match():
    latents = torch.zeros(2, 4, 5, 6, dtype=torch.float64)
    shape = LAYOUT.match(latents)
    assert (shape.shape, shape.dtype) == ((2, 4, 5, 6), torch.float64)


def test_batch():
    assert LAYOUT.batch(CONDITIONING) == 3
    assert list(LAYOUT.ops()["batch"].outputs) == ["batch"]


@pytest.mark.parametrize(
    ("known", "message"),
    [
        ({"height": 513}, "height is 513: it must be a multiple of 8 pixels.*height=512"),
        ({"width": 3}, "width is 3: .*width=8"),
        ({"width": -8}, "width is -8: give a whole number"),
        ({"height": 512.0}, "height is 512.0: give a whole number"),
        ({"height": 0}, "height is 0"),
    ],
)
def test_refused_sizes(known, message):
    with pytest.raises(InputError, match=message):
        LAYOUT.check_inputs("shape", known)


def test_accepted_sizes():
    LAYOUT.check_inputs("shape", {"height": None, "width": 520})
    with pytest.raises(InputError, match="multiple of 16"):
        make_block("layout/image", multiple=16).check_inputs("shape", {"width": 520})


def test_pictures_are_brought_to_the_size_of_the_run_where_a_family_resizes():
    resizing = make_block("layout/image", resizes=True)
    assert resizing.size(CODEC, BACKBONE) == (64, 128)
    assert resizing.size(CODEC, BACKBONE, height=80) == (80, 128)
    assert not resizing.declines("size", {})
    assert LAYOUT.declines("size", {})


def test_tokens():
    patched = replace(BACKBONE, patch=2)
    assert LAYOUT.tokens(torch.zeros(1, 4, 8, 12), patched) == 4 * 6
    assert LAYOUT.declines("tokens", {"backbone": BACKBONE})
    assert not LAYOUT.declines("tokens", {"backbone": patched})


def test_sizes_are_multiples_of_what_a_token_covers():
    known = {"codec": CODEC, "backbone": replace(BACKBONE, patch=2), "height": 72}
    LAYOUT.check_inputs("shape", known)
    with pytest.raises(InputError, match="a multiple of 16 pixels"):
        make_block("layout/image", multiple=None).check_inputs("shape", known)


def test_sizes_without_positions_are_refused():
    known = {"codec": CODEC, "backbone": replace(BACKBONE, largest=(24, 12))}
    LAYOUT.check_inputs("shape", {**known, "height": 192, "width": 96})
    with pytest.raises(InputError, match="positions for 96 pixels at most; give width=96 or less"):
        LAYOUT.check_inputs("shape", {**known, "width": 104})
