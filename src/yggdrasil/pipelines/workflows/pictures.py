"""Pictures that carry what made them: a text in PNG, a user comment (Exif) in JPEG and WebP."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import PIL.Image
from PIL.PngImagePlugin import PngInfo
from pydantic import ValidationError

from yggdrasil.core.errors import GraphFileError, InputError, nearest
from yggdrasil.pipelines.workflows.schema import Picture, Workflow
from yggdrasil.pipelines.workflows.stores import INSIDE, PictureStore
from yggdrasil.pipelines.workflows.values import BROKEN, open_picture

__all__ = ["SUFFIXES", "Carried", "format_of", "pixels_hash", "read_picture", "write_picture"]

KEY = "yggdrasil"
_MOST_TEXT = 8 * 2**20
_EXIF, _COMMENT, _ASCII = 0x8769, 0x9286, b"ASCII\x00\x00\x00"
SUFFIXES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
"""The formats that pictures are written in, by how a name ends."""

_INSIDE = {"PNG": INSIDE, "WEBP": INSIDE, "JPEG": 0}  # JPEG has room for 64 KB of Exif
_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "PNG": {},
    "JPEG": {"quality": 95},
    "WEBP": {"lossless": True, "exact": True},
}
_OTHERS = {"parameters": "AUTOMATIC1111", "prompt": "ComfyUI", "invokeai_metadata": "InvokeAI"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """A picture with what it carries.

    Attributes:
        path: The file.
        image: The picture.
        workflow: What made it.
        store: What is no text of that.
        changes: What was changed since the file was written; empty if nothing.
    """

    path: Path
    image: PIL.Image.Image
    workflow: Workflow
    store: PictureStore
    changes: tuple[str, ...]


def pixels_hash(image: PIL.Image.Image) -> str:
    """Gives the SHA-256 of a picture's mode, size and pixels."""
    state = hashlib.sha256(f"{image.mode} {image.size}\n".encode())
    state.update(image.tobytes())
    return state.hexdigest()


def format_of(path: Path) -> str:
    """Gives the format that a picture's name says, as Pillow calls it.

    Raises:
        InputError: It says none that pictures are written in.
    """
    form = SUFFIXES.get(path.suffix.lower())
    if form is None:
        raise InputError(f"{path} names no kind of picture.{nearest(path.suffix, SUFFIXES)}")
    return form


def write_picture(
    path: Path,
    image: PIL.Image.Image,
    workflow: Workflow | None,
    store: PictureStore,
    *,
    index: int = 0,
) -> None:
    """Writes a picture with what made it; large inputs go into a folder beside it.

    Args:
        path: Ends in ``.png``, ``.webp`` (both without loss) or ``.jpg``.
        image: The picture.
        workflow: What made it; None writes the picture alone.
        store: What is no text of that.
        index: Its place among those of its call.

    Raises:
        InputError: The name ends otherwise, or the record is too large for the format.
    """
    form = format_of(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if workflow is None:
        image.save(path, format=form, **_OPTIONS[form])
        return
    inside, beside = store.divide(_INSIDE[form])
    about = Picture(index=index, pixels=pixels_hash(image), lossy=form == "JPEG")
    record = workflow.model_copy(update={"picture": about}).data()
    text = json.dumps({"record": record, "sha256": _record_hash(record), "inside": inside})
    try:
        image.save(path, format=form, **_OPTIONS[form], **_carrier(form, text))
    except (ValueError, OSError) as error:
        path.unlink(missing_ok=True)
        raise InputError(
            f"{path} cannot be written with what made it ({len(text):,} bytes): {error}. Take .png "
            "or .webp, or record=False."
        ) from error
    for name, data in beside.items():
        (path.parent / name).parent.mkdir(exist_ok=True)
        (path.parent / name).write_bytes(data)


def read_picture(path: Path) -> Carried:
    """Reads a picture and what it carries; nothing is run, built or opened beside it.

    Args:
        path: A file that anyone may have made.

    Raises:
        GraphFileError: It is no picture, carries nothing of YggDrasil, or what is damaged.
    """
    try:
        image = open_picture(path.read_bytes(), str(path))
    except OSError as error:
        raise GraphFileError(f"{path} cannot be read: {error.strerror}.") from error
    text = _text_of(image, path)
    if len(text) > _MOST_TEXT:
        raise GraphFileError(f"{path}: its record has {len(text):,} bytes, which none has.")
    told, workflow, about = _read_record(text, path)
    record, inside = told["record"], told["inside"]
    changes = []
    if told.get("sha256") != _record_hash(record):
        changes.append("the record of what made it")
    if not about.lossy and pixels_hash(image) != about.pixels:
        changes.append("the picture itself")
    return Carried(
        path=path,
        image=image,
        workflow=workflow,
        store=PictureStore(path.parent, inside),
        changes=tuple(changes),
    )


def _read_record(text: str, path: Path) -> tuple[dict[str, Any], Workflow, Picture]:
    try:
        told = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise GraphFileError(f"{path}: its record is damaged: {error}.") from error
    known = isinstance(told, dict) and all(
        isinstance(told.get(key), dict) for key in ("record", "inside")
    )
    if not known or "picture" not in told["record"]:
        raise GraphFileError(f"{path}: its record is damaged: it lacks parts that each one has.")
    try:
        workflow = Workflow.model_validate(told["record"])
    except ValidationError as error:
        first = error.errors()[0]
        at = ".".join(map(str, first["loc"]))
        raise GraphFileError(
            f"{path}: its record cannot be read, at {at}: {first['msg']}. It was changed, or "
            "written by another version of YggDrasil."
        ) from error
    about = workflow.picture or Picture(index=0, pixels="")
    return told, workflow, about


def _carrier(form: str, text: str) -> dict[str, Any]:
    if form == "PNG":
        info = PngInfo()
        info.add_text(KEY, text)
        return {"pnginfo": info}
    exif = PIL.Image.Exif()
    exif.get_ifd(_EXIF)[_COMMENT] = _ASCII + f"{KEY}:{text}".encode("ascii")
    return {"exif": exif.tobytes()}


def _text_of(image: PIL.Image.Image, path: Path) -> str:
    text = image.info.get(KEY)
    if isinstance(text, str):
        return text
    try:
        comment = image.getexif().get_ifd(_EXIF).get(_COMMENT, b"")
    except BROKEN as error:
        raise GraphFileError(f"{path} has damaged Exif data: {error}.") from error
    if isinstance(comment, bytes) and comment.startswith(_ASCII + KEY.encode()):
        return comment.removeprefix(_ASCII).decode("ascii", "replace").partition(":")[2]
    seen = sorted(key for key, value in image.info.items() if isinstance(value, str))
    maker = next((_OTHERS[key] for key in seen if key in _OTHERS), None)
    also = "" if not seen else f" It holds {', '.join(map(repr, seen[:5]))}"
    raise GraphFileError(
        f"{path} carries no record of YggDrasil, so there is nothing to make it from.{also}"
        f"{f', as pictures of {maker} do' if maker else ''}{'.' if also else ''} A program that "
        "writes pictures anew often drops such records."
    )


def _record_hash(record: Mapping[str, Any]) -> str:
    text = json.dumps(record, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
