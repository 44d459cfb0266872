"""Arguments that nothing reads are told of, but for those that ask for nothing."""

from __future__ import annotations

import pytest

from tests.pipelines.conftest import quiet
from tests.tiny_flux import tiny_flux
from yggdrasil import InferencePipeline


@pytest.fixture(scope="module")
def schnell():
    return quiet(InferencePipeline.from_diffusers(tiny_flux("flux_schnell")))


def _call(pipe, **arguments):
    return pipe("a cat", num_inference_steps=1, output_type="latent", seed=0, **arguments)


def test_a_scale_that_a_distilled_model_does_not_read_is_told_of(schnell):
    with pytest.warns(UserWarning, match="guidance_scale: given, but with these inputs nothing"):
        _call(schnell, guidance_scale=3.5)


def test_a_scale_of_zero_asks_for_nothing(schnell, recwarn):
    _call(schnell, guidance_scale=0.0)
    assert [str(each.message) for each in recwarn if "nothing reads" in str(each.message)] == []
