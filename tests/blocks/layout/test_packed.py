from __future__ import annotations

import logging

import pytest
import torch
from diffusers import Flux2Pipeline, FluxPipeline

from yggdrasil.blocks.layout.packed import PackedLayout
from yggdrasil.core.errors import InputError
from yggdrasil.core.values import (
    BackboneSpecValue,
    BranchedConditioningValue,
    CodecSpecValue,
    ConditioningValue,
    LatentShapeValue,
)

CODEC = CodecSpecValue(channels=4, scale=8)
BACKBONE = BackboneSpecValue(in_channels=4, sample_size=(16, 16))
LATENTS = torch.arange(2 * 4 * 6 * 8, dtype=torch.float32).reshape(2, 4, 6, 8)
SHAPE = LatentShapeValue(shape=(2, 4, 6, 8), dtype=torch.float32, device=torch.device("cpu"))
TEXT = ConditioningValue(tensors={"encoder_hidden_states": torch.zeros(2, 5, 7)}, batch=2)
LAYOUT = PackedLayout()


def test_squares_become_tokens_as_diffusers_packs_them():
    packed = LAYOUT.pack(LATENTS)
    assert torch.equal(packed, FluxPipeline._pack_latents(LATENTS, 2, 4, 6, 8))
    assert packed.shape == (2, LAYOUT.tokens(SHAPE), 16)


def test_what_is_packed_is_unpacked_whole():
    assert torch.equal(LAYOUT.unpack(LAYOUT.pack(LATENTS), SHAPE), LATENTS)
    turned = LATENTS.to(memory_format=torch.channels_last)
    assert torch.equal(LAYOUT.pack(turned), LAYOUT.pack(LATENTS))


def test_a_mask_covers_every_channel_of_a_token():
    mask = torch.zeros(1, 1, 6, 8)
    mask[..., 2, 3] = 1
    packed = LAYOUT.pack_mask(mask, CODEC)
    assert packed.shape == (1, 12, 16)
    assert packed[0].sum(dim=1).nonzero().tolist() == [[5]]
    assert packed.sum() == 4


def test_positions_are_those_of_diffusers_and_of_a_second_grid():
    other = torch.zeros(2, 4, 2, 4)
    extras = LAYOUT.positions(SHAPE, TEXT, (other,))
    first = FluxPipeline._prepare_latent_image_ids(2, 3, 4, "cpu", torch.float32)
    second = FluxPipeline._prepare_latent_image_ids(2, 1, 2, "cpu", torch.float32)
    second[..., 0] = 1
    assert torch.equal(extras.shared["img_ids"], torch.cat([first, second]))
    assert torch.equal(extras.shared["txt_ids"], torch.zeros(5, 3))
    assert extras.tensors["reference"].shape == (2, 2, 16)


def test_positions_of_four_numbers_are_those_of_diffusers():
    layout = PackedLayout(side=1, axes=4, text_axis=3, apart=10, rounded=False)
    pictures = (torch.zeros(1, 4, 2, 3), torch.zeros(1, 4, 4, 1))
    extras = layout.positions(SHAPE, TEXT, references=pictures)
    first = Flux2Pipeline._prepare_latent_ids(LATENTS)[0]
    others = Flux2Pipeline._prepare_image_ids(list(pictures))[0]
    assert torch.equal(extras.shared["img_ids"], torch.cat([first, others]).float())
    text = Flux2Pipeline._prepare_text_ids(TEXT.tensors["encoder_hidden_states"])[0]
    assert torch.equal(extras.shared["txt_ids"], text.float())
    assert extras.tensors["reference"].shape == (1, 10, 4)
    assert torch.equal(layout.pack(LATENTS), Flux2Pipeline._pack_latents(LATENTS))
    assert torch.equal(layout.unpack(layout.pack(LATENTS), SHAPE), LATENTS)


def test_the_longest_text_of_all_branches_counts():
    longer = ConditioningValue(tensors={"encoder_hidden_states": torch.zeros(2, 9, 7)}, batch=2)
    branches = BranchedConditioningValue.of({"positive": TEXT, "negative": longer})
    assert LAYOUT.positions(SHAPE, branches).shared["txt_ids"].shape == (9, 3)


def test_the_picture_that_a_run_begins_with_is_read_where_no_other_is_given():
    begun, other = torch.ones(2, 4, 6, 8), torch.zeros(2, 4, 2, 4)

    def read(references=(), **how):
        return LAYOUT.positions(SHAPE, TEXT, references, begun, **how).tensors.get("reference")

    assert torch.equal(read(reads_begun="alone"), LAYOUT.pack(begun))
    assert torch.equal(read((other,), reads_begun="alone"), LAYOUT.pack(other))
    both = torch.cat([LAYOUT.pack(begun), LAYOUT.pack(other)], dim=1)
    assert torch.equal(read((other,), reads_begun="first"), both)
    assert read() is None
    assert LAYOUT.unused_inputs("positions", {}) == {"begun"}
    assert LAYOUT.unused_inputs("positions", {"reads_begun": "first"}) == set()


@pytest.mark.parametrize(
    ("given", "size"),
    [
        ({}, (128, 128)),
        ({"height": 70}, (64, 128)),
        ({"height": 70, "width": 90}, (64, 80)),
        ({"height": 40, "width": 128, "max_area": 4096}, (32, 112)),
    ],
)
def test_sizes_are_whole_tokens(given, size):
    assert LAYOUT.size(CODEC, BACKBONE, **given) == size


def test_sizes_that_are_made_smaller_are_told(caplog):
    caplog.set_level(logging.WARNING)
    LAYOUT.check_inputs("size", {"codec": CODEC, "height": 64, "width": 80})
    assert not caplog.text
    LAYOUT.check_inputs("size", {"codec": CODEC, "height": 64, "width": 90})
    assert "64 pixels high and 80 wide in the place of 64 and 90" in caplog.text


@pytest.mark.parametrize("known", [{"height": 8}, {"width": 16.0}, {"max_area": 255}])
def test_sizes_that_cannot_be_are_refused(known):
    with pytest.raises(InputError, match=next(iter(known))):
        LAYOUT.check_inputs("size", {"codec": CODEC, **known})
    with pytest.raises(InputError, match="side is 0"):
        PackedLayout(side=0)
