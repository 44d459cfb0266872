"""Libraries: a whole model as a giver of components by slot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from yggdrasil.core.component import Component, ComponentSource, Given
from yggdrasil.core.errors import ModelError, nearest
from yggdrasil.hub.integrity import read_json
from yggdrasil.hub.repairs import repairs_for
from yggdrasil.hub.sources import FolderSource

__all__ = ["FolderLibrary", "Library", "ObjectLibrary"]

_INDEX = "model_index.json"


class Library(Protocol):
    """A model that components are taken from."""

    def source(self, slot: Component[Any]) -> ComponentSource | None:
        """Gives the source of a slot, or None where the model has no such component."""
        ...

    def pipeline_class(self) -> str:
        """Gives the name of the Diffusers pipeline class that the model is of."""
        ...

    def scheduler_class(self) -> str | None:
        """Gives the name of the model's scheduler class, where it has one."""
        ...

    def names(self) -> set[str]:
        """Gives the names of the model's components."""
        ...

    def describe(self) -> str:
        """Says which model it is."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class FolderLibrary:
    """A pipeline saved in Diffusers' layout.

    Attributes:
        root: The folder.
        variant: Of the weights, such as ``fp16``; the plain ones if None.
        shared: Components that were loaded already, by folder and class.
    """

    root: Path
    variant: str | None = None
    shared: dict[tuple[str, type], object] = field(default_factory=dict, repr=False)

    @classmethod
    def open(cls, root: Path, variant: str | None = None) -> FolderLibrary:
        """Opens a folder.

        Raises:
            ModelError: It does not exist or holds no pipeline.
        """
        if not root.is_dir():
            siblings = [path.name for path in root.parent.iterdir()] if root.parent.is_dir() else []
            raise ModelError(
                f"There is no folder {root}.{nearest(root.name, siblings, list_others=False)}"
            )
        if not (root / _INDEX).is_file():
            raise ModelError(
                f"{root} has no {_INDEX}, so it is not a pipeline in Diffusers' layout. Give the "
                "folder that holds unet, vae, scheduler, ..."
            )
        return cls(root, variant)

    @property
    def graph_file(self) -> Path:
        """The graph that the model was saved with, if it was saved with one."""
        return self.root / "graph.yaml"

    def has_graph(self) -> bool:
        """Whether the model was saved with its graph."""
        return self.graph_file.is_file()

    def index(self) -> Mapping[str, Any]:
        """Reads ``model_index.json``.

        Raises:
            ModelError: It is damaged.
        """
        return read_json(self.root / _INDEX)

    def source(self, slot: Component[Any]) -> ComponentSource | None:
        """Gives the source of a slot, unless the index says that the model has none."""
        class_name = self._class_of(slot.folder)
        if class_name is None:
            return None
        # A model that was saved with its graph says what it was run with.
        pipeline = None if self.has_graph() else self.index().get("_class_name")
        repairs = repairs_for(pipeline, slot.folder)
        return FolderSource(self.root, self.variant, self.shared, repairs, class_name)

    def pipeline_class(self) -> str:
        """Reads the pipeline's class off the index.

        Raises:
            ModelError: The index does not say it.
        """
        name = self.index().get("_class_name")
        if not isinstance(name, str):
            raise ModelError(
                f"{self.root / _INDEX} says no _class_name, so the model's family is unknown. Copy "
                "or download it again."
            )
        return name

    def scheduler_class(self) -> str | None:
        """Reads the scheduler's class off the index."""
        return self._class_of("scheduler")

    def names(self) -> set[str]:
        """Reads the names of the components that the model has off the index."""
        entries = {name for name, value in self.index().items() if isinstance(value, list)}
        return {name for name in entries if self._class_of(name) is not None}

    def describe(self) -> str:
        """Gives the folder."""
        return str(self.root)

    def _class_of(self, name: str) -> str | None:
        """Gives the class of a component, or None where the model has none.

        Raises:
            ModelError: The index says something else than ``[library, class]``.
        """
        entry = self.index().get(name)
        if entry is None or entry == [None, None]:
            return None
        if not isinstance(entry, list) or len(entry) != 2 or not isinstance(entry[1], str):
            raise ModelError(
                f"{self.root / _INDEX} says {name}: {entry!r}, which is not [library, class]. Copy "
                "or download the model again."
            )
        return entry[1]


@dataclass(frozen=True, slots=True, eq=False)
class ObjectLibrary:
    """Components that the caller holds, such as those of a Diffusers pipeline.

    Attributes:
        components: By name; None is none.
        name: Of the pipeline's class.
    """

    components: Mapping[str, Any]
    name: str

    def source(self, slot: Component[Any]) -> ComponentSource | None:
        """Gives the object of that name."""
        value = self.components.get(slot.folder)
        return None if value is None else Given(value)

    def pipeline_class(self) -> str:
        """Gives the class of the pipeline that the components come from."""
        return self.name

    def scheduler_class(self) -> str | None:
        """Gives the class of the scheduler object."""
        scheduler = self.components.get("scheduler")
        return None if scheduler is None else type(scheduler).__name__

    def names(self) -> set[str]:
        """Gives the names of the components that are there."""
        return {name for name, value in self.components.items() if value is not None}

    def describe(self) -> str:
        """Gives the name of the object they came from."""
        return self.name
