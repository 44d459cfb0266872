from __future__ import annotations

import pytest
import torch

from tests.tiny_flux2 import tiny_flux2
from yggdrasil.core.errors import ConfigError, InputError
from yggdrasil.core.registry import make_block

PIPE = tiny_flux2("flux2_klein")
CHAT = {"add_generation_prompt": True, "enable_thinking": False}


def block(**settings):
    settings = {"model": "qwen3", "layers": [1, 2, 3], "template": CHAT, **settings}
    made = make_block("conditioner/language_model", **settings)
    return made.give(tokenizer=PIPE.tokenizer, text_encoder=PIPE.text_encoder)


def states(conditioning):
    return conditioning.tensors["encoder_hidden_states"]


@torch.no_grad()
def test_layers_stand_side_by_side():
    made = states(block().encode(["a cat", "a"], max_sequence_length=20))
    expected, _ = PIPE.encode_prompt(
        ["a cat", "a"], max_sequence_length=20, text_encoder_out_layers=(1, 2, 3)
    )
    assert made.shape == (2, 20, 48)
    assert torch.equal(made, expected)


@torch.no_grad()
def test_the_template_and_the_system_are_read():
    plain = states(block().encode("a cat", max_sequence_length=20))
    for other in ({"template": {}}, {"system": "You"}):
        assert not torch.equal(
            states(block(**other).encode("a cat", max_sequence_length=20)), plain
        )
    cleaned = block(unsaid=["red "]).encode("a red cat", max_sequence_length=20)
    assert torch.equal(states(cleaned), plain)


@torch.no_grad()
def test_one_negative_prompt_serves_a_batch():
    encoder = block()
    positive = encoder.encode(["a", "b"], num_images_per_prompt=2, max_sequence_length=16)
    negative = encoder.encode_negative(positive, num_images_per_prompt=2, max_sequence_length=16)
    assert negative.batch == positive.batch == 4
    with pytest.raises(InputError, match="1 texts for 2 prompts"):
        encoder.encode_negative(positive, ["ugly"], num_images_per_prompt=2)


def test_what_cannot_be_is_refused():
    with pytest.raises(ConfigError, match="layers is empty"):
        make_block("conditioner/language_model", model="qwen3", layers=[])
    with pytest.raises(InputError, match="qwen4"):
        make_block("conditioner/language_model", model="qwen4", layers=[1])
    with pytest.raises(InputError, match="names layer 9, but the text encoder has 3"):
        block().check_inputs("encode", {"text_encoder_out_layers": [1, 9]})
