"""Checks of a model's files that need no weights to be loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from yggdrasil.core.errors import ModelError

__all__ = ["check_safetensors", "check_weights", "read_json"]

_LENGTH_BYTES = 8
# The format allows 100 MB of header; anything near that is no header.
_HEADER_LIMIT = 100_000_000


def check_weights(folder: Path) -> None:
    """Checks that a component's folder holds whole weights in safetensors.

    Args:
        folder: Such as ``model/unet``.

    Raises:
        ModelError: There are none, only pickled ones, one of several shards is missing, or one is
            cut short.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        pickled = sorted(path.name for path in (*folder.glob("*.bin"), *folder.glob("*.ckpt")))
        what = (
            f"only {', '.join(pickled)}, which can run code when it is read. Convert it to "
            "safetensors first."
            if pickled
            else "no weights (*.safetensors). Was the copy or the download interrupted?"
        )
        raise ModelError(f"{folder} holds {what}")
    for index in folder.glob("*.safetensors.index.json"):
        shards = set(read_json(index).get("weight_map", {}).values())
        lost = sorted(shards - {path.name for path in files})
        if lost:
            raise ModelError(
                f"{folder} lacks {', '.join(lost)}, which {index.name} names. Copy or download "
                "the model again."
            )
    for path in files:
        check_safetensors(path)


def check_safetensors(path: Path) -> None:
    """Checks that a file is as long as its header says.

    Args:
        path: A ``.safetensors`` file.

    Raises:
        ModelError: It is cut short, longer than it says, or no safetensors file.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        if not 0 < length <= min(size - _LENGTH_BYTES, _HEADER_LIMIT):
            raise ModelError(
                f"{path} is no safetensors file, or cut short within its header ({size:,} bytes). "
                "Copy or download it again."
            )
        try:
            header = json.loads(file.read(length))
        except ValueError as error:
            raise ModelError(
                f"{path} has a damaged header: {error}. Copy or download it again."
            ) from error
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    expected = _LENGTH_BYTES + length + max(ends, default=0)
    if size != expected:
        raise ModelError(
            f"{path} has {size:,} bytes, but its header promises {expected:,}: it was cut short "
            "or changed. Copy or download it again."
        )


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
        ModelError: The file is missing or holds no JSON object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(f"{path} is missing. Copy or download the model again.") from error
    except ValueError as error:
        raise ModelError(f"{path} is damaged: {error}. Copy or download it again.") from error
    if not isinstance(value, dict):
        raise ModelError(f"{path} should hold a JSON object, not a {type(value).__name__}.")
    return value
