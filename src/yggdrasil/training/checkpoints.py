"""Checkpoints that resume to the bit: tensors in safetensors, the rest in JSON, nothing pickled."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from yggdrasil.core.errors import ModelError

__all__ = ["Checkpoint", "latest_checkpoint", "read_checkpoint", "write_checkpoint"]

_PREFIX = "checkpoint-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Everything that a run needs to go on as if it had never stopped.

    Attributes:
        step: How many steps are done.
        weights: The trained parameters by name.
        average: Their moving average by name, if one is kept.
        optimizer: The optimizer's tensors, ``parameter number/name``.
        state: What is no tensor: learning rate schedule, settings, figures.
        random: PyTorch's global random state.
    """

    step: int
    weights: Mapping[str, Tensor]
    average: Mapping[str, Tensor] | None
    optimizer: Mapping[str, Tensor]
    state: Mapping[str, Any]
    random: Tensor


def write_checkpoint(folder: Path, checkpoint: Checkpoint, *, keep: int) -> Path:
    """Writes a checkpoint whole or not at all, and removes old ones.

    Args:
        folder: The run's folder.
        checkpoint: What to write.
        keep: How many of the latest to keep.

    Returns:
        The checkpoint's folder.
    """
    target = folder / f"{_PREFIX}{checkpoint.step:08d}"
    scratch = folder / f".{target.name}.partial"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    _save(scratch / "weights.safetensors", checkpoint.weights)
    _save(scratch / "optimizer.safetensors", checkpoint.optimizer)
    _save(scratch / "random.safetensors", {"torch": checkpoint.random})
    if checkpoint.average is not None:
        _save(scratch / "average.safetensors", checkpoint.average)
    state = json.dumps({"step": checkpoint.step, **checkpoint.state}, indent=2)
    (scratch / "state.json").write_text(f"{state}\n", encoding="utf-8")
    shutil.rmtree(target, ignore_errors=True)
    scratch.replace(target)
    for old in _all(folder)[:-keep]:
        shutil.rmtree(old)
    return target


def latest_checkpoint(folder: Path) -> Path | None:
    """Gives the latest checkpoint of a run, if there is one."""
    found = _all(folder)
    return found[-1] if found else None


def read_checkpoint(path: Path) -> Checkpoint:
    """Reads a checkpoint.

    Raises:
        ModelError: A file is missing or damaged.
    """
    try:
        state = json.loads((path / "state.json").read_text(encoding="utf-8"))
        average = path / "average.safetensors"
        return Checkpoint(
            step=int(state.pop("step")),
            weights=load_file(path / "weights.safetensors"),
            average=load_file(average) if average.is_file() else None,
            optimizer=load_file(path / "optimizer.safetensors"),
            state=state,
            random=load_file(path / "random.safetensors")["torch"],
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise ModelError(
            f"{path} is no whole checkpoint: {error}. Remove it to go on from the one before."
        ) from error


def _all(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"{_PREFIX}[0-9]*"))


def _save(path: Path, tensors: Mapping[str, Tensor]) -> None:
    # Clones: safetensors refuses tensors that share memory, as tied weights do.
    save_file({k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}, path)
