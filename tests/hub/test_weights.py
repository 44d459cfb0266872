"""Which files hold the weights, by their names."""

from __future__ import annotations

import pytest
from diffusers import DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from yggdrasil.core.errors import ModelError
from yggdrasil.hub.needs import component_files
from yggdrasil.hub.weights import choose_weights, stem_of, weight_files

UNET = (
    "config.json",
    "diffusion_pytorch_model.bin",
    "diffusion_pytorch_model.fp16.bin",
    "diffusion_pytorch_model.fp16.safetensors",
    "diffusion_pytorch_model.non_ema.safetensors",
    "diffusion_pytorch_model.safetensors",
    "model.onnx",
    "pytorch_lora_weights.safetensors",
)


def test_files_are_told_apart_by_their_variant():
    found = weight_files(UNET, stem_of(UNet2DConditionModel))
    assert set(found) == {None, "fp16", "non_ema"}
    assert found[None].tensors == ("diffusion_pytorch_model.safetensors",)
    assert found["fp16"].tensors == ("diffusion_pytorch_model.fp16.safetensors",)


@pytest.mark.parametrize(
    ("shards", "index", "variant"),
    [
        ("model-0000{}-of-00002.safetensors", "model.safetensors.index.json", None),
        ("model.fp16-0000{}-of-00002.safetensors", "model.safetensors.index.fp16.json", "fp16"),
        ("model-0000{}-of-00002.fp16.safetensors", "model.safetensors.fp16.index.json", "fp16"),
    ],
)
def test_shards_come_with_their_index(shards, index, variant):
    names = [shards.format(1), shards.format(2)]
    found = weight_files([*names, index, "model.bin.index.json"], stem_of(CLIPTextModel))
    assert found == {variant: (tuple(names), (index,))}


def test_an_index_without_shards_counts_so_that_they_are_missed():
    assert weight_files(["model.safetensors.index.json"]) == {
        None: ((), ("model.safetensors.index.json",))
    }


def test_a_model_needs_its_configuration_and_one_variant():
    def needed(variant):
        return component_files(UNET, UNet2DConditionModel, variant, "m/unet", "Mend it.")

    assert needed(None) == ["config.json", "diffusion_pytorch_model.safetensors"]
    assert needed("fp16") == ["config.json", "diffusion_pytorch_model.fp16.safetensors"]
    with pytest.raises(ModelError, match=r"m/unet holds no weights of the variant 'fp61'\. Did"):
        needed("fp61")


def test_what_has_no_weights_needs_all_its_texts():
    names = ("vocab.json", "merges.txt", "tokenizer_config.json", "model.onnx", "weights.bin")
    texts = ["merges.txt", "tokenizer_config.json", "vocab.json"]
    for cls in (CLIPTokenizer, DDIMScheduler):
        assert component_files(names, cls, "fp16", "m/x", "Mend it.") == texts


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["model.bin", "b.pt"], r"m/x holds only b\.pt, model\.bin, which can run code"),
        (["flax_model.msgpack"], r"m/x holds no weights \(\*\.safetensors\)\. Mend it\."),
        (["model.fp16.safetensors"], r"weights of a variant only\. Give variant='fp16'\."),
    ],
)
def test_weights_that_are_not_there_are_missed(names, message):
    with pytest.raises(ModelError, match=message):
        choose_weights(names, None, "m/x", "Mend it.")
