"""Models that are one component and no pipeline, such as a published ControlNet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from yggdrasil.core.component import Component
from yggdrasil.core.errors import ModelError
from yggdrasil.hub.integrity import read_json
from yggdrasil.hub.needs import component_files
from yggdrasil.hub.references import ModelReference, reference_to_folder
from yggdrasil.hub.snapshot import Snapshot
from yggdrasil.hub.sources import FolderSource

__all__ = ["CONFIG", "LoneLibrary", "LoneSource", "is_lone"]

CONFIG = "config.json"
"""The file that says what a component is."""


def is_lone(folder: Path) -> bool:
    """Says whether a folder holds one model of Diffusers by itself.

    Args:
        folder: On this machine.
    """
    return (folder / CONFIG).is_file() and not (folder / "model_index.json").is_file()


@dataclass(frozen=True, slots=True, eq=False)
class LoneLibrary:
    """A model that is one component: what every slot of a node is filled with.

    Attributes:
        folder: With ``config.json`` and weights.
        snapshot: The model on the hub whose folder it is, if it is one.
    """

    folder: Path
    snapshot: Snapshot | None = None

    def source(self, slot: Component[Any]) -> LoneSource:
        """Gives the component for any slot; one of another class is refused when it is read."""
        del slot
        return LoneSource(self.folder, self.snapshot)


@dataclass(frozen=True, slots=True, eq=False)
class LoneSource:
    """The only component of a folder.

    Attributes:
        folder: With ``config.json`` and weights.
        snapshot: The model on the hub whose folder it is, if it is one.
    """

    folder: Path
    snapshot: Snapshot | None = None

    def load(self, slot: Component[Any], dtype: torch.dtype | None = None) -> object:
        """Loads the component from safetensors.

        Args:
            slot: Where it is wanted.
            dtype: Of a model's weights; float32 if None.

        Raises:
            ModelError: Files are missing or damaged, or it is of another class.
        """
        self.check(slot)
        source, here = self._inner(slot)
        return source.load(here, dtype)

    def config(self, slot: Component[Any]) -> Mapping[str, Any]:
        """Reads the component's configuration file.

        Raises:
            ModelError: It is damaged, or of another class.
        """
        self._check_class(slot)
        source, here = self._inner(slot)
        return source.config(here)

    def check(self, slot: Component[Any]) -> None:
        """Checks the component's files and class without loading it.

        Raises:
            ModelError: Files are missing or damaged, or it is of another class.
        """
        self._check_class(slot)
        if self.snapshot is not None:
            names = {name for name in self.snapshot.files if "/" not in name}
            where, advice = self.snapshot.describe(), self.snapshot.advice()
            self.snapshot.fetch(component_files(names, slot.cls, None, where, advice))
        source, here = self._inner(slot)
        source.check(here)

    def describe(self) -> Mapping[str, Any]:
        """Gives the folder or the model of the hub."""
        model = str(self.folder) if self.snapshot is None else self.snapshot.describe()
        return {"pretrained": model}

    def reference(self) -> ModelReference:
        """Names the model so that another process finds it."""
        return reference_to_folder(self.folder)

    def _check_class(self, slot: Component[Any]) -> None:
        written = read_json(self.folder / CONFIG).get("_class_name")
        known = [cls.__name__ for cls in slot.cls.__mro__]
        if written not in (None, *known):
            raise ModelError(
                f"{self.folder} holds a {written}, and the node is for a {slot.cls.__name__}: give "
                "the node another model, or add one of the type that is for this one."
            )

    def _inner(self, slot: Component[Any]) -> tuple[FolderSource, Component[Any]]:
        folder = self.folder.resolve()
        return FolderSource(folder.parent), slot.at(folder=folder.name)
