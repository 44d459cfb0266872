"""A registered set of configurations as a giver of components: with random weights, if any."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from yggdrasil.core.component import Component, ComponentSource
from yggdrasil.core.errors import ModelError, nearest
from yggdrasil.hub.access import HubOptions
from yggdrasil.hub.config_sets import ComponentConfig, ConfigSet, config_sets
from yggdrasil.hub.library import INDEX
from yggdrasil.hub.loading import config_names
from yggdrasil.hub.sources import FreshSource
from yggdrasil.hub.vocabulary import VocabularySource

__all__ = ["ConfigLibrary", "ConfigSource"]


@dataclass(frozen=True, slots=True, eq=False)
class ConfigSource:
    """A component of a registered set.

    Attributes:
        registered: Its configuration.
        changes: Values that the caller gave.
        where: The set, for messages.
        seed: Of the weights, which are drawn at random.
    """

    registered: ComponentConfig
    changes: Mapping[str, Any]
    where: str
    seed: int = 0

    def load(self, slot: Component[Any], dtype: torch.dtype | None = None) -> object:
        """Makes the component, with random weights.

        Args:
            slot: Where it is wanted.
            dtype: That a model is put in.

        Raises:
            ConfigError: The configuration does not fit the class or the memory.
        """
        return self._fresh(slot).load(slot, dtype)

    def skeleton(self, slot: Component[Any]) -> Any:
        """Makes the component without weights: its tensors are on the meta device.

        Args:
            slot: Where it is wanted.

        Raises:
            ModelError: It is of another class than the slot's.
            ConfigError: The configuration does not fit the class.
        """
        self.check(slot)
        return self._fresh(slot).skeleton(slot)

    def config(self, slot: Component[Any]) -> Mapping[str, Any]:
        """Gives the configuration."""
        return {**self.registered.values, **self.changes}

    def check(self, slot: Component[Any]) -> None:
        """Checks class and names without making anything.

        Raises:
            ModelError: A model is of another class.
            ConfigError: The class knows no such value.
        """
        known = [cls.__name__ for cls in slot.cls.__mro__]
        if self.registered.class_name not in known and issubclass(slot.cls, nn.Module):
            raise ModelError(
                f"{slot.folder} of {self.where} is a {self.registered.class_name}, and the graph "
                f"has a block for {slot.cls.__name__} there."
            )
        self._fresh(slot).check(slot)

    def describe(self) -> Mapping[str, Any]:
        """Gives configuration and seed."""
        return {"config": dict(self.registered.values) | dict(self.changes), "seed": self.seed}

    def _fresh(self, slot: Component[Any]) -> FreshSource:
        """Gives the values for the slot's class; another's scheduler takes those that it knows."""
        values = self.config(slot)
        cls: type = slot.cls
        is_model = issubclass(slot.cls, nn.Module)
        if self.registered.class_name != cls.__name__ and not is_model:
            known = config_names(cls)
            values = {name: value for name, value in values.items() if name in known}
        return FreshSource(values, self.seed)


@dataclass(frozen=True, slots=True, eq=False)
class ConfigLibrary:
    """A registered set as a model without weights.

    Attributes:
        name: Of the set.
        configs: The set.
        changes: Values of configurations that the caller gave, by component.
        options: How the hub is asked for the vocabularies of tokenizers.
        wanted_by: What the components are for, for messages; the set itself if None.
    """

    name: str
    configs: ConfigSet
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    options: HubOptions = field(default_factory=HubOptions)
    wanted_by: str | None = None

    @classmethod
    def open(cls, name: str) -> ConfigLibrary:
        """Opens a registered set.

        Args:
            name: Such as ``sdxl_refiner``.

        Raises:
            ModelError: None is called so.
        """
        known = config_sets()
        if name not in known:
            raise ModelError(
                f"There are no registered configurations {name!r}.{nearest(name, known)}"
            )
        return cls(name, known[name])

    @property
    def graph_file(self) -> None:
        """Configurations come without a graph."""
        return

    def source(self, slot: Component[Any]) -> ComponentSource | None:
        """Gives the source of a slot, or None where the set has no such component."""
        found = self.configs.components.get(slot.folder)
        if found is None:
            return None
        if found.vocabulary is not None:
            wanted_by = self.wanted_by or self.describe()
            return VocabularySource(found.vocabulary, found.values, wanted_by, self.options)
        return ConfigSource(found, self.changes.get(slot.folder, {}), self.describe())

    def pipeline_class(self) -> str:
        """Gives the Diffusers pipeline class.

        Raises:
            ModelError: The set is of a part alone.
        """
        if self.configs.pipeline is None:
            raise ModelError(f"{self.describe()} are those of a part alone, and of no pipeline.")
        return self.configs.pipeline

    def scheduler_class(self) -> str | None:
        """Gives the scheduler's class."""
        found = self.configs.components.get("scheduler")
        return None if found is None else found.class_name

    def names(self) -> set[str]:
        """Gives the names of the components."""
        return set(self.configs.components)

    def setting(self, name: str) -> Any:
        """Gives a setting of the whole pipeline; None where there is none."""
        return self.configs.settings.get(name)

    def describe(self) -> str:
        """Names the set."""
        return f"the registered configurations {self.name!r}"

    def reference(self) -> None:
        """No file holds weights of it."""
        return

    def write(self, folder: Path) -> Path:
        """Writes the configurations in Diffusers' layout, for what reads them from a folder.

        Args:
            folder: Is made if it does not exist.

        Returns:
            The folder.
        """
        index: dict[str, Any] = {"_class_name": self.configs.pipeline, **self.configs.settings}
        for name, each in self.configs.components.items():
            index[name] = ["diffusers", each.class_name]
            if each.vocabulary is None:
                file = "scheduler_config.json" if name == "scheduler" else "config.json"
                (folder / name).mkdir(parents=True, exist_ok=True)
                values = {
                    "_class_name": each.class_name,
                    **each.values,
                    **self.changes.get(name, {}),
                }
                (folder / name / file).write_text(json.dumps(values, indent=2), encoding="utf-8")
        (folder / INDEX).write_text(json.dumps(index, indent=2), encoding="utf-8")
        return folder
