from __future__ import annotations

import numpy as np
import PIL.Image
import pytest
import torch
from diffusers.image_processor import VaeImageProcessor

from yggdrasil.core.errors import InputError
from yggdrasil.core.registry import make_block
from yggdrasil.core.values import (
    BackboneSpecValue,
    CodecSpecValue,
    LatentShapeValue,
    SolverStateValue,
)

CODEC = CodecSpecValue(channels=4, scale=8)
BACKBONE = BackboneSpecValue(in_channels=9, sample_size=(8, 16))
REFERENCE = VaeImageProcessor(
    vae_scale_factor=8, do_normalize=False, do_binarize=True, do_convert_grayscale=True
)
MASK = make_block("processor/inpaint_mask")


def painted(size=(70, 50), box=(20, 10, 40, 30)):
    mask = PIL.Image.new("L", size, 0)
    mask.paste(200, box)
    return mask


def picture(size=(70, 50)):
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return PIL.Image.fromarray(noise)


def shape(batch=2, size=(8, 8)):
    return LatentShapeValue(
        shape=(batch, 4, *size), dtype=torch.float32, device=torch.device("cpu")
    )


@pytest.mark.parametrize(
    ("given", "size"),
    [({}, (64, 128)), ({"height": 32}, (32, 128)), ({"height": 8, "width": 16}, (8, 16))],
)
def test_size(given, size):
    assert MASK.size(painted(), CODEC, BACKBONE, **given) == size
    assert list(MASK.ops()["size"].outputs) == ["height", "width"]


def test_no_size():
    backbone = BackboneSpecValue(in_channels=9, sample_size=None)
    assert MASK.size(painted(), CODEC, backbone, 8, 16) == (8, 16)
    with pytest.raises(InputError, match="no sample_size"):
        MASK.size(painted(), CODEC, backbone, 8)


@pytest.mark.parity
@pytest.mark.parametrize("given", [{}, {"height": 64, "width": 64}])
def test_region(given):
    height, width = MASK.size(painted(), CODEC, BACKBONE, **given)
    expected = REFERENCE.get_crop_region(painted(), width, height, pad=5)
    assert MASK.region(painted(), 5, CODEC, BACKBONE, **given) == expected


def test_region_of_nothing():
    with pytest.raises(InputError, match="mask_image is black everywhere"):
        MASK.region(PIL.Image.new("L", (8, 8)), 5, CODEC, BACKBONE)
    with pytest.raises(InputError, match=r"Tensor of shape \[1, 8, 8\], and padding_mask_crop"):
        MASK.region(torch.zeros(1, 8, 8), 5, CODEC, BACKBONE)


@pytest.mark.parity
@pytest.mark.parametrize("crop", [None, (10, 5, 60, 45)])
def test_preprocess(crop):
    image = torch.zeros(1, 3, 64, 72)
    mode = {} if crop is None else {"resize_mode": "fill", "crops_coords": crop}
    expected = REFERENCE.preprocess(painted(), height=64, width=72, **mode)
    mask = MASK.preprocess(painted(), CODEC, image, crop)
    assert torch.equal(mask, expected)
    assert set(mask.unique().tolist()) == {0.0, 1.0}


def test_preprocess_for_latents():
    assert MASK.preprocess(painted(), CODEC, torch.zeros(1, 4, 8, 9)).shape == (1, 1, 64, 72)


def test_preprocess_leaves_the_callers_mask_alone():
    given = torch.rand(1, 1, 64, 64)
    before = given.clone()
    MASK.preprocess(given, CODEC, torch.zeros(1, 3, 64, 64))
    assert torch.equal(given, before)


def test_unreadable_mask():
    with pytest.raises(InputError, match="mask_image cannot be read"):
        MASK.preprocess("mask.png", CODEC, torch.zeros(1, 3, 64, 64))


def test_cover():
    image, mask = torch.randn(2, 3, 8, 8), (torch.rand(1, 1, 8, 8) > 0.5).float()
    assert torch.equal(MASK.cover(image, mask), image * (mask < 0.5))
    with pytest.raises(InputError, match="masked_image_latents"):
        MASK.cover(torch.randn(1, 4, 1, 1), mask)


@pytest.mark.parity
@pytest.mark.parametrize("count", [1, 2, 4])
def test_resize(count):
    mask = (torch.rand(count, 1, 64, 64) > 0.5).float()
    expected = torch.nn.functional.interpolate(mask, size=(8, 8)).repeat(4 // count, 1, 1, 1)
    assert torch.equal(MASK.resize(mask, shape(4)), expected)


def test_resize_to_a_batch_that_does_not_fit():
    with pytest.raises(InputError, match="2 masks cannot be shared out to a batch of 3"):
        MASK.resize(torch.zeros(2, 1, 64, 64), shape(3))


@pytest.mark.parity
def test_a_part_is_put_into_its_whole():
    crop = (10, 5, 60, 45)
    image = torch.rand(2, 3, 64, 64) * 2 - 1
    made = REFERENCE.numpy_to_pil(REFERENCE.pt_to_numpy(REFERENCE.denormalize(image)))
    expected = [REFERENCE.apply_overlay(painted(), picture(), each, crop) for each in made]
    given = {"original": picture(), "mask_image": painted()}
    block = make_block("processor/vae_image")
    result = block.postprocess(image, crop=crop, **given)
    assert [np.array_equal(a, b) for a, b in zip(result, expected, strict=True)] == [True, True]
    assert np.array_equal(block.postprocess(image, **given)[0], made[0])
    with pytest.raises(InputError, match="output_type is 'np', and padding_mask_crop gives PIL"):
        block.postprocess(image, "np", crop=crop, **given)
    with pytest.raises(InputError, match="mask_image is NoneType"):
        block.postprocess(image, original=picture(), crop=crop)


@pytest.mark.parametrize(
    ("op", "known", "message"),
    [
        ("size", {"codec": CODEC, "height": 30}, "height=32"),
        ("region", {"padding_mask_crop": -1}, "padding_mask_crop is -1"),
    ],
)
def test_refused_inputs(op, known, message):
    with pytest.raises(InputError, match=message):
        MASK.check_inputs(op, known)
    MASK.check_inputs("region", {"height": 30, "padding_mask_crop": 0})


def test_blend():
    latents, known, mask = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8), torch.rand(2, 1, 8, 8)
    state = SolverStateValue(latents=latents, timesteps=torch.arange(3), index=1)
    blended = make_block("processor/inpaint_blend").blend(state, known, mask)
    assert torch.equal(blended.latents, (1 - mask) * known + mask * latents)
    assert blended.index == 1
    assert state.latents is latents


def test_blending_is_not_for_a_backbone_that_reads_the_mask():
    block = make_block("processor/inpaint_blend")
    reading = BackboneSpecValue(in_channels=9, sample_size=None, reads_mask=True)
    assert block.declines("blend", {"backbone": reading})
    steered = BackboneSpecValue(in_channels=8, sample_size=None)
    assert not block.declines("blend", {"backbone": steered})
    assert not block.declines("blend", {})


def test_what_nothing_reads_is_drawn_only_where_it_is_asked_for():
    block = make_block("processor/inpaint_blend")
    assert block.unused_inputs("blend", {}) == {"covered", "masked"}
    assert block.unused_inputs("blend", {"unread": "covered"}) == {"masked"}
    with pytest.raises(InputError, match=r"unread is 'maskd'.*masked"):
        block.check_inputs("blend", {"unread": "maskd"})


def test_channels():
    mask, masked = torch.rand(4, 1, 8, 8), torch.randn(2, 4, 8, 8)
    channels = make_block("processor/inpaint_channels").join(mask, masked)
    assert torch.equal(channels, torch.cat([mask, masked.repeat(2, 1, 1, 1)], dim=1))
    with pytest.raises(InputError, match="3 masked pictures cannot be shared out"):
        make_block("processor/inpaint_channels").join(mask, torch.randn(3, 4, 8, 8))
