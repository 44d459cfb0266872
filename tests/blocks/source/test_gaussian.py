from __future__ import annotations

import pytest
import torch
from diffusers.utils.torch_utils import randn_tensor

from yggdrasil.core.errors import InputError
from yggdrasil.core.registry import make_block
from yggdrasil.core.values import LatentShapeValue

CPU = torch.device("cpu")


def seeds(count):
    return [torch.Generator().manual_seed(number) for number in range(count)]


def shape(batch=2, dtype=torch.float32):
    return LatentShapeValue(shape=(batch, 4, 8, 6), dtype=dtype, device=CPU)


@pytest.mark.parity
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_noise(dtype):
    noise = make_block("source/gaussian").sample(shape(dtype=dtype), seeds(1)[0])
    assert noise.dtype == dtype
    assert torch.equal(noise, randn_tensor((2, 4, 8, 6), seeds(1)[0], CPU, dtype))


@pytest.mark.parity
def test_a_generator_each():
    noise = make_block("source/gaussian").sample(shape(), tuple(seeds(2)))
    assert torch.equal(noise, randn_tensor((2, 4, 8, 6), seeds(2), CPU))


def test_as_many_generators_as_samples():
    with pytest.raises(InputError, match="3 generators were given for a batch of 2"):
        make_block("source/gaussian").sample(shape(), seeds(3))
    with pytest.raises(InputError, match="1 generators were given for a batch of 2"):
        make_block("source/gaussian").sample(shape(), seeds(1))


def test_the_global_generator():
    torch.manual_seed(3)
    first = make_block("source/gaussian").sample(shape())
    torch.manual_seed(3)
    assert torch.equal(first, torch.randn(2, 4, 8, 6))
