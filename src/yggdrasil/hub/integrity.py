"""Checks of a model's files that need no weights to be loaded."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yggdrasil.core.errors import ModelError, nearest

__all__ = ["check_safetensors", "check_vocabulary", "check_weights", "read_json"]

_LENGTH_BYTES = 8
# The format allows 100 MB of header; anything near that is no header.
_HEADER_LIMIT = 100_000_000
_SHARD = re.compile(r"-\d+-of-\d+")


def check_weights(folder: Path, variant: str | None = None) -> None:
    """Checks that a component's folder holds whole weights in safetensors.

    Args:
        folder: Such as ``model/unet``.
        variant: The variant that is wanted, such as ``fp16``; the plain weights if None.

    Raises:
        ModelError: There are none, only pickled ones, only other variants, one of several shards
            is missing, or one is cut short.
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
    _check_variant(folder, files, variant)
    for index in folder.glob("*.safetensors.index*.json"):
        shards = _shards(index)
        lost = sorted(shards - {path.name for path in files})
        if lost and _variant_of(lost[0]) == variant:
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
            ends = [int(e["data_offsets"][1]) for name, e in header.items() if name[:2] != "__"]
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise ModelError(
                f"{path} has a damaged header: {type(error).__name__}: {error}. Copy or download "
                "it again."
            ) from error
    expected = _LENGTH_BYTES + length + max(ends, default=0)
    if size != expected:
        raise ModelError(
            f"{path} has {size:,} bytes, but its header promises {expected:,}: it was cut short "
            "or changed. Copy or download it again."
        )


def check_vocabulary(folder: Path, names: Mapping[str, str]) -> None:
    """Checks that a tokenizer's folder holds its vocabulary, in one file or in several.

    Args:
        folder: Such as ``model/tokenizer``.
        names: The names of the files, by what they are; ``tokenizer_file`` stands for all others.

    Raises:
        ModelError: Files are missing; transformers would make an empty tokenizer.
    """
    whole = names.get("tokenizer_file")
    if whole is not None and (folder / whole).is_file():
        return
    parts = sorted(name for what, name in names.items() if what != "tokenizer_file")
    lost = [name for name in parts if not (folder / name).is_file()]
    if lost or not parts:
        raise ModelError(
            f"{folder} lacks {' and '.join(lost or [str(whole)])}. Copy or download the model "
            "again."
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
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error}") from error
    except ValueError as error:
        raise ModelError(f"{path} is damaged: {error}. Copy or download it again.") from error
    if not isinstance(value, dict):
        raise ModelError(f"{path} should hold a JSON object, not a {type(value).__name__}.")
    return value


def _check_variant(folder: Path, files: list[Path], variant: str | None) -> None:
    present = {_variant_of(path.name) for path in files}
    if variant in present:
        return
    others = [name for name in present if name is not None]
    if variant is None:
        names = " or ".join(f"variant={name!r}" for name in sorted(others))
        raise ModelError(f"{folder} holds weights of a variant only. Give {names}.")
    raise ModelError(
        f"{folder} holds no weights of the variant {variant!r}.{nearest(variant, others)}"
        f"{' Leave variant out for the plain ones.' if None in present else ''}"
    )


def _variant_of(name: str) -> str | None:
    """Gives the variant in a file's name: ``model.fp16-00001-of-00002.safetensors``."""
    middle = name.removesuffix(".safetensors").partition(".")[2]
    return _SHARD.sub("", middle) or None


def _shards(index: Path) -> set[str]:
    """Gives the names of the files that an index spreads its tensors over."""
    names = read_json(index).get("weight_map")
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise ModelError(f"{index} maps no tensors to files. Copy or download the model again.")
    return set(names.values())
