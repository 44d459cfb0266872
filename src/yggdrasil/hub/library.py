"""Libraries: a whole model as a giver of components by slot."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from yggdrasil.core.component import Component, ComponentSource, Given
from yggdrasil.core.errors import ModelError, nearest
from yggdrasil.hub.integrity import read_json
from yggdrasil.hub.named_code import refuse_code_in_index
from yggdrasil.hub.references import ModelReference, reference_to_folder
from yggdrasil.hub.repairs import repairs_for
from yggdrasil.hub.several import split_index
from yggdrasil.hub.snapshot import Snapshot
from yggdrasil.hub.sources import FolderSource
from yggdrasil.hub.weights import weight_files

__all__ = ["GRAPH", "INDEX", "FolderLibrary", "Library", "ObjectLibrary", "OverlaidLibrary"]

INDEX = "model_index.json"
"""The file that says which components a pipeline in Diffusers' layout has."""
GRAPH = "graph.yaml"
"""The file that holds the graph that a pipeline was saved with."""

_log = logging.getLogger("yggdrasil")


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

    @property
    def graph_file(self) -> Path | None:
        """The graph that the model was saved with, if it was saved with one."""
        ...

    def setting(self, name: str) -> Any:
        """Gives a setting of the whole pipeline that is no component; None where there is none."""
        ...

    def describe(self) -> str:
        """Says which model it is."""
        ...

    def reference(self) -> ModelReference | None:
        """Names the model so that another process finds it; None where no file holds it."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class FolderLibrary:
    """A pipeline saved in Diffusers' layout.

    Attributes:
        root: The folder.
        variant: Of the weights, such as ``fp16``; the plain ones if None. A component that has no
            such weights, where others have, is loaded from the plain ones, as Diffusers does.
        shared: Components that were loaded already, by folder and class.
        snapshot: The model on the hub that the folder is a part of, if it is one.
        changes: Values of configurations that the caller gave, by component.
    """

    root: Path
    variant: str | None = None
    shared: dict[tuple[str, type], object] = field(default_factory=dict, repr=False)
    snapshot: Snapshot | None = None
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def open(
        cls, root: Path, variant: str | None = None, snapshot: Snapshot | None = None
    ) -> FolderLibrary:
        """Opens a folder.

        Args:
            root: The folder.
            variant: Of the weights.
            snapshot: The model on the hub that it is a part of.

        Raises:
            ModelError: It does not exist, holds no pipeline, or its index names code.
        """
        if root.is_file():
            raise ModelError(
                f"{root} is a file: a model is a folder in Diffusers' layout, perhaps the one that "
                f"it is in, {root.parent}, or one .safetensors file."
            )
        if not root.is_dir():
            siblings = [path.name for path in root.parent.iterdir()] if root.parent.is_dir() else []
            raise ModelError(
                f"There is no folder {root}.{nearest(root.name, siblings, list_others=False)}"
            )
        if not (root / INDEX).is_file():
            raise ModelError(
                f"{root} has no {INDEX}, so it is not a pipeline in Diffusers' layout. "
                f"{_part_in(root)}"
            )
        library = cls(root, variant, snapshot=snapshot)
        library.index()
        library._say_mixed()
        return library

    @property
    def graph_file(self) -> Path | None:
        """The graph that the model was saved with, if it was saved with one."""
        file = self.root / GRAPH
        return file if file.is_file() else None

    def index(self) -> Mapping[str, Any]:
        """Reads ``model_index.json``.

        Raises:
            ModelError: It is damaged, or names code.
        """
        index = read_json(self.root / INDEX)
        refuse_code_in_index(index, self.root / INDEX)
        return split_index(index, self._has_folder)

    def source(self, slot: Component[Any]) -> FolderSource | None:
        """Gives the source of a slot, unless the index says that the model has none."""
        index = self.index()
        class_name = self._class_in(index, slot.folder)
        if class_name is None:
            return None
        with_variant = self._with_variant()
        plain = with_variant and slot.folder not in with_variant
        # A model that was saved with its graph says what it was run with.
        pipeline = None if self.graph_file is not None else index.get("_class_name")
        return FolderSource(
            self.root,
            None if plain else self.variant,
            self.shared,
            repairs_for(pipeline, slot.folder),
            self.changes.get(slot.folder, {}),
            self.snapshot,
            class_name,
        )

    def pipeline_class(self) -> str:
        """Reads the pipeline's class off the index.

        Raises:
            ModelError: The index does not say it.
        """
        name = self.index().get("_class_name")
        if not isinstance(name, str):
            raise ModelError(
                f"{self.root / INDEX} says no _class_name, so the model's family is unknown. Copy "
                "or download it again."
            )
        return name

    def scheduler_class(self) -> str | None:
        """Reads the scheduler's class off the index."""
        return self._class_in(self.index(), "scheduler")

    def names(self) -> set[str]:
        """Reads the names of the components that the model has off the index."""
        index = self.index()
        entries = {name for name, value in index.items() if isinstance(value, list)}
        return {name for name in entries if self._class_in(index, name) is not None}

    def setting(self, name: str) -> Any:
        """Reads a setting of the whole pipeline off the index."""
        value = self.index().get(name)
        return None if isinstance(value, list) else value

    def holds_weights(self, name: str) -> bool:
        """Says whether there are weights of a component, of any variant."""
        return bool(self._weights(name))

    def describe(self) -> str:
        """Gives the folder, or the model of the hub with its commit."""
        return str(self.root) if self.snapshot is None else self.snapshot.describe()

    def reference(self) -> ModelReference:
        """Names the model of the zoo or of the hub, or the folder."""
        return reference_to_folder(self.root, self.variant)

    def _has_folder(self, name: str) -> bool:
        if self.snapshot is not None:
            return bool(self.snapshot.in_folder(name))
        return (self.root / name).is_dir()

    def _with_variant(self) -> set[str]:
        """Gives the names of the components that have weights of the variant wanted."""
        if self.variant is None:
            return set()
        return {name for name in self.names() if self.variant in self._weights(name)}

    def _weights(self, name: str) -> Collection[str | None]:
        """Gives the variants of a component's weights."""
        if self.snapshot is not None:
            return weight_files(self.snapshot.in_folder(name))
        return weight_files(path.name for path in (self.root / name).glob("*"))

    def _say_mixed(self) -> None:
        """Warns where some components have weights of the variant wanted and others have not."""
        with_variant = self._with_variant()
        plain = sorted(name for name in self.names() - with_variant if None in self._weights(name))
        if with_variant and plain:
            _log.warning(
                "%s has no %s weights of %s: the plain ones are taken.",
                self.describe(),
                self.variant,
                ", ".join(plain),
            )

    def _class_in(self, index: Mapping[str, Any], name: str) -> str | None:
        """Gives the class of a component, or None where the model has none.

        Raises:
            ModelError: The index says something else than ``[library, class]``.
        """
        entry = index.get(name)
        if entry is None or entry == [None, None]:
            return None
        if not isinstance(entry, list) or len(entry) != 2 or not isinstance(entry[1], str):
            raise ModelError(
                f"{self.root / INDEX} says {name}: {entry!r}, which is not [library, class]. Copy "
                "or download the model again."
            )
        return entry[1]


@dataclass(frozen=True, slots=True, eq=False)
class ObjectLibrary:
    """Components that the caller holds, such as those of a Diffusers pipeline.

    Attributes:
        components: By name; None is none.
        name: Of the pipeline's class.
        settings: Of the whole pipeline.
    """

    components: Mapping[str, Any]
    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)

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

    @property
    def graph_file(self) -> None:
        """Objects come without a graph."""
        return

    def setting(self, name: str) -> Any:
        """Gives a setting of the pipeline object."""
        return self.settings.get(name)

    def describe(self) -> str:
        """Gives the name of the object they came from."""
        return self.name

    def reference(self) -> None:
        """No file is known to hold objects."""
        return


@dataclass(frozen=True, slots=True, eq=False)
class OverlaidLibrary:
    """A model with components of the caller in the place of its own.

    Attributes:
        model: The model.
        components: By name; None leaves the model's own out.
    """

    model: Library
    components: Mapping[str, Any]

    def source(self, slot: Component[Any]) -> ComponentSource | None:
        """Gives the caller's component, or the model's."""
        if slot.folder not in self.components:
            return self.model.source(slot)
        value = self.components[slot.folder]
        return None if value is None else Given(value)

    def pipeline_class(self) -> str:
        """Gives the model's class."""
        return self.model.pipeline_class()

    def scheduler_class(self) -> str | None:
        """Gives the class of the caller's scheduler, or of the model's."""
        if "scheduler" not in self.components:
            return self.model.scheduler_class()
        scheduler = self.components["scheduler"]
        return None if scheduler is None else type(scheduler).__name__

    def names(self) -> set[str]:
        """Gives the names of the components that there are."""
        given = {name for name, value in self.components.items() if value is not None}
        return (self.model.names() - self.components.keys()) | given

    @property
    def graph_file(self) -> Path | None:
        """The graph that the model was saved with, if it was saved with one."""
        return self.model.graph_file

    def setting(self, name: str) -> Any:
        """Gives the model's."""
        return self.model.setting(name)

    def describe(self) -> str:
        """Names the model."""
        return self.model.describe()

    def reference(self) -> ModelReference | None:
        """Names the model; the caller's components are told of one by one."""
        return self.model.reference()

    def without(self) -> tuple[str, ...]:
        """Gives the names of the components that the caller left out."""
        return tuple(sorted(name for name, value in self.components.items() if value is None))


def _part_in(folder: Path) -> str:
    """Says what to do with a folder that is no pipeline, by what it holds."""
    config = folder / "config.json"
    held = read_json(config).get("_class_name") if config.is_file() else None
    if (folder.parent / INDEX).is_file():
        return f"It is a part of one: give {str(folder.parent)!r}."
    if held is not None:
        return (
            f"It holds a {held} by itself, for a node: add_node(..., pretrained={str(folder)!r}); "
            "or give from_pretrained the pipeline's folder, and the loaded part by its name, such "
            "as vae=... or controlnet=..."
        )
    return "Give the folder that holds unet, vae, scheduler, ..."
