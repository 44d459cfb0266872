from __future__ import annotations

import logging

import pytest
import torch
from safetensors.torch import save_file
from transformers import CLIPTextModel

from tests.tiny_models import tiny_pipeline
from yggdrasil.core.component import Given
from yggdrasil.core.errors import InputError
from yggdrasil.core.registry import make_block

PIPELINE = tiny_pipeline("sd15")


def block(pipeline=PIPELINE):
    return make_block("conditioner/clip_text").give(
        tokenizer=pipeline.tokenizer, text_encoder=pipeline.text_encoder
    )


def states(conditioning):
    assert conditioning.batch == len(conditioning.tensors["encoder_hidden_states"])
    return conditioning.tensors["encoder_hidden_states"]


@pytest.mark.parity
@pytest.mark.parametrize("kind", ["sd15", "sd2"])
@pytest.mark.parametrize("copies", [1, 3])
@pytest.mark.parametrize(
    ("prompt", "negative"),
    [
        ("a photo of a cat", None),
        ("a photo of a cat", "ugly"),
        (["a cat", "a dog"], None),
        (["a cat", "a dog"], ["ugly", "blurry house"]),
        ("", "été ☂"),
    ],
)
@torch.no_grad()
def test_prompts(kind, prompt, negative, copies):
    pipeline = tiny_pipeline(kind)
    expected = pipeline.encode_prompt(prompt, "cpu", copies, True, negative)
    text = block(pipeline)
    positive = text.encode(prompt, copies)
    given = {} if negative is None else {"negative_prompt": negative}
    opposite = text.encode_negative(positive, num_images_per_prompt=copies, **given)
    assert torch.equal(states(positive), expected[0])
    assert torch.equal(states(opposite), expected[1])


@pytest.mark.parity
@pytest.mark.parametrize("vectors", [1, 2])
@torch.no_grad()
def test_textual_inversion(tmp_path, vectors):
    pipeline = tiny_pipeline()
    drawn = torch.randn(vectors, 32, generator=torch.Generator().manual_seed(0))
    save_file({"<mine>": drawn}, tmp_path / "learned.safetensors")
    pipeline.load_textual_inversion(tmp_path / "learned.safetensors", token="<mine>")
    prompts, negatives = ["a photo of <mine>", "a cat"], ["ugly <mine> house", "<mine>"]
    expected = pipeline.encode_prompt(prompts, "cpu", 1, True, negatives)
    text = block(pipeline)
    positive = text.encode(prompts)
    assert torch.equal(states(positive), expected[0])
    assert torch.equal(states(text.encode_negative(positive, negatives)), expected[1])
    seen = []
    hook = pipeline.text_encoder.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    text.encode(prompts)
    hook.remove()
    learnt = pipeline.tokenizer.convert_tokens_to_ids(["<mine>", "<mine>_1"][:vectors])
    assert all(number in seen[0][0].tolist() for number in learnt)


@pytest.mark.parity
@torch.no_grad()
def test_attention_mask_where_the_encoder_asks_for_it():
    pipeline = tiny_pipeline("sd2")
    plain = states(block(pipeline).encode("a cat"))
    pipeline.text_encoder.config.use_attention_mask = True
    expected = pipeline.encode_prompt("a cat", "cpu", 1, False)[0]
    masked = states(block(pipeline).encode("a cat"))
    assert torch.equal(masked, expected)
    assert not torch.equal(masked, plain)


@torch.no_grad()
@pytest.mark.parametrize("skip", [0, 1, 2])
def test_clip_skip_leaves_out_the_last_layers(skip):
    encoder = PIPELINE.text_encoder
    ids = PIPELINE.tokenizer(
        ["a cat"], padding="max_length", max_length=77, return_tensors="pt"
    ).input_ids
    seen = []
    hooks = [layer.register_forward_hook(lambda *a: seen.append(a[2])) for layer in _layers()]
    expected_last = encoder(ids)[0]
    for hook in hooks:
        hook.remove()
    inputs = [encoder.embeddings(ids), *seen]
    expected = encoder.final_layer_norm(inputs[-(skip + 1)])
    assert torch.equal(states(block().encode("a cat", clip_skip=skip)), expected)
    if skip == 0:
        assert torch.equal(expected, expected_last)


def _layers():
    return PIPELINE.text_encoder.encoder.layers


@torch.no_grad()
def test_the_last_layers_norm_is_found_where_older_encoders_keep_it():
    class Older(torch.nn.Module):
        def __init__(self, encoder):
            super().__init__()
            self.text_model = encoder
            self.config, self.device, self.dtype = encoder.config, encoder.device, encoder.dtype

        def forward(self, *args, **kwargs):
            return self.text_model(*args, **kwargs)

    old = block().give(text_encoder=Older(PIPELINE.text_encoder))
    expected = block().encode("a cat", clip_skip=1)
    assert torch.equal(states(old.encode("a cat", clip_skip=1)), states(expected))


@torch.no_grad()
def test_one_negative_prompt_is_for_all():
    text = block()
    positive = text.encode(["a cat", "a dog"], 2)
    for given in ({}, {"negative_prompt": ""}, {"negative_prompt": ("", "")}):
        negative = text.encode_negative(positive, num_images_per_prompt=2, **given)
        expected = PIPELINE.encode_prompt(["a cat", "a dog"], "cpu", 2, True)[1]
        assert torch.equal(states(negative), expected)


@torch.no_grad()
def test_negative_is_as_long_as_the_positive():
    text = block()
    positive = text.adopt(torch.randn(1, 20, 32))
    assert states(text.encode_negative(positive)).shape == (1, 20, 32)


@pytest.mark.parity
@torch.no_grad()
def test_embeddings_of_the_caller():
    embeds, negative = torch.randn(2, 77, 32, dtype=torch.float64), torch.randn(2, 77, 32)
    expected = PIPELINE.encode_prompt(
        None, "cpu", 2, True, prompt_embeds=embeds, negative_prompt_embeds=negative
    )
    assert torch.equal(states(block().adopt(embeds, 2)), expected[0])
    assert torch.equal(states(block().adopt_negative(negative, 2)), expected[1])


def test_embeddings_of_the_caller_need_no_encoder():
    embeds = torch.randn(2, 77, 32)
    text = make_block("conditioner/clip_text")
    assert states(text.adopt(embeds)) is not None
    text.place(None, torch.float16)
    assert states(text.adopt(embeds)).dtype == torch.float16


def test_gradients_reach_the_encoder():
    text = block(tiny_pipeline("sd15"))
    states(text.encode("a cat")).sum().backward()
    weight = text.text_encoder.embeddings.token_embedding.weight
    assert weight.grad.abs().sum() > 0


@torch.no_grad()
def test_what_is_cut_off_is_said(caplog):
    with caplog.at_level(logging.WARNING):
        block().encode("a cat on the house")
        assert not caplog.records
        block().encode("cat " * 80)
    assert "CLIP reads 77 tokens; this was cut off the prompt" in caplog.text


@torch.no_grad()
def test_negative_prompts_are_counted():
    text = block()
    positive = text.encode(["a cat", "a dog"])
    with pytest.raises(InputError, match="has 3 texts for 2 prompts"):
        text.encode_negative(positive, ["a", "b", "c"])
    with pytest.raises(InputError, match="does not divide the positive conditioning's batch of 2"):
        text.encode_negative(positive, "", 3)


@pytest.mark.parametrize(
    ("known", "message"),
    [
        ({"prompt": 3}, "prompt is 3: give a text"),
        ({"prompt": []}, "prompt is \\[\\]"),
        ({"negative_prompt": [None]}, "negative_prompt is \\[None\\]"),
        ({"num_images_per_prompt": 0}, "num_images_per_prompt is 0"),
        ({"clip_skip": -1}, "clip_skip is -1"),
        ({"clip_skip": 9}, "clip_skip is 9, but the text encoder has 2 layers.*clip_skip=2"),
    ],
)
def test_refused_inputs(known, message):
    with pytest.raises(InputError, match=message):
        block().check_inputs("encode", known)


def test_clip_skip_is_checked_before_weights_load():
    class Source(Given):
        def load(self, slot, dtype=None):
            raise AssertionError(slot)

    text = make_block("conditioner/clip_text")
    text.load_from(text_encoder=Source(PIPELINE.text_encoder))
    text.check_inputs("encode", {"clip_skip": 2, "prompt": "a", "num_images_per_prompt": 1})
    with pytest.raises(InputError, match="has 2 layers"):
        text.check_inputs("encode", {"clip_skip": 3})


def test_slots():
    assert list(block().slots()) == ["tokenizer", "text_encoder"]
    assert block().slots()["text_encoder"].cls is CLIPTextModel
