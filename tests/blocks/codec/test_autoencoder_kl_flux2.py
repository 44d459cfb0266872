from __future__ import annotations

import torch

from tests.tiny_flux2 import tiny_flux2
from yggdrasil.core.registry import make_block
from yggdrasil.core.values import CodecSpecValue

PIPE = tiny_flux2()
BLOCK = make_block("codec/autoencoder_kl_flux2").give(vae=PIPE.vae)
PICTURE = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_a_latent_pixel_is_a_square_of_the_encoder():
    assert BLOCK.spec() == CodecSpecValue(channels=16, scale=16)


@torch.no_grad()
def test_latents_are_those_of_diffusers():
    latents = BLOCK.mode(BLOCK.encode(PICTURE))
    assert latents.shape == (1, 16, 4, 6)
    assert torch.equal(latents, PIPE._encode_vae_image(PICTURE, None))


@torch.no_grad()
def test_what_is_scaled_is_unscaled():
    raw = torch.randn(2, 4, 8, 12, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(BLOCK.raw(BLOCK.scaled(raw)), raw, atol=1e-5)


@torch.no_grad()
def test_latents_in_the_place_of_a_picture_are_normed():
    given = torch.randn(1, 16, 4, 4, generator=torch.Generator().manual_seed(1))
    taken = BLOCK.mode(BLOCK.encode(given))
    mean = PIPE.vae.bn.running_mean.view(1, -1, 1, 1)
    assert torch.allclose(
        taken * (PIPE.vae.bn.running_var.view(1, -1, 1, 1) + 1e-4) ** 0.5 + mean, given, atol=1e-5
    )


@torch.no_grad()
def test_pictures_of_several_sizes_are_encoded_one_by_one():
    first, second = BLOCK.modes((PICTURE, PICTURE[..., :64]))
    assert torch.equal(first, BLOCK.mode(BLOCK.encode(PICTURE)))
    assert second.shape == (1, 16, 4, 4)


@torch.no_grad()
def test_the_likeliest_latents_need_no_generator():
    posterior = BLOCK.encode(PICTURE)
    assert torch.equal(BLOCK.sample(posterior, likeliest=True), BLOCK.mode(posterior))
    assert BLOCK.unused_inputs("sample", {"likeliest": True}) == {"generator"}
