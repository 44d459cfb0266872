"""Sources: how a component is loaded from a folder or made from a configuration."""

from __future__ import annotations

import functools
import inspect
import json
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn

from yggdrasil.core.component import Component
from yggdrasil.core.errors import ConfigError, ModelError, nearest
from yggdrasil.hub.integrity import check_vocabulary, check_weights, read_json
from yggdrasil.hub.loading import (
    LOADING,
    REFUSALS,
    config_names,
    put_right,
    refuse_lost,
    settle,
    told,
)
from yggdrasil.hub.memory import within_memory
from yggdrasil.hub.named_code import find_named_code, refuse_code_in_folder
from yggdrasil.hub.needs import component_files
from yggdrasil.hub.references import ModelReference, reference_to_folder
from yggdrasil.hub.repairs import Repair, repaired_values
from yggdrasil.hub.snapshot import Snapshot
from yggdrasil.hub.weights import stem_of

__all__ = ["CheckedSource", "FolderSource", "FreshSource", "NamedSource", "fetch_together"]

_CONFIG_NAMES = (
    "config.json",
    "scheduler_config.json",
    "tokenizer_config.json",
    "preprocessor_config.json",
)


@runtime_checkable
class CheckedSource(Protocol):
    """A source whose files or configuration can be checked before anything is loaded."""

    def check(self, slot: Component[Any]) -> None:
        """Checks what the component will be loaded from or made of."""
        ...


@runtime_checkable
class NamedSource(Protocol):
    """A source that another process can find again by name."""

    def reference(self) -> ModelReference:
        """Names the model that the component is a part of."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class FolderSource:
    """One component of a saved pipeline.

    Attributes:
        root: The pipeline's folder, in Diffusers' layout.
        variant: Of the weights, such as ``fp16``; the plain ones if None.
        shared: Components that were loaded from this pipeline already, by folder and class.
        repairs: What is put right in the component's configuration.
        changes: Values of the component's configuration that the caller gave.
        snapshot: The model on the hub that the folder is a part of, if it is one.
        class_name: The class that the pipeline's index names for the component; the one that its
            configuration names unless given.
    """

    root: Path
    variant: str | None = None
    shared: dict[tuple[str, type], object] = field(default_factory=dict, repr=False)
    repairs: tuple[Repair, ...] = ()
    changes: Mapping[str, Any] = field(default_factory=dict)
    snapshot: Snapshot | None = None
    class_name: str | None = None

    def load(self, slot: Component[Any], dtype: torch.dtype | None = None) -> object:
        """Loads the component from safetensors, or gives the one loaded before.

        Args:
            slot: Where it is wanted.
            dtype: Of a model's weights; float32, whatever the file holds, if None.

        Raises:
            ModelError: Files are missing or damaged, or do not fit the class.
        """
        key = (slot.folder, slot.cls)
        with LOADING:
            if key not in self.shared:
                self.shared[key] = self._load(slot, dtype or torch.float32)
            return self.shared[key]

    def config(self, slot: Component[Any]) -> Mapping[str, Any]:
        """Reads the component's configuration file, and puts right what early models say wrongly.

        Raises:
            ModelError: There is none.
        """
        written = self._written(slot)
        return {**written, **self._repaired(slot, written)}

    def check(self, slot: Component[Any]) -> None:
        """Checks the component's files without loading them.

        Raises:
            ModelError: Files are missing or damaged, or the hub does not give them.
        """
        self.check_class(slot)
        if self.snapshot is not None:
            self.snapshot.fetch(self.remote_files(slot))
        self._written(slot)
        folder = self._folder(slot)
        if issubclass(slot.cls, nn.Module):
            check_weights(folder, self.variant, stem_of(slot.cls))
        elif hasattr(slot.cls, "vocab_files_names"):
            check_vocabulary(folder, slot.cls.vocab_files_names)

    def remote_files(self, slot: Component[Any]) -> list[str]:
        """Chooses the files that the component is loaded from, of a model on the hub.

        Returns:
            Names relative to the root; none for a folder on this machine.

        Raises:
            ModelError: The model has no such weights in safetensors, or those of other variants.
        """
        if self.snapshot is None:
            return []
        names = self.snapshot.in_folder(slot.folder)
        where = f"{self.snapshot.describe()}/{slot.folder}"
        files = component_files(names, slot.cls, self.variant, where, self.snapshot.advice())
        return [f"{slot.folder}/{name}" for name in files]

    def describe(self) -> Mapping[str, Any]:
        """Gives the folder or the model of the hub, and the variant if there is one."""
        model = str(self.root) if self.snapshot is None else self.snapshot.describe()
        variant = {} if self.variant is None else {"variant": self.variant}
        return {"pretrained": model, **variant}

    def reference(self) -> ModelReference:
        """Names the model so that another process finds it."""
        return reference_to_folder(self.root, self.variant)

    def check_class(self, slot: Component[Any]) -> None:
        """Refuses a model of another class; other texts, such as tokenizers, go by many names.

        Raises:
            ModelError: The index names one.
        """
        known = [cls.__name__ for cls in slot.cls.__mro__]
        if self.class_name not in (None, *known) and issubclass(slot.cls, nn.Module):
            raise ModelError(
                f"{self.root / slot.folder} is a {self.class_name}, as the model's index says, and "
                f"the graph has a block for {slot.cls.__name__} there. Give "
                f"{slot.folder}=..., one of that class, or put in a block for the other."
            )

    def _written(self, slot: Component[Any]) -> Mapping[str, Any]:
        if self.snapshot is not None:
            there = self.snapshot.in_folder(slot.folder)
            self.snapshot.fetch(f"{slot.folder}/{n}" for n in _CONFIG_NAMES if n in there)
        folder = self._folder(slot)
        refuse_code_in_folder(folder)
        for name in _CONFIG_NAMES:
            if (folder / name).is_file():
                return read_json(folder / name)
        raise ModelError(
            f"{folder} holds none of {', '.join(_CONFIG_NAMES)}. Copy or download the model again."
        )

    def _repaired(self, slot: Component[Any], written: Mapping[str, Any]) -> dict[str, Any]:
        """Gives the values that become others, and those that the caller gave.

        Where another class reads the configuration, as after a change of solvers, only what is
        written there counts, as in ``Other.from_config(scheduler.config)``.
        """
        if not self.repairs:
            return dict(self.changes)
        cls: type = slot.cls
        own = (self.class_name or written.get("_class_name")) == cls.__name__
        values = {**(_defaults(cls) if own else {}), **written}
        return {**repaired_values(self.repairs, values), **self.changes}

    def _folder(self, slot: Component[Any]) -> Path:
        folder = self.root / slot.folder
        if not folder.is_dir():
            present = sorted(path.name for path in self.root.iterdir() if path.is_dir())
            raise ModelError(
                f"{self.root} has no folder {slot.folder!r}, which {slot.cls.__name__} is loaded "
                f"from; it has {', '.join(present) or 'none'}."
            )
        return folder

    def _load(self, slot: Component[Any], dtype: torch.dtype) -> object:
        self.check(slot)
        options: dict[str, Any] = {"local_files_only": True}
        if issubclass(slot.cls, nn.Module):
            # Without a dtype transformers keeps that of the file and Diffusers takes float32.
            options |= {"torch_dtype": dtype, "use_safetensors": True}
            options |= {"variant": self.variant, "output_loading_info": True}
        if not hasattr(slot.cls, "load_config"):  # a transformers class calls it dtype
            options = {("dtype" if k == "torch_dtype" else k): v for k, v in options.items()}
        try:
            value = slot.cls.from_pretrained(self.root, subfolder=slot.folder, **options)
        except (*REFUSALS, OSError) as error:
            raise ModelError(
                f"{self.root / slot.folder} cannot be loaded as {slot.cls.__name__}: {told(error)}"
            ) from error
        component, info = value if isinstance(value, tuple) else (value, None)
        put_right(component, self._repaired(slot, self._written(slot)))
        if info is None:
            return component
        refuse_lost(component, map(str, info["missing_keys"]), self.root / slot.folder)
        if info["mismatched_keys"]:
            raise ModelError(
                f"The weights in {self.root / slot.folder} do not fit its config.json: "
                f"{info['mismatched_keys']}."
            )
        return settle(component)


def fetch_together(wanted: Iterable[tuple[FolderSource, Component[Any]]]) -> None:
    """Fetches the files of several components of models on the hub, of each model at once.

    Args:
        wanted: The components, of which those on this machine are passed over.

    Raises:
        ModelError: A model lacks files, before any is fetched, or names code, before weights are;
            or the hub does not give them.
    """
    models: dict[Snapshot, list[tuple[FolderSource, Component[Any]]]] = {}
    for source, slot in wanted:
        if source.snapshot is not None:
            models.setdefault(source.snapshot, []).append((source, slot))
    files = {
        snapshot: [name for source, slot in parts for name in source.remote_files(slot)]
        for snapshot, parts in models.items()
    }
    # The texts first, so that no weights are fetched for a model that is refused.
    for snapshot, parts in models.items():
        texts = [name for name in files[snapshot] if name.endswith("config.json")]
        snapshot.fetch(texts, then=files[snapshot])
        for source, slot in parts:
            source.check_class(slot)
            source.config(slot)
    for snapshot, names in files.items():
        snapshot.fetch(names)


@dataclass(frozen=True, slots=True, eq=False)
class FreshSource:
    """A component with fresh weights, made from a configuration.

    Attributes:
        values: The configuration, as the component's class writes it.
        seed: Seed of the initial weights.
        zero: Ends of the names of layers that begin at zero, so that residual branches and the
            output begin as nothing (Dhariwal and Nichol 2021, arXiv:2105.05233, their code).
    """

    values: Mapping[str, Any]
    seed: int = 0
    zero: tuple[str, ...] = ()

    def load(self, slot: Component[Any], dtype: torch.dtype | None = None) -> object:
        """Makes the component; the global random state is left as it was.

        Args:
            slot: Where it is wanted.
            dtype: That a model is put in, after its weights were drawn in float32.

        Raises:
            ConfigError: The configuration does not fit the class or the memory, or no layer is
                named as one that is to begin at zero.
        """
        self.check(slot)
        with torch.random.fork_rng(devices=[]), within_memory(slot.cls.__name__):
            torch.manual_seed(self.seed)
            value = self._made(slot)
        for ending in self.zero:
            _zero_layers(value, ending)
        return value.to(dtype=dtype) if isinstance(value, nn.Module) else value

    def skeleton(self, slot: Component[Any]) -> Any:
        """Makes the component without weights: its tensors are on the meta device.

        Args:
            slot: Where it is wanted.

        Raises:
            ConfigError: The configuration does not fit the class.
        """
        self.check(slot)
        with LOADING, torch.device("meta"), warnings.catch_warnings():
            # Models of Diffusers that make a part of a name that it gave up warn of it.
            warnings.simplefilter("ignore", FutureWarning)
            return self._made(slot)

    def _made(self, slot: Component[Any]) -> Any:
        try:
            return _make(slot.cls, self.values)
        except (*REFUSALS, ArithmeticError, AttributeError, ImportError) as error:
            raise ConfigError(
                f"{slot.cls.__name__} cannot be made from its configuration: {told(error)}"
            ) from error

    def check(self, slot: Component[Any]) -> None:
        """Checks the names in the configuration without making anything.

        Raises:
            ConfigError: The class knows no such value, which it would pass over in silence, is none
                that is made from a configuration, or the value names code.
        """
        cls: type = slot.cls
        if not hasattr(cls, "load_config") and not issubclass(cls, nn.Module):
            raise ConfigError(
                f"A {cls.__name__} is not made from a configuration: name a model that holds one."
            )
        found = find_named_code(self.values)
        if found is not None:
            raise ConfigError(found.refused(f"The configuration of {cls.__name__}"))
        for name in self.values:
            known = config_names(cls)
            if name not in known and not name.startswith("_"):
                raise ConfigError(
                    f"{cls.__name__} has no {name!r} in its configuration.{nearest(name, known)}"
                )

    def config(self, slot: Component[Any]) -> Mapping[str, Any]:
        """Gives the configuration."""
        return self.values

    def describe(self) -> Mapping[str, Any]:
        """Gives configuration, seed and the layers that begin at zero."""
        values = json.loads(json.dumps(dict(self.values)))
        return {"config": values, "seed": self.seed, "zero": list(self.zero)}


def _make(cls: Any, values: Mapping[str, Any]) -> Any:
    """Makes a model or scheduler of Diffusers or a model of transformers."""
    if hasattr(cls, "load_config"):
        return cls.from_config(dict(values))
    return cls(cls.config_class(**values))


@functools.cache
def _defaults(cls: type) -> Mapping[str, Any]:
    """Gives the values that a class of Diffusers takes where a configuration has none."""
    parameters = inspect.signature(cls).parameters.values()
    return {each.name: each.default for each in parameters if each.default is not each.empty}


def _zero_layers(model: nn.Module, ending: str) -> None:
    layers = [layer for name, layer in model.named_modules() if name.endswith(ending)]
    if not layers:
        raise ConfigError(f"{type(model).__name__} has no layer whose name ends in {ending!r}.")
    for layer in layers:
        for parameter in layer.parameters(recurse=False):
            nn.init.zeros_(parameter)
