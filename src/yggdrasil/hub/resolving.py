"""What a model is, which template is for it, and which fact says so."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

from yggdrasil.core.errors import ModelError, nearest
from yggdrasil.hub.addresses import is_address, read_address
from yggdrasil.hub.checkpoint import CheckpointLibrary
from yggdrasil.hub.families import template_of
from yggdrasil.hub.integrity import read_json
from yggdrasil.hub.library import INDEX, Library
from yggdrasil.hub.locate import is_hub_id, locate
from yggdrasil.hub.model_entries import ModelEntry
from yggdrasil.hub.pipeline_classes import tasks_by_class
from yggdrasil.hub.registry import MODEL_REGISTRY

__all__ = ["Resolution", "resolve"]

_CONFIG = "config.json"
_NOT_HERE = (LocalEntryNotFoundError, OfflineModeIsEnabled)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """What a model is.

    Attributes:
        model: As it was asked for.
        template: The template that is for it; None where none is.
        task: The task of the template that the model is for.
        family: For people, where the registry knows it.
        pipeline: The Diffusers pipeline class; None for a part.
        component: What part it is, if it is no whole model: a name, or its class.
        why: The fact that decided.
        entry: What the registry knows of the model's id.
        library: The model, where it could be opened.
    """

    model: str
    template: str | None
    task: str | None
    family: str | None
    pipeline: str | None
    component: str | None
    why: str
    entry: ModelEntry | None = None
    library: Library | None = None

    def to_dict(self) -> dict[str, Any]:
        """Gives it as plain data."""
        names = [name for name in self.__slots__ if name not in ("entry", "library")]
        entry = None if self.entry is None else self.entry.to_dict()
        return {**{name: getattr(self, name) for name in names}, "registry": entry}


def resolve(model: str, *, online: bool = False) -> Resolution:
    """Says what a model is: by its own words, and after those by the registry.

    Args:
        model: A folder, a ``.safetensors`` file, its address on the hub, a zoo name or a hub id.
        online: Whether the hub may be asked; else only its cache on this machine is.

    Raises:
        ModelError: It is not there, or nothing says what it is.
    """
    folder = Path(model).expanduser()
    if (folder / _CONFIG).is_file() and not (folder / INDEX).is_file():
        return _part(model, str(read_json(folder / _CONFIG).get("_class_name")), folder / _CONFIG)
    if not is_hub_id(model):
        return _whole(model, locate(model), None)
    name = read_address(model).model if is_address(model) else model
    entry = MODEL_REGISTRY.find(name)
    try:
        library = locate(model, local_files_only=not online)
    except ModelError as error:
        if entry is not None:
            return _registered(model, entry, exact=name.partition("@")[0] in entry.ids)
        if online or not isinstance(error.__cause__, _NOT_HERE):
            raise ModelError(f"The registry has no model {name!r}. {error}") from error
        near = nearest(name, MODEL_REGISTRY.ids(), list_others=False)
        raise ModelError(
            f"{name!r} is no folder here, and neither the registry nor the hub's cache on this "
            f"machine has it.{near} --online (online=True) asks the hub."
        ) from error
    return _whole(model, library, entry)


def _whole(model: str, library: Library, entry: ModelEntry | None) -> Resolution:
    """Tells of a model that could be opened."""
    pipeline = library.pipeline_class()
    by_class = tasks_by_class().get(pipeline)
    if by_class is None and entry is not None:
        return _registered(model, entry, exact=True, library=library)
    if by_class is None and _is_exported(pipeline):
        return Resolution(
            model=model, template=None, task=None, family=None, pipeline=pipeline, component=None,
            why=f"{INDEX} names {pipeline}, which no template is for: it runs whole, as one block",
            library=library,
        )  # fmt: skip
    template = template_of(library)
    why = f"{INDEX} names {pipeline}"
    if isinstance(library, CheckpointLibrary) and library.family is not None:
        told = [f"{tensor} of {list(shape)}" for tensor, shape in library.family.tensors.items()]
        why = f"it has the tensors of {library.family.name}: {', '.join(told)}"
    task = None if by_class is None else by_class[1]
    family = next((each.family for each in MODEL_REGISTRY.entries if each.template == template), "")
    return Resolution(
        model=model, template=template, task=task, family=family or None, pipeline=pipeline,
        component=None, why=why, entry=entry, library=library,
    )  # fmt: skip


def _is_exported(pipeline: str) -> bool:
    """Says whether Diffusers has a pipeline of a name."""
    import diffusers  # noqa: PLC0415 - nothing else here needs it

    return pipeline in dir(diffusers)


def _registered(
    model: str, entry: ModelEntry, *, exact: bool, library: Library | None = None
) -> Resolution:
    """Tells what the registry knows."""
    how = "has its id" if exact else f"has a pattern for it, {' or '.join(entry.ids)}"
    return Resolution(
        model=model, template=entry.template, task=entry.task, family=entry.family,
        pipeline=entry.pipeline, component=entry.component,
        why=f"the registry {how}; its source: {entry.source}", entry=entry, library=library,
    )  # fmt: skip


def _part(model: str, class_name: str, path: Path) -> Resolution:
    """Tells of a folder with one component."""
    return Resolution(
        model=model, template=None, task=None, family=None, pipeline=None, component=class_name,
        why=f"{path.name} names {class_name}, and there is no {INDEX}",
    )  # fmt: skip
