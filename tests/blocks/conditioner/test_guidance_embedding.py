from __future__ import annotations

import pytest
import torch

from tests.tiny_models import tiny_pipeline
from yggdrasil.core.errors import InputError
from yggdrasil.core.registry import make_block
from yggdrasil.core.values import BackboneSpecValue, ConditioningValue

CONDITIONING = ConditioningValue(tensors={"encoder_hidden_states": torch.randn(3, 7, 5)}, batch=3)


def spec(width):
    return BackboneSpecValue(in_channels=4, sample_size=(8, 8), guidance_embedding=width)


@pytest.mark.parity
@pytest.mark.parametrize("scale", [1.0, 7.5, 8, 0.3])
@pytest.mark.parametrize("width", [16, 17, 256])
def test_embedding(scale, width):
    embedded = make_block("conditioner/guidance_embedding").embed(CONDITIONING, spec(width), scale)
    expected = tiny_pipeline("sd15").get_guidance_scale_embedding(
        torch.tensor(scale - 1).repeat(3), embedding_dim=width
    )
    assert torch.equal(embedded.tensors["timestep_cond"], expected)


def test_other_backbones_get_none():
    block = make_block("conditioner/guidance_embedding")
    assert not block.embed(CONDITIONING, spec(None), 7.5).tensors


def test_it_is_not_for_other_backbones():
    block = make_block("conditioner/guidance_embedding")
    assert block.declines("embed", {"backbone": spec(None)})
    assert not block.declines("embed", {"backbone": spec(16)})
    assert not block.declines("embed", {})


def test_refused_scale():
    block = make_block("conditioner/guidance_embedding")
    block.check_inputs("embed", {})
    with pytest.raises(InputError, match="guidance_scale is nan"):
        block.check_inputs("embed", {"guidance_scale": float("nan")})
