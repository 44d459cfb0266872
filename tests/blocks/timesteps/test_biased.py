from __future__ import annotations

import pytest
import torch

from yggdrasil.core.errors import ConfigError, InputError
from yggdrasil.core.registry import make_block
from yggdrasil.core.values import SolverSpecValue

LATENTS = torch.zeros(5, 4, 8, 8)
MANY = torch.zeros(20_000, 1)
THOUSAND = SolverSpecValue(num_train_timesteps=1000)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_as_the_training_script_of_diffusers_draws():
    weights = torch.ones(1000)
    weights[600:900] *= 3.0
    weights /= weights.sum()
    expected = torch.multinomial(weights, 5, replacement=True, generator=seeded())
    block = make_block("timesteps/biased", begin=600, end=900, multiplier=3.0)
    assert torch.equal(block.sample(LATENTS, seeded(), THOUSAND), expected)
    assert expected.dtype == torch.int64


@pytest.mark.parametrize("multiplier", [0.25, 1.0, 4.0])
def test_how_often_the_range_is_drawn(multiplier):
    block = make_block("timesteps/biased", begin=500, multiplier=multiplier)
    drawn = block.sample(MANY, seeded(), THOUSAND)
    share = (drawn >= 500).float().mean().item()
    assert share == pytest.approx(multiplier / (1 + multiplier), abs=0.015)
    assert drawn.min() >= 0
    assert drawn.max() == 999  # the last timestep of a schedule with no signal left is trained


def test_a_generator_each():
    block = make_block("timesteps/biased", begin=2, end=4, multiplier=9.0, num_train_timesteps=5)
    drawn = block.sample(LATENTS, [seeded(number) for number in range(5)])
    apart = [block.sample(LATENTS[:1], seeded(number)) for number in range(5)]
    assert torch.equal(drawn, torch.cat(apart))


def test_a_range_beyond_the_schedule():
    block = make_block("timesteps/biased", begin=100, end=2000, multiplier=2.0)
    with pytest.raises(InputError, match="range 100 to 2000, and training has 1000 timesteps"):
        block.sample(LATENTS, seeded(), THOUSAND)
    with pytest.raises(InputError, match="range 3 to 3, and training has 3"):
        make_block("timesteps/biased", begin=3, num_train_timesteps=3).sample(LATENTS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"begin": -1}, "begin is -1"),
        ({"begin": 5, "end": 5}, "end is 5: give a whole number of at least 6"),
        ({"multiplier": 0.0}, "multiplier is 0.0"),
        ({"multiplier": 1e39}, "multiplier is 1e[+]39"),
        ({"multiplier": float("nan")}, "multiplier is nan"),
        ({"num_train_timesteps": 0}, "num_train_timesteps is 0"),
    ],
)
def test_refused_options(options, message):
    with pytest.raises(ConfigError, match=message):
        make_block("timesteps/biased", **options)
