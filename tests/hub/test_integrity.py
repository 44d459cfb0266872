"""Damaged files are known before anything is loaded."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

from yggdrasil.core.errors import ModelError
from yggdrasil.hub.integrity import check_safetensors, check_weights, read_json


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.arange(6.0), "b": torch.ones(2, 3)}, path, metadata={"format": "pt"})
    return path


def test_whole_weights_are_fine(weights):
    check_safetensors(weights)
    check_weights(weights.parent)


def test_an_empty_file_of_tensors_is_whole(tmp_path):
    save_file({}, tmp_path / "none.safetensors")
    check_safetensors(tmp_path / "none.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: b[:-1], r"has [\d,]+ bytes, but its header promises [\d,]+: it was cut short"),
        (lambda b: b + b"\0", "but its header promises"),
        (lambda b: b"", r"no safetensors file, or cut short within its header \(0 bytes\)"),
        (lambda b: b[:5], r"within its header \(5 bytes\)"),
        (lambda b: b[:20], r"within its header \(20 bytes\)"),
        (lambda b: b"<html>not found</html>", "is no safetensors file"),
        (lambda b: b[:8] + b"{" * (len(b) - 8), "has a damaged header: JSONDecodeError"),
        (lambda b: (2).to_bytes(8, "little") + b"[]", "damaged header: AttributeError"),
        (lambda b: (7).to_bytes(8, "little") + b'{"a":1}', "damaged header: TypeError"),
        (lambda b: (8).to_bytes(8, "little") + b'{"a":{}}', "damaged header: KeyError"),
    ],
)
def test_damaged_weights_are_told_apart(weights, change, message):
    weights.write_bytes(change(weights.read_bytes()))
    with pytest.raises(ModelError, match=message) as caught:
        check_safetensors(weights)
    assert str(weights) in str(caught.value)
    assert "Copy or download it again" in str(caught.value)


def test_a_folder_without_weights_says_what_is_there(tmp_path):
    with pytest.raises(ModelError, match=r"holds no weights \(\*\.safetensors\)"):
        check_weights(tmp_path)
    for name in ("b.ckpt", "a.bin"):
        (tmp_path / name).touch()
    with pytest.raises(ModelError, match=r"holds only a\.bin, b\.ckpt, which can run code"):
        check_weights(tmp_path)


def shards(folder, variant=""):
    names = [f"model{variant}-0000{number}-of-00002.safetensors" for number in (1, 2)]
    for name in names:
        save_file({name: torch.ones(1)}, folder / name)
    index = {"weight_map": {name: name for name in names}}
    (folder / f"model.safetensors.index{variant}.json").write_text(json.dumps(index))
    return names


def test_every_shard_must_be_there(tmp_path):
    names = shards(tmp_path)
    check_weights(tmp_path)
    (tmp_path / names[1]).unlink()
    with pytest.raises(ModelError, match=f"lacks {names[1]}, which model.safetensors.index.json"):
        check_weights(tmp_path)


@pytest.mark.parametrize("text", ["{}", '{"weight_map": []}', '{"weight_map": {"a": 1}}'])
def test_an_index_that_maps_nothing_is_damaged(tmp_path, text):
    shards(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text(text)
    with pytest.raises(ModelError, match=r"index\.json maps no tensors to files"):
        check_weights(tmp_path)


def test_variants_are_told_apart(tmp_path):
    shards(tmp_path, ".fp16")
    check_weights(tmp_path, "fp16")
    with pytest.raises(ModelError, match=r"weights of a variant only\. Give variant='fp16'"):
        check_weights(tmp_path)
    with pytest.raises(ModelError, match=r"no weights of the variant 'fp61'\. Did you mean 'fp16'"):
        check_weights(tmp_path, "fp61")
    save_file({"a": torch.ones(1)}, tmp_path / "model.safetensors")
    check_weights(tmp_path)
    with pytest.raises(ModelError, match="Leave variant out for the plain ones"):
        check_weights(tmp_path, "ema")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", r"is damaged: .*Copy or download it again"),
        (b"\xff\xfe", "is damaged"),
        (b"[1]", "should hold a JSON object, not a list"),
        (b"null", "not a NoneType"),
    ],
)
def test_damaged_json_is_told(tmp_path, content, message):
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=message):
        read_json(path)


def test_json_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ModelError, match=r"config\.json is missing\. Copy or download the model"):
        read_json(tmp_path / "config.json")
    with pytest.raises(ModelError, match="cannot be read"):
        read_json(tmp_path)
