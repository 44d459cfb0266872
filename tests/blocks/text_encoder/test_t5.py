from __future__ import annotations

import logging

import pytest
import torch

from tests.tiny_models import randomize
from tests.tiny_t5 import tiny_t5, tiny_t5_tokenizer
from yggdrasil.blocks.text_encoder.t5 import T5TextEncoder
from yggdrasil.core.errors import InputError


@pytest.fixture(scope="module")
def encoder() -> T5TextEncoder:
    tokenizer = tiny_t5_tokenizer()
    model = randomize(tiny_t5(len(tokenizer)), seed=0)
    return T5TextEncoder("t5", number=3).give(tokenizer=tokenizer, text_encoder=model)


@torch.no_grad()
def test_gives_as_many_tokens_as_are_asked_for(encoder: T5TextEncoder) -> None:
    states = encoder.encode("a cat", num_images_per_prompt=2, max_sequence_length=12).states
    assert states.shape == (2, 12, 32)


@torch.no_grad()
def test_an_own_prompt_goes_before_the_one_for_all(encoder: T5TextEncoder) -> None:
    own = encoder.encode("a cat", "a dog", max_sequence_length=8).states
    assert torch.equal(own, encoder.encode("a dog", max_sequence_length=8).states)
    assert not torch.equal(own, encoder.encode("a cat", max_sequence_length=8).states)


@torch.no_grad()
def test_says_what_was_cut_off_a_long_prompt(
    encoder: T5TextEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        encoder.encode("a cat on the red house", max_sequence_length=5)
    assert "T5 reads 5 tokens; this was cut off the prompt: ['red house']" in caplog.text


def test_refuses_more_tokens_than_it_gives(encoder: T5TextEncoder) -> None:
    with pytest.raises(InputError, match="max_sequence_length=512 or less"):
        encoder.check_inputs("encode", {"max_sequence_length": 513})


def test_lies_in_the_folders_of_its_number(encoder: T5TextEncoder) -> None:
    folders = {name: slot.folder for name, slot in encoder.slots().items()}
    assert folders == {"tokenizer": "tokenizer_3", "text_encoder": "text_encoder_3"}
