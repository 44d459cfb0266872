from __future__ import annotations

import pytest
import torch
from PIL import Image

from tests.pipelines.pictures import picture
from yggdrasil.core.errors import InputError
from yggdrasil.core.registry import make_block
from yggdrasil.core.values import BackboneSpecValue, CodecSpecValue

CODEC = CodecSpecValue(channels=16, scale=16)
BACKBONE = BackboneSpecValue(in_channels=16, sample_size=(4, 4), patch=1)
BLOCK = make_block("processor/reference_pictures")


def test_each_keeps_its_size_but_for_what_is_no_whole_token():
    made = BLOCK.preprocess([picture(100, 70), picture(64, 130)], CODEC, BACKBONE)
    assert [each.shape for each in made] == [(1, 3, 64, 96), (1, 3, 128, 64)]


def test_the_middle_is_kept():
    striped = Image.new("RGB", (68, 64), "black")
    striped.paste("white", (2, 0, 66, 64))
    (made,) = BLOCK.preprocess(striped, CODEC, BACKBONE)
    assert torch.equal(made, torch.ones(1, 3, 64, 64))


def test_a_large_picture_is_made_smaller():
    small = make_block("processor/reference_pictures", area=64 * 64)
    (made,) = small.preprocess(picture(256, 64), CODEC, BACKBONE)
    assert made.shape == (1, 3, 32, 128)
    assert small.fit(picture(256, 64), CODEC, BACKBONE)[1:] == (32, 128)


def test_a_picture_to_begin_with_may_be_anything_that_is_one():
    assert BLOCK.fit(torch.zeros(1, 3, 70, 100), CODEC, BACKBONE)[1:] == (64, 96)
    assert BLOCK.fit(torch.zeros(1, 16, 4, 6), CODEC, BACKBONE)[1:] == (64, 96)
    assert BLOCK.fit([picture(100, 70).convert("L")], CODEC, BACKBONE)[1:] == (64, 96)
    with pytest.raises(InputError, match="cannot be read as pictures"):
        BLOCK.fit("a.png", CODEC, BACKBONE)


def test_pictures_that_cannot_be_are_refused():
    with pytest.raises(InputError, match="at least 64 on each side"):
        BLOCK.preprocess(picture(32, 90), CODEC, BACKBONE)
    with pytest.raises(InputError, match="There are 2 pictures"):
        BLOCK.preprocess([picture(), picture()], CODEC, BACKBONE, single=True)
    assert len(BLOCK.preprocess(picture(32, 90), CODEC, BACKBONE, single=True)) == 1


def test_where_there_are_sizes_all_are_brought_to_the_one_nearest_to_the_first():
    trained = make_block("processor/reference_pictures", sizes=[[32, 64], [64, 64], [64, 32]])
    (made,) = trained.preprocess([picture(100, 40), picture(64, 64)], CODEC, BACKBONE)
    assert made.shape == (2, 3, 32, 64)
    (own,) = trained.preprocess(picture(100, 40), CODEC, BACKBONE, auto_resize=False)
    assert own.shape == (1, 3, 32, 96)
    latents = torch.zeros(1, 16, 4, 6)
    assert trained.preprocess(latents, CODEC, BACKBONE)[0] is latents
    with pytest.raises(InputError, match="cannot be read as pictures"):
        trained.preprocess("a.png", CODEC, BACKBONE)
