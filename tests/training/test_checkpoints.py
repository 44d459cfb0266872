from __future__ import annotations

import json

import pytest
import torch

from yggdrasil.core.errors import ModelError
from yggdrasil.training.checkpoints import (
    Checkpoint,
    latest_checkpoint,
    read_checkpoint,
    write_checkpoint,
)


def checkpoint(step=3, **changes):
    values = {
        "step": step,
        "weights": {"unet.w": torch.randn(3)},
        "average": {"unet.w": torch.randn(3)},
        "optimizer": {"0/exp_avg": torch.randn(3), "0/step": torch.tensor(3.0)},
        "state": {"schedule": {"last_epoch": 3}},
        "random": torch.get_rng_state(),
    }
    return Checkpoint(**{**values, **changes})


def assert_equal(one, other):
    assert one.step == other.step
    assert one.state == other.state
    assert torch.equal(one.random, other.random)
    for name in ("weights", "average", "optimizer"):
        first, second = getattr(one, name), getattr(other, name)
        if first is None or second is None:
            assert first is second
            continue
        assert first.keys() == second.keys()
        assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("changes", [{}, {"average": None}, {"optimizer": {}}])
def test_a_checkpoint_comes_back_as_it_was(tmp_path, changes):
    written = checkpoint(**changes)
    assert_equal(read_checkpoint(write_checkpoint(tmp_path, written, keep=1)), written)


def test_tensors_that_share_memory_and_half_precision_are_kept(tmp_path):
    tied = torch.randn(4, dtype=torch.bfloat16)
    written = checkpoint(weights={"a": tied, "b": tied.view(2, 2).T})
    assert_equal(read_checkpoint(write_checkpoint(tmp_path, written, keep=1)), written)


def test_only_the_latest_are_kept(tmp_path):
    assert latest_checkpoint(tmp_path) is None
    for step in (5, 50, 500, 5000):
        path = write_checkpoint(tmp_path, checkpoint(step), keep=2)
        assert latest_checkpoint(tmp_path) == path
    kept = [read_checkpoint(each).step for each in sorted(tmp_path.iterdir())]
    assert kept == [500, 5000]


def test_the_checkpoint_of_a_step_may_be_written_again(tmp_path):
    write_checkpoint(tmp_path, checkpoint(), keep=2)
    second = checkpoint()
    assert_equal(read_checkpoint(write_checkpoint(tmp_path, second, keep=2)), second)
    assert len([*tmp_path.iterdir()]) == 1


def test_a_checkpoint_that_fails_halfway_is_none(tmp_path, monkeypatch):
    whole = write_checkpoint(tmp_path, checkpoint(1), keep=2)

    def fail(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr("yggdrasil.training.checkpoints.json.dumps", fail)
    with pytest.raises(OSError, match="disk full"):
        write_checkpoint(tmp_path, checkpoint(2), keep=2)
    assert latest_checkpoint(tmp_path) == whole
    monkeypatch.undo()
    path = write_checkpoint(tmp_path, checkpoint(2), keep=1)
    assert [*tmp_path.iterdir()] == [path]


def _cut(path):
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("weights.safetensors", _cut),
        ("optimizer.safetensors", _cut),
        ("average.safetensors", _cut),
        ("random.safetensors", lambda path: path.unlink()),
        ("weights.safetensors", lambda path: path.unlink()),
        ("state.json", lambda path: path.unlink()),
        ("state.json", lambda path: path.write_text("{")),
        ("state.json", lambda path: path.write_text("{}")),
        ("state.json", lambda path: path.write_text("[]")),
        ("state.json", lambda path: path.write_text(json.dumps({"step": None}))),
    ],
)
def test_a_damaged_checkpoint_says_what_to_do(tmp_path, name, spoil):
    path = write_checkpoint(tmp_path, checkpoint(), keep=1)
    spoil(path / name)
    with pytest.raises(
        ModelError, match=r"00000003 is no whole checkpoint.*Remove it to go on from"
    ):
        read_checkpoint(path)
