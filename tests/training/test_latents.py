from __future__ import annotations

import pytest
import torch
from diffusers import AutoencoderKL

from tests.tiny_models import randomize, tiny_vae
from yggdrasil.core.errors import ConfigError
from yggdrasil.training.latents import normalize_latents


@pytest.fixture
def vae():
    return randomize(tiny_vae(), 3)


@pytest.fixture
def pictures():
    return torch.rand((8, 3, 64, 64), generator=torch.Generator().manual_seed(0)) * 2 - 1


@torch.no_grad()
def test_latents_get_mean_0_and_variance_1_and_pictures_stay_as_they_were(vae, pictures):
    def composed():
        return vae.decode(vae.encode(pictures).latent_dist.mean).sample

    before, raw = composed(), vae.encode(pictures).latent_dist
    mean, deviation = normalize_latents(vae, pictures.split(3))
    after, dist = composed(), vae.encode(pictures).latent_dist
    torch.testing.assert_close(after, before, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(dist.mean.mean((0, 2, 3)), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(dist.mean.std((0, 2, 3)), torch.ones(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(mean, raw.mean.mean((0, 2, 3)))
    scaled = raw.std / deviation[:, None, None]
    torch.testing.assert_close(dist.std, scaled, atol=1e-5, rtol=1e-4)


def test_the_scale_is_1_and_is_saved(vae, pictures, tmp_path):
    assert vae.config.scaling_factor != 1.0
    normalize_latents(vae, [pictures])
    vae.save_pretrained(tmp_path)
    loaded = AutoencoderKL.from_pretrained(tmp_path)
    assert loaded.config.scaling_factor == 1.0
    assert loaded.config.shift_factor is None


def test_latents_that_do_not_vary_leave_the_autoencoder_as_it_is(vae, pictures):
    with torch.no_grad():
        vae.quant_conv.weight[1].zero_()
    before = {name: each.clone() for name, each in vae.state_dict().items()}
    with pytest.raises(ConfigError, match="A channel of the latents is the same everywhere"):
        normalize_latents(vae, [pictures])
    assert all(torch.equal(each, before[name]) for name, each in vae.state_dict().items())
    assert vae.config.scaling_factor != 1.0


def test_an_autoencoder_without_quant_convolutions_is_refused(pictures):
    vae = AutoencoderKL(use_quant_conv=False, use_post_quant_conv=False)
    with pytest.raises(ConfigError, match="needs an autoencoder with quant convolutions"):
        normalize_latents(vae, [pictures])
