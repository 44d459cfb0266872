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
from yggdrasil.hub.references import ModelReference, reference_to_folder
from yggdrasil.hub.sources import FolderSource

__all__ = ["LoneSource", "is_lone"]

_CONFIG = "config.json"


def is_lone(folder: Path) -> bool:
    """Says whether a folder holds one model of Diffusers by itself.

    Args:
        folder: On this machine.
    """
    return (folder / _CONFIG).is_file() and not (folder / "model_index.json").is_file()


@dataclass(frozen=True, slots=True, eq=False)
class LoneSource:
    """The only component of a folder.

    Attributes:
        folder: With ``config.json`` and weights.
        variant: Of the weights; the plain ones if None.
    """

    folder: Path
    variant: str | None = None

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
            ModelError: It is damaged.
        """
        source, here = self._inner(slot)
        return source.config(here)

    def check(self, slot: Component[Any]) -> None:
        """Checks the component's files and class without loading it.

        Raises:
            ModelError: Files are missing or damaged, or it is of another class.
        """
        written = read_json(self.folder / _CONFIG).get("_class_name")
        known = [cls.__name__ for cls in slot.cls.__mro__]
        if written not in (None, *known):
            raise ModelError(
                f"{self.folder} holds a {written}, and the node is for a {slot.cls.__name__}: give "
                "the node another model, or add one of the type that is for this one."
            )
        source, here = self._inner(slot)
        source.check(here)

    def describe(self) -> Mapping[str, Any]:
        """Gives the folder, and the variant if there is one."""
        variant = {} if self.variant is None else {"variant": self.variant}
        return {"pretrained": str(self.folder), **variant}

    def reference(self) -> ModelReference:
        """Names the model so that another process finds it."""
        return reference_to_folder(self.folder, self.variant)

    def _inner(self, slot: Component[Any]) -> tuple[FolderSource, Component[Any]]:
        folder = self.folder.resolve()
        return FolderSource(folder.parent, self.variant), slot.at(folder=folder.name)
