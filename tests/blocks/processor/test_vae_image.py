from __future__ import annotations

import numpy as np
import PIL.Image
import pytest
import torch
from diffusers.image_processor import VaeImageProcessor

from yggdrasil.core.errors import ConfigError, InputError
from yggdrasil.core.registry import make_block
from yggdrasil.core.values import CodecSpecValue

CODEC = CodecSpecValue(channels=4, scale=8)
REFERENCE = VaeImageProcessor(vae_scale_factor=8)
PICTURES = make_block("processor/vae_image")


def array(number=0, size=(50, 70)):
    return np.random.default_rng(number).random((*size, 3), dtype=np.float32)


def pil(number=0, size=(50, 70)):
    return PIL.Image.fromarray((array(number, size) * 255).astype(np.uint8))


@pytest.mark.parity
@pytest.mark.parametrize(
    "pictures",
    [
        pil(),
        [pil(0), pil(1)],
        array()[None],
        [array(0), array(1)],
        torch.from_numpy(array()).permute(2, 0, 1)[None],
        [torch.from_numpy(array(n)).permute(2, 0, 1) for n in (0, 1)],
        torch.randn(1, 4, 8, 8),
    ],
    ids=["pil", "pils", "array", "arrays", "tensor", "tensors", "latents"],
)
@pytest.mark.parametrize("size", [{}, {"height": 32, "width": 40}])
def test_preprocess(pictures, size):
    expected = REFERENCE.preprocess(pictures, **size)
    image = PICTURES.preprocess(pictures, CODEC, **size)
    assert torch.equal(image, expected)
    assert image.stride() == expected.stride()


@pytest.mark.parity
def test_crop():
    crop = (10, 5, 60, 45)
    expected = REFERENCE.preprocess(
        pil(), height=64, width=64, resize_mode="fill", crops_coords=crop
    )
    assert torch.equal(PICTURES.preprocess(pil(), CODEC, 64, 64, crop), expected)


@pytest.mark.parity
@pytest.mark.parametrize("output_type", ["pil", "np", "pt"])
def test_postprocess(output_type):
    image = torch.randn(2, 3, 16, 24)
    expected = REFERENCE.postprocess(image, output_type, [True, True])
    result = PICTURES.postprocess(image, output_type)
    assert type(result) is type(expected)
    assert all(np.array_equal(a, b) for a, b in zip(result, expected, strict=True))


@pytest.mark.parity
def test_options():
    block = make_block("processor/vae_image", resample="bilinear", do_convert_rgb=True)
    grey = pil().convert("L")
    expected = VaeImageProcessor(resample="bilinear", do_convert_rgb=True).preprocess(grey)
    assert torch.equal(block.preprocess(grey, CODEC), expected)
    depth = make_block("processor/vae_image", do_convert_grayscale=True, do_normalize=False)
    assert depth.preprocess(pil(), CODEC).shape == (1, 1, 48, 64)
    assert depth.preprocess(pil(), CODEC).min() >= 0


def test_three_latent_channels_are_not_mixed_up_with_pictures():
    image = torch.rand(1, 3, 16, 16)
    codec = CodecSpecValue(channels=3, scale=8)
    assert torch.equal(PICTURES.preprocess(image, codec), 2 * image - 1)


def test_unreadable_pictures():
    with pytest.raises(InputError, match=r"image cannot be read as pictures \(str\)"):
        PICTURES.preprocess("cat.png", CODEC)
    with pytest.raises(InputError, match="a list of str"):
        PICTURES.preprocess(["cat.png"], CODEC)


def test_only_pil_is_cropped():
    with pytest.raises(InputError, match=r"ndarray of shape \[50, 70, 3\], and padding_mask_crop"):
        PICTURES.preprocess(array(), CODEC, 64, 64, (0, 0, 8, 8))


@pytest.mark.parametrize(
    ("op", "known", "message"),
    [
        ("postprocess", {"output_type": "pill"}, "output_type is 'pill'.*Did you mean 'pil'"),
        ("postprocess", {"output_type": "latent"}, "ask for the output `latents`"),
        ("preprocess", {"codec": CODEC, "height": 30}, "height=32"),
        ("preprocess", {"width": 0}, "width is 0"),
    ],
)
def test_refused_inputs(op, known, message):
    with pytest.raises(InputError, match=message):
        PICTURES.check_inputs(op, known)


def test_accepted_inputs():
    PICTURES.check_inputs("postprocess", {"output_type": "np"})
    PICTURES.check_inputs("preprocess", {"height": 30, "width": None})


def test_unknown_output_type_at_the_op():
    with pytest.raises(InputError, match="Did you mean 'pt'"):
        PICTURES.postprocess(torch.zeros(1, 3, 8, 8), "ptt")


def test_refused_options():
    with pytest.raises(ConfigError, match="Did you mean 'lanczos'"):
        make_block("processor/vae_image", resample="lanzcos")
    with pytest.raises(ConfigError, match="a picture is either"):
        make_block("processor/vae_image", do_convert_rgb=True, do_convert_grayscale=True)
