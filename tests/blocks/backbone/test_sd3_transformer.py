from __future__ import annotations

import pytest
import torch

from tests.tiny_sd3 import tiny_sd3
from yggdrasil.core.errors import InputError
from yggdrasil.core.registry import make_block
from yggdrasil.core.values import BackboneSpecValue, ConditioningValue


@pytest.fixture(scope="module")
def block():
    return make_block("backbone/sd3_transformer").give(transformer=tiny_sd3().transformer)


def conditioning(batch):
    tensors = {
        "encoder_hidden_states": torch.randn(batch, 5, 80),
        "pooled_projections": torch.randn(batch, 64),
    }
    return ConditioningValue(tensors=tensors, batch=batch)


def test_spec(block):
    assert block.spec() == BackboneSpecValue(
        in_channels=16,
        sample_size=(8, 8),
        patch=2,
        largest=(24, 24),
        text_width=80,
        layers=3,
        widths=(32,),
    )


@torch.no_grad()
def test_one_timestep_is_that_of_every_sample(block):
    sample, text = torch.randn(2, 16, 8, 8), conditioning(2)
    one = block.predict(sample, torch.tensor(500.0), text)
    assert torch.equal(one, block.predict(sample, torch.tensor([500.0, 500.0]), text))
    assert not torch.equal(one, block.predict(sample, torch.tensor([500.0, 400.0]), text))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 4, 8, 8), "reads 16 channels and was given 4"),
        ((1, 16, 9, 8), "latents are 9 high and 8 wide, .* give multiples of 2"),
    ],
)
def test_latents_that_it_cannot_read_are_refused(block, shape, message):
    with pytest.raises(InputError, match=message):
        block.predict(torch.zeros(shape), torch.tensor(500.0), conditioning(1))


def test_further_channels_are_read_by_inpainting_models_alone(block):
    inpainting = make_block("backbone/sd3_transformer")
    inpainting.give(transformer=tiny_sd3("sd3_inpaint").transformer)
    assert block.unused_inputs("predict", {}) == {"channels"}
    assert inpainting.unused_inputs("predict", {}) == set()
