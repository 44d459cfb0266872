"""FLUX.1 Redux from a template gives the numbers of Diffusers' pipeline."""

from __future__ import annotations

import pytest
import torch

from tests.pipelines.conftest import generator, quiet
from tests.pipelines.pictures import picture
from tests.tiny_flux import tiny_flux, tiny_redux
from yggdrasil import InferencePipeline
from yggdrasil.core.errors import InputError, MissingInputError

pytestmark = pytest.mark.parity

ONE, TWO = {"image": picture()}, {"image": [picture(), picture(seed=3)]}
WEIGHTS = {"prompt_embeds_scale": [1.0, 0.5], "pooled_prompt_embeds_scale": [0.5, 0.7]}
EMBEDS = {
    "prompt_embeds": torch.randn(1, 24, 32, generator=generator(1)),
    "pooled_prompt_embeds": torch.randn(1, 32, generator=generator(2)),
}

CELLS = {
    "a picture alone": (False, ONE),
    "two pictures, weighed": (False, {**TWO, **WEIGHTS}),
    "a picture and a prompt": (True, {**ONE, "prompt": "a cat"}),
    "two pictures and a prompt": (True, {**TWO, **WEIGHTS, "prompt": "a cat"}),
    "prompts for each": (True, {**TWO, "prompt": ["a", "b"], "prompt_2": ["c", "d"]}),
    "a picture and embeddings": (True, {**ONE, **EMBEDS, "prompt_embeds_scale": 0.4}),
}


@pytest.fixture(scope="module")
def theirs():
    """Gives pipelines of Diffusers with and without text encoders."""
    return {texts: tiny_redux(texts=texts) for texts in (True, False)}


@pytest.mark.parametrize("name", CELLS)
def test_the_numbers_are_those_of_diffusers(theirs, name):
    texts, call = CELLS[name]
    copies = {k: v.clone() if isinstance(v, torch.Tensor) else v for k, v in call.items()}
    expected = theirs[texts](**copies)  # which writes into the embeddings that it is given
    result = InferencePipeline.from_diffusers(theirs[texts])(**call).outputs
    assert expected.keys() == result.keys()
    for key, tensor in expected.items():
        assert (result[key] - tensor).abs().max() == 0.0


def test_a_weight_makes_a_difference(theirs):
    ours = InferencePipeline.from_diffusers(theirs[False])
    expected = theirs[False](**TWO, **WEIGHTS)
    result = ours(**TWO, prompt_embeds_scale=[1.0, 0.6]).outputs
    assert (result["prompt_embeds"] - expected.prompt_embeds).abs().max() > 1e-3


def test_pictures_are_made_of_pictures_in_two_stages(theirs):
    flux, steps = tiny_flux(), {"num_inference_steps": 2, "height": 64, "width": 64}
    embeds = theirs[True](**ONE, prompt="a cat")
    expected = flux(**embeds, **steps, generator=generator(), output_type="pt").images
    both = quiet(
        InferencePipeline.from_combined(
            {"redux": InferencePipeline.from_diffusers(theirs[True]),
             "flux": InferencePipeline.from_diffusers(flux)}
        )
    )  # fmt: skip
    result = both(
        redux={**ONE, "prompt": "a cat"}, flux=steps, generator=generator(), output_type="pt"
    )
    assert (result.images - expected).abs().max() == 0.0


def test_what_does_not_go_together_is_refused(theirs):
    ours = InferencePipeline.from_diffusers(theirs[True])
    with pytest.raises(MissingInputError, match="'image'"):
        ours(prompt="a cat")
    with pytest.raises(InputError, match="3 texts for 2 pictures"):
        ours(**TWO, prompt=["a", "b", "c"])
    with pytest.raises(InputError, match="prompt_embeds_scale has 3 weights for 2 pictures"):
        ours(**TWO, prompt="a", prompt_embeds_scale=[1.0, 1.0, 1.0])


def test_a_prompt_that_nobody_reads_is_passed_over_with_a_warning(theirs, caplog):
    expected = theirs[False](**ONE, prompt="a cat")
    result = InferencePipeline.from_diffusers(theirs[False])(**ONE, prompt="a cat").outputs
    assert "came without text encoders" in caplog.text
    assert (result["prompt_embeds"] - expected.prompt_embeds).abs().max() == 0.0
