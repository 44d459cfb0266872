"""Where a workflow keeps what is no text: in files beside it, or inside a picture."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from yggdrasil.core.errors import GraphFileError

__all__ = ["INSIDE", "FolderStore", "PictureStore", "Store", "content_hash", "files_of"]

INSIDE = 2**20
"""Bytes that a picture carries inside; what is larger lies beside it."""

_INLINE = 1024
_BESIDE = "yggdrasil-inputs"


class Store(Protocol):
    """Keeps bytes and gives plain data that stands for them."""

    def put(self, name: str, data: bytes, suffix: str) -> dict[str, str]:
        """Keeps bytes; the reference that is given back goes into the file."""
        ...

    def get(self, reference: Mapping[str, object], where: str) -> bytes:
        """Gives the bytes of a reference, once their hash was found right."""
        ...


def content_hash(data: bytes) -> str:
    """Gives the SHA-256 of bytes in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


class FolderStore:
    """Files below the folder of a workflow; small ones stand in the workflow itself.

    Args:
        workflow: The workflow's file.
        files: The folder to write to; nothing is written unless it is given.
    """

    def __init__(self, workflow: Path, files: Path | None = None) -> None:
        self._workflow = workflow
        self._files = files

    def put(self, name: str, data: bytes, suffix: str) -> dict[str, str]:
        """Writes a file called after an input, unless it is small.

        Args:
            name: What the bytes are.
            data: The bytes.
            suffix: Of the file, such as ``png``.
        """
        if len(data) <= _INLINE or self._files is None:
            return {"data": base64.b64encode(data).decode()}
        key = content_hash(data)
        file = f"{re.sub(r'[^A-Za-z0-9_-]', '_', name)}.{suffix}"
        if (self._files / file).exists():
            file = f"{key}.{suffix}"
        self._files.mkdir(parents=True, exist_ok=True)
        (self._files / file).write_bytes(data)
        return {"file": f"{files_of(self._workflow).name}/{file}", "sha256": key}

    def get(self, reference: Mapping[str, object], where: str) -> bytes:
        """Reads a file below the workflow's folder, or what stands in the workflow.

        Args:
            reference: With ``data``, or with ``file`` and, where it is to be checked, ``sha256``.
            where: For messages.

        Raises:
            GraphFileError: There is no such file, it lies elsewhere, or has another hash.
        """
        if "data" in reference:
            return _decoded(reference["data"], where)
        path = self._path(reference.get("file"), where)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise GraphFileError(f"{where}: {path} cannot be read: {error.strerror}.") from error
        wanted = reference.get("sha256")
        if wanted is not None and content_hash(data) != wanted:
            raise GraphFileError(
                f"{where}: {path} is another file than the one that the workflow was saved with. "
                "To use it all the same, take 'sha256' away."
            )
        return data

    def _path(self, name: object, where: str) -> Path:
        if not isinstance(name, str) or not name:
            raise GraphFileError(f"{where}: this names no file: say 'file' or 'data'.")
        root = self._workflow.parent.resolve()
        try:
            path = (root / name).resolve()
        except (OSError, ValueError) as error:
            raise GraphFileError(f"{where}: {name[:80]!r} names no file: {error}.") from error
        # Links are followed before the comparison, so none leads out.
        if not path.is_relative_to(root):
            raise GraphFileError(
                f"{where}: the file {name!r} is not below {root}, where the workflow lies: copy it "
                "there, or give it in the call."
            )
        return path


class PictureStore:
    """Bytes by their hash: as many as fit inside a picture, the others beside it.

    Args:
        beside: The folder of the picture; large bytes are looked for there.
        inside: What the picture carries, by hash, in base64.
    """

    def __init__(self, beside: Path | None = None, inside: Mapping[str, str] | None = None) -> None:
        self._beside = beside
        self._inside = inside or {}
        self.kept: dict[str, tuple[bytes, str]] = {}

    def put(self, name: str, data: bytes, suffix: str) -> dict[str, str]:
        """Keeps bytes in ``kept`` until the picture is written.

        Args:
            name: Not used: what is kept is called by its hash.
            data: The bytes.
            suffix: Of the file, should they need one.
        """
        del name
        key = content_hash(data)
        self.kept[key] = (data, suffix)
        return {"sha256": key, "suffix": suffix}

    def get(self, reference: Mapping[str, object], where: str) -> bytes:
        """Gives bytes from inside the picture or beside it; no path is read from the picture.

        Args:
            reference: With ``sha256`` and ``suffix``.
            where: For messages.

        Raises:
            GraphFileError: They are not there, or have another hash.
        """
        key, suffix = str(reference.get("sha256")), str(reference.get("suffix"))
        if len(key) != 64 or not set(key) <= set("0123456789abcdef") or not suffix.isalnum():
            raise GraphFileError(f"{where}: {dict(reference)!r} is no hash with a suffix.")
        if key in self._inside:
            data = _decoded(self._inside[key], where)
        elif self._beside is None:
            raise GraphFileError(f"{where}: the picture does not hold it.")
        else:
            path = self._beside / _BESIDE / f"{key}.{suffix}"
            if not path.is_file():
                raise GraphFileError(
                    f"{where} was too large to be kept in the picture, and {path} is not there: "
                    f"put the folder {_BESIDE!r}, which was written with the picture, beside it."
                )
            data = path.read_bytes()
        if content_hash(data) != key:
            raise GraphFileError(f"{where}: what is kept has another hash than the picture says.")
        return data

    def divide(self, limit: int) -> tuple[dict[str, str], dict[str, bytes]]:
        """Divides what is kept into what fits inside, smallest first, and the files beside.

        Args:
            limit: Most bytes inside.

        Returns:
            What is inside, by hash in base64; and the other files, by name below the folder.
        """
        inside: dict[str, str] = {}
        beside: dict[str, bytes] = {}
        for key, (data, suffix) in sorted(self.kept.items(), key=lambda item: len(item[1][0])):
            limit -= len(data)
            if limit >= 0:
                inside[key] = base64.b64encode(data).decode()
            else:
                beside[f"{_BESIDE}/{key}.{suffix}"] = data
        return inside, beside


def files_of(workflow: Path) -> Path:
    """Gives the folder of a workflow's files: ``portrait.yaml`` has ``portrait.files``."""
    return workflow.with_name(f"{workflow.stem}.files")


def _decoded(text: object, where: str) -> bytes:
    try:
        return base64.b64decode(str(text), validate=True)
    except binascii.Error as error:
        raise GraphFileError(f"{where}: this is no base64: {error}.") from error
