"""Files that pydantic checks, with what is wrong told by file and line."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from yggdrasil.core.errors import nearest
from yggdrasil.core.serialization.document import Document

__all__ = ["checked"]

M = TypeVar("M", bound=BaseModel)


def checked(document: Document, model: type[M]) -> M:
    """Reads a document as a model.

    Args:
        document: The data and the lines where it stands.
        model: What it should be.

    Raises:
        GraphFileError: With file and line of what is wrong, the value seen, and the nearest name.
    """
    try:
        return model.model_validate(document.data)
    except ValidationError as error:
        first = error.errors()[0]
        place = first["loc"]
        raise document.error(_told(dict(first), place, model), *place) from error


def _told(error: dict[str, Any], place: tuple[str | int, ...], model: type[BaseModel]) -> str:
    name = ".".join(map(str, place))
    if error["type"] == "extra_forbidden":
        known = _keys(model, place[:-1])
        return f"there is no key {name!r}.{nearest(str(place[-1]), known)}"
    if error["type"] == "missing":
        return f"{name!r} is missing."
    message = error["msg"].removeprefix("Value error, ").rstrip(".")
    if not name:
        return f"{message}."
    if error["type"] != "value_error":  # pydantic's own words
        message = f"{message[:1].lower()}{message[1:]}"
    return f"{name!r} is {_shown(error['input'])}: {message}."


def _keys(model: type[BaseModel], place: tuple[str | int, ...]) -> set[str]:
    """Gives the keys that a part of a model takes; none where the part is no model."""
    at: Any = model
    for key in place:
        fields = at.model_fields if _is_model(at) else {}
        if key not in fields:
            continue  # a key of a mapping or a place in a list, whose values are models
        at = fields[key].annotation
        at = next((each for each in (at, *_arguments(at)) if _is_model(each)), at)
    if not _is_model(at):
        return set()
    return {field.alias or name for name, field in at.model_fields.items()}


def _is_model(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, BaseModel)


def _arguments(annotation: Any) -> list[Any]:
    found: list[Any] = []
    for each in getattr(annotation, "__args__", ()):
        found += [each, *_arguments(each)]
    return found


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
