from __future__ import annotations

import pytest
import torch

from yggdrasil.core.errors import ConfigError, InputError
from yggdrasil.core.registry import make_block

LATENTS = torch.zeros(5, 4, 8, 8)


def seeds(count):
    return [torch.Generator().manual_seed(number) for number in range(count)]


def test_as_the_training_scripts_of_diffusers_draw():
    drawn = make_block("timesteps/uniform").sample(LATENTS, seeds(1)[0])
    expected = torch.randint(0, 1000, (5,), generator=seeds(1)[0])
    assert torch.equal(drawn, expected)
    assert drawn.dtype == torch.int64


def test_range():
    drawn = make_block("timesteps/uniform", num_train_timesteps=3).sample(torch.zeros(500, 1))
    assert set(drawn.tolist()) == {0, 1, 2}


def test_a_generator_each():
    drawn = make_block("timesteps/uniform").sample(LATENTS, seeds(5))
    expected = [torch.randint(0, 1000, (1,), generator=each) for each in seeds(5)]
    assert torch.equal(drawn, torch.cat(expected))
    with pytest.raises(InputError, match="2 generators"):
        make_block("timesteps/uniform").sample(LATENTS, seeds(2))


def test_refused_options():
    with pytest.raises(ConfigError, match="timesteps/uniform: num_train_timesteps is 0"):
        make_block("timesteps/uniform", num_train_timesteps=0)
