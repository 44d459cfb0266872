"""Checks of a model's files that need no weights to be loaded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yggdrasil.core.errors import ModelError
from yggdrasil.hub.header import read_header
from yggdrasil.hub.weights import choose_weights

__all__ = ["check_safetensors", "check_vocabulary", "check_weights", "read_json"]


def check_weights(folder: Path, variant: str | None = None, stem: str | None = None) -> None:
    """Checks that a component's folder holds whole weights in safetensors.

    Args:
        folder: Such as ``model/unet``.
        variant: The variant that is wanted, such as ``fp16``; the plain weights if None.
        stem: How the files' names begin; any beginning if None.

    Raises:
        ModelError: There are none, only pickled ones, only other variants, one of several shards
            is missing, or one is cut short.
    """
    names = {path.name for path in folder.iterdir() if path.is_file()}
    advice = "Was the copy or the download interrupted?"
    tensors, indexes = choose_weights(names, variant, str(folder), advice, stem=stem)
    for index in indexes:
        lost = sorted(_shards(folder / index) - names)
        if lost:
            raise ModelError(
                f"{folder} lacks {', '.join(lost)}, which {index} names. Copy or download the "
                "model again."
            )
    for name in tensors:
        check_safetensors(folder / name)


def check_safetensors(path: Path) -> None:
    """Checks that a file is as long as its header says.

    Args:
        path: A ``.safetensors`` file.

    Raises:
        ModelError: It is cut short, longer than it says, or no safetensors file.
    """
    read_header(path)


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
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path} is damaged: {error}. Copy or download it again.") from error
    if not isinstance(value, dict):
        raise ModelError(f"{path} should hold a JSON object, not a {type(value).__name__}.")
    return value


def _shards(index: Path) -> set[str]:
    """Gives the names of the files that an index spreads its tensors over.

    Raises:
        ModelError: The index is damaged, or names files outside its own folder.
    """
    names = read_json(index).get("weight_map")
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise ModelError(f"{index} maps no tensors to files. Copy or download the model again.")
    shards = set(names.values())
    outside = sorted(name for name in shards if Path(name).name != name)
    if outside:
        raise ModelError(
            f"{index} names {outside[0]!r}, which is outside its folder. Do not use this model."
        )
    return shards
