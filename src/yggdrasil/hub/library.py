"""Libraries: a whole model as a giver of components by slot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from yggdrasil.core.component import Component, ComponentSource, Given
from yggdrasil.core.errors import ModelError, nearest
from yggdrasil.hub.integrity import read_json
from yggdrasil.hub.sources import FolderSource

__all__ = ["FolderLibrary", "Library", "ObjectLibrary"]


class Library(Protocol):
    """A model that components are taken from."""

    def source(self, slot: Component[Any]) -> ComponentSource | None:
        """Gives the source of a slot, or None where the model has no such component."""
        ...

    def scheduler_class(self) -> str | None:
        """Gives the name of the model's scheduler class, where it has one."""
        ...

    def describe(self) -> str:
        """Says which model it is."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class FolderLibrary:
    """A pipeline saved in Diffusers' layout."""

    root: Path
    shared: dict[tuple[str, type], object] = field(default_factory=dict, repr=False)

    @classmethod
    def open(cls, root: Path) -> FolderLibrary:
        """Opens a folder.

        Raises:
            ModelError: It does not exist or holds no pipeline.
        """
        if not root.is_dir():
            siblings = [path.name for path in root.parent.iterdir()] if root.parent.is_dir() else []
            raise ModelError(f"There is no folder {root}.{nearest(root.name, siblings)}")
        if not (root / "model_index.json").is_file():
            raise ModelError(
                f"{root} has no model_index.json, so it is not a pipeline in Diffusers' layout. "
                "Give the folder that holds unet, vae, scheduler, ..."
            )
        return cls(root)

    def index(self) -> Mapping[str, Any]:
        """Reads ``model_index.json``."""
        return read_json(self.root / "model_index.json")

    def source(self, slot: Component[Any]) -> ComponentSource | None:
        """Gives the source of a slot, unless the index says that the model has none."""
        entry = self.index().get(slot.folder)
        if entry is None or (isinstance(entry, list) and entry[0] is None):
            return None
        return FolderSource(self.root, self.shared)

    def scheduler_class(self) -> str | None:
        """Reads the scheduler's class off the index."""
        entry = self.index().get("scheduler")
        return str(entry[1]) if isinstance(entry, list) and entry[1] else None

    def describe(self) -> str:
        """Gives the folder."""
        return str(self.root)


@dataclass(frozen=True, slots=True, eq=False)
class ObjectLibrary:
    """Components that the caller holds, such as those of a Diffusers pipeline."""

    components: Mapping[str, Any]
    name: str

    def source(self, slot: Component[Any]) -> ComponentSource | None:
        """Gives the object of that name."""
        value = self.components.get(slot.folder)
        return None if value is None else Given(value)

    def scheduler_class(self) -> str | None:
        """Gives the class of the scheduler object."""
        scheduler = self.components.get("scheduler")
        return None if scheduler is None else type(scheduler).__name__

    def describe(self) -> str:
        """Gives the name of the object they came from."""
        return self.name
