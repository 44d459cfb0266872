from __future__ import annotations

import pytest
import torch

from tests.tiny_flux2 import tiny_flux2
from yggdrasil.core.errors import ConfigError, InputError
from yggdrasil.core.registry import make_block
from yggdrasil.core.values import ConditioningValue

PIPE = tiny_flux2("flux2_klein")
CHAT = {"add_generation_prompt": True, "enable_thinking": False}


def block(**settings):
    settings = {"model": "qwen3", "layers": [1, 2, 3], "template": CHAT, **settings}
    made = make_block("text_encoder/language_model", encoder="language", **settings)
    return made.give(tokenizer=PIPE.tokenizer, text_encoder=PIPE.text_encoder)


def encoded(block, prompt, tokens=20, **given):
    return block.encode(prompt, max_sequence_length=tokens, **given).states


@torch.no_grad()
def test_layers_stand_side_by_side():
    made = encoded(block(), ["a cat", "a"])
    expected, _ = PIPE.encode_prompt(
        ["a cat", "a"], max_sequence_length=20, text_encoder_out_layers=(1, 2, 3)
    )
    assert made.shape == (2, 20, 48)
    assert torch.equal(made, expected)


@torch.no_grad()
def test_the_template_and_the_system_are_read():
    plain = encoded(block(), "a cat")
    for other in ({"template": {}}, {"system": "You"}):
        assert not torch.equal(encoded(block(**other), "a cat"), plain)
    assert torch.equal(encoded(block(unsaid=["red "]), "a red cat"), plain)


@torch.no_grad()
def test_one_negative_prompt_serves_a_batch():
    encoder = block()
    positive = ConditioningValue(tensors={}, batch=4)
    negative = encoder.encode_negative(positive, num_images_per_prompt=2, max_sequence_length=16)
    assert len(negative.states) == 4
    with pytest.raises(InputError, match="1 texts for 2 prompts"):
        encoder.encode_negative(positive, ["ugly"], num_images_per_prompt=2)


@torch.no_grad()
def test_a_call_may_name_the_layers():
    assert torch.equal(
        encoded(block(), "a cat", text_encoder_out_layers=[3]), encoded(block(layers=[3]), "a cat")
    )


def test_what_cannot_be_is_refused():
    with pytest.raises(ConfigError, match="layers is empty"):
        make_block("text_encoder/language_model", encoder="a", model="qwen3", layers=[])
    with pytest.raises(InputError, match="qwen4"):
        make_block("text_encoder/language_model", encoder="a", model="qwen4", layers=[1])
    with pytest.raises(InputError, match="names layer 9, but the model has 4, 0 to 3"):
        block().check_inputs("encode", {"text_encoder_out_layers": [1, 9]})
