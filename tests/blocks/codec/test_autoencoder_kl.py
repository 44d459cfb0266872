from __future__ import annotations

import pytest
import torch
from diffusers import AutoencoderKL

from tests.tiny_models import randomize, tiny_vae
from yggdrasil.blocks.codec.posterior import PosteriorValue
from yggdrasil.core.errors import InputError
from yggdrasil.core.registry import make_block
from yggdrasil.core.values import CodecSpecValue

VAE = randomize(tiny_vae(), 0)


def block(vae=VAE):
    return make_block("codec/autoencoder_kl").give(vae=vae)


def seeds(count):
    return [torch.Generator().manual_seed(number) for number in range(count)]


def pictures(count=2):
    return torch.rand(count, 3, 64, 64, generator=seeds(1)[0]) * 2 - 1


def shifted():
    config = {**VAE.config, "scaling_factor": 1.5, "shift_factor": 0.25}
    del config["_use_default_values"]
    vae = AutoencoderKL.from_config(config)
    return randomize(vae, 0)


def test_spec():
    assert block().spec() == CodecSpecValue(channels=4, scale=8)


def test_spec_of_an_old_file():
    class Source:
        def config(self, slot):
            return {"block_out_channels": [8, 8]}

    codec = make_block("codec/autoencoder_kl").load_from(vae=Source())
    assert codec.spec() == CodecSpecValue(channels=4, scale=2)


@pytest.mark.parity
@torch.no_grad()
def test_there():
    image = pictures()
    expected = VAE.config.scaling_factor * VAE.encode(image).latent_dist.sample(seeds(1)[0])
    codec = block()
    assert torch.equal(codec.sample(codec.encode(image), seeds(1)[0]), expected)


@pytest.mark.parity
@torch.no_grad()
def test_and_back():
    latents = torch.randn(2, 4, 8, 8)
    expected = VAE.decode(latents / VAE.config.scaling_factor, return_dict=False)[0]
    assert torch.equal(block().decode(latents), expected)


@torch.no_grad()
def test_shift():
    vae = shifted()
    image, codec = pictures(), block(vae)
    raw = vae.encode(image).latent_dist.sample(seeds(1)[0])
    latents = codec.sample(codec.encode(image), seeds(1)[0])
    assert torch.equal(latents, (raw - 0.25) * 1.5)
    assert torch.equal(codec.decode(latents), vae.decode(latents / 1.5 + 0.25).sample)


@torch.no_grad()
def test_one_by_one():
    image, codec = pictures(3), block()
    alone = torch.cat([VAE.encode(image[i : i + 1]).latent_dist.parameters for i in range(3)])
    assert torch.equal(codec.encode(image, one_by_one=True).parameters, alone)
    together = VAE.encode(image).latent_dist.parameters
    assert torch.equal(codec.encode(image).parameters, together)


@torch.no_grad()
def test_a_single_draw_is_repeated():
    codec = block()
    posterior = codec.encode(pictures(2))
    once = codec.sample(posterior, seeds(1)[0])
    for duplicate in ("posterior", "latents"):
        latents = codec.sample(posterior, seeds(1)[0], 6, duplicate)
        assert torch.equal(latents, torch.cat([once] * 3))


@torch.no_grad()
def test_a_generator_each():
    codec = block()
    posterior = codec.encode(pictures(1))
    each = [codec.sample(posterior, generator) for generator in seeds(3)]
    assert torch.equal(codec.sample(posterior, seeds(3), 3), torch.cat(each))
    latents = codec.sample(posterior, seeds(3), 3, "latents")
    assert torch.equal(latents, torch.cat([each[0]] * 3))


@torch.no_grad()
def test_repeated_latents_are_contiguous_as_in_diffusers():
    # Convolutions round otherwise in another memory format.
    codec = block()
    posterior = codec.encode(pictures(1).contiguous(memory_format=torch.channels_last))
    assert codec.sample(posterior, None, 1, "latents").is_contiguous()


@torch.no_grad()
def test_latents_are_taken_as_they_are():
    codec, latents = block(), torch.randn(1, 4, 8, 8)
    posterior = codec.encode(latents)
    assert posterior.certain
    generator = seeds(1)[0]
    state = generator.get_state()
    assert torch.equal(codec.sample(posterior, generator, 2), torch.cat([latents] * 2))
    assert torch.equal(generator.get_state(), state)
    assert torch.equal(posterior.mode(), latents)


def test_wrong_channels():
    with pytest.raises(InputError, match="has 1 channels; the VAE reads 3, or latents of 4"):
        block().encode(torch.randn(1, 1, 64, 64))


@torch.no_grad()
def test_wrong_batches():
    codec = block()
    posterior = codec.encode(pictures(2))
    with pytest.raises(InputError, match="2 pictures cannot be shared out to a batch of 3"):
        codec.sample(posterior, None, 3)
    with pytest.raises(InputError, match="2 pictures cannot be shared out to a batch of 1"):
        codec.sample(posterior, None, 1)
    with pytest.raises(InputError, match="3 generators were given for a batch of 4"):
        codec.sample(posterior, seeds(3), 4)


@torch.no_grad()
def test_divergence():
    posterior = block().encode(pictures(2))
    expected = VAE.encode(pictures(2)).latent_dist
    assert torch.equal(posterior.kl(), expected.kl())
    assert torch.equal(posterior.mode(), expected.mode())
    assert posterior.kl().shape == (2,)
    with pytest.raises(InputError, match="latents already"):
        PosteriorValue(parameters=torch.zeros(1, 4, 8, 8), certain=True).kl()


def test_half_precision_in():
    assert block().encode(pictures(1).half()).parameters.dtype == torch.float32


def test_gradients_reach_both_halves():
    vae = randomize(tiny_vae(), 1)
    codec = block(vae)
    codec.decode(codec.sample(codec.encode(pictures(1)))).sum().backward()
    assert all(parameter.grad is not None for parameter in vae.parameters())


@torch.no_grad()
def test_latents_are_scaled_for_a_caller_who_encoded():
    raw = torch.randn(1, 4, 8, 8, generator=seeds(1)[0])
    assert torch.equal(block(shifted()).scale(raw), (raw - 0.25) * 1.5)


@torch.no_grad()
def test_a_shift_may_be_left_in_when_decoding():
    vae = shifted()
    latents = torch.randn(1, 4, 8, 8, generator=seeds(1)[0])
    left = block(vae).decode(latents, shifted=False)
    assert torch.equal(left, vae.decode(latents / 1.5, return_dict=False)[0])
    assert not torch.equal(left, block(vae).decode(latents))
