"""What is known of a model by its id: one entry of the registry, and how its files are read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from yggdrasil.hub.data_files import read_data
from yggdrasil.hub.pipeline_classes import tasks_by_class

__all__ = ["ModelEntry", "read_entries"]

_FOLDER = Path(__file__).parent / "models"
_STRICT = {"extra": "forbid"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEntry:
    """What is known of models by their ids.

    Attributes:
        ids: Ids, and patterns with ``*`` and ``?`` for copies of a model.
        about: What it is, in a few words.
        source: Where the facts are from.
        family: For people.
        template: The template that is for its family; None where none is.
        pipeline: The Diffusers pipeline class that it is a model of; None for a part.
        component: What part it is, such as ``controlnet``, if it is no whole model.
        class_name: Of the part.
        configs: The registered set of configurations that is its own.
        no_configs: Why none is registered, where one should be.
        gated: Whether its owner wants to know who uses it; None where that is not known.
        license: Where it is known.
    """

    ids: tuple[str, ...]
    about: str
    source: str
    family: str
    template: str | None = None
    pipeline: str | None = None
    component: str | None = None
    class_name: str | None = None
    configs: str | None = None
    no_configs: str | None = None
    gated: bool | None = None
    license: str | None = None

    @property
    def task(self) -> str | None:
        """The task that the model is for: that of its pipeline's class in its template."""
        template, task = tasks_by_class().get(self.pipeline or "", (None, None))
        return task if template is not None and template == self.template else None

    def to_dict(self) -> dict[str, Any]:
        """Gives the entry as plain data."""
        names = [name for name in self.__slots__ if name != "ids"]
        return {"ids": list(self.ids), **{n: getattr(self, n) for n in names}, "task": self.task}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    ids: tuple[str, ...]
    about: str
    source: str
    template: str | None = None
    pipeline: str | None = None
    native: bool = True
    component: str | None = None
    class_name: str | None = None
    configs: str | None = None
    no_configs: str | None = None
    gated: bool | None = None
    license: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """A file of the registry.

    Attributes:
        family: For people.
        template: Of the family; an entry may name another, or say that it is not ``native``.
        models: The entries, the closest match of several patterns first.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    schema: Literal[1]
    family: str
    template: str | None = None
    models: tuple[_Entry, ...]


def read_entries() -> tuple[ModelEntry, ...]:
    """Reads all files of the registry."""
    files = read_data(_FOLDER, _File)
    return tuple(_entry(each, file) for file in files for each in file.models)


def _entry(each: _Entry, file: _File) -> ModelEntry:
    values = {name: getattr(each, name) for name in _Entry.__slots__ if name != "native"}
    template = (each.template or file.template) if each.native else None
    return ModelEntry(**{**values, "family": file.family, "template": template})
