from __future__ import annotations

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
