"""Checkpoints: a whole model in one safetensors file, in the names of where it was trained."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from yggdrasil.core.component import Component, ComponentSource
from yggdrasil.core.errors import ModelError, nearest
from yggdrasil.hub.access import HubOptions
from yggdrasil.hub.checkpoint_families import (
    CheckpointFamily,
    contents,
    is_never_in_a_file,
    part_prefixes,
    recognize,
    says_prediction,
)
from yggdrasil.hub.config_library import ConfigLibrary
from yggdrasil.hub.conversion import convert
from yggdrasil.hub.header import Header, read_header
from yggdrasil.hub.library import FolderLibrary
from yggdrasil.hub.loading import LOADING, REFUSALS, refuse_lost, settle, told
from yggdrasil.hub.references import ModelReference, reference_to_file

__all__ = ["CheckpointLibrary", "CheckpointSource", "is_checkpoint", "open_checkpoint"]

_log = logging.getLogger("yggdrasil")
_PREDICTIONS = ("epsilon", "v_prediction", "sample")
L = TypeVar("L", FolderLibrary, ConfigLibrary)

_FLOW = "flow"
_WITHOUT_WEIGHTS = ("scheduler", "tokenizer")
_PICKLED = (".ckpt", ".pt", ".pth", ".bin", ".pkl")


@dataclass(frozen=True, slots=True, eq=False)
class CheckpointSource:
    """One component of a checkpoint.

    Attributes:
        path: The file.
        prefixes: How the names of the component's tensors begin in it.
        configs: Its configuration.
        where: Where that is, for messages.
        named: What the checkpoint is called in files.
        shared: Components that were loaded from this file already, by folder and class.
    """

    path: Path
    prefixes: tuple[str, ...]
    configs: ComponentSource
    where: str
    named: ModelReference
    shared: dict[tuple[str, type], object] = field(default_factory=dict, repr=False)

    def load(self, slot: Component[Any], dtype: torch.dtype | None = None) -> object:
        """Loads the component through Diffusers' converter, or gives the one before.

        Args:
            slot: Where it is wanted.
            dtype: Of its weights; float32, whatever the file holds, if None.

        Raises:
            ModelError: The file is damaged, or its tensors do not fit the configuration.
        """
        key = (slot.folder, slot.cls)
        with LOADING:
            if key not in self.shared:
                self.shared[key] = self._load(slot, dtype or torch.float32)
            return self.shared[key]

    def config(self, slot: Component[Any]) -> Mapping[str, Any]:
        """Gives the component's configuration."""
        return self.configs.config(slot)

    def check(self, slot: Component[Any]) -> None:
        """Checks file and configuration without loading anything.

        Raises:
            ModelError: The file is cut short, or there is no configuration.
        """
        read_header(self.path)
        self.configs.config(slot)

    def describe(self) -> Mapping[str, Any]:
        """Gives the file."""
        return {"pretrained": str(self.path)}

    def reference(self) -> ModelReference:
        """Names the checkpoint so that another process finds it."""
        return self.named

    def _load(self, slot: Component[Any], dtype: torch.dtype) -> object:
        self.check(slot)
        try:
            with safe_open(self.path, framework="pt") as file:
                names = [name for name in file.keys() if name.startswith(self.prefixes)]  # noqa: SIM118 - no mapping
                tensors = {name: file.get_tensor(name) for name in names}
            loaded = convert(slot.cls, tensors, self.config(slot), dtype)
        except (*REFUSALS, OSError, SafetensorError) as error:
            raise ModelError(
                f"{self.path} cannot be loaded as {slot.cls.__name__} with the configuration of "
                f"{slot.folder} in {self.where}: {told(error)}"
            ) from error
        refuse_lost(loaded.module, loaded.lost, self.path)
        if loaded.unread:
            _log.warning(
                "%s holds %d tensors more of %s... than %s reads: it may be a relative that is "
                "built otherwise, and the pictures others than were meant.",
                self.path,
                loaded.unread,
                self.prefixes[0],
                slot.cls.__name__,
            )
        return settle(loaded.module)


@dataclass(frozen=True, slots=True, eq=False)
class CheckpointLibrary:
    """A checkpoint as a giver of components.

    Attributes:
        path: The file.
        header: Of the file.
        configs: The configurations of its components, its solver's, and its tokenizers.
        family: What it is, where its tensors told.
        shared: Components that were loaded already, by folder and class.
    """

    path: Path
    header: Header
    configs: FolderLibrary | ConfigLibrary
    family: CheckpointFamily | None = None
    shared: dict[tuple[str, type], object] = field(default_factory=dict, repr=False)

    @property
    def graph_file(self) -> None:
        """A checkpoint holds no graph."""
        return

    def source(self, slot: Component[Any]) -> ComponentSource | None:
        """Gives the source of a slot, or None where neither file nor configurations have it."""
        configs = self.configs.source(slot)
        if configs is None or not issubclass(slot.cls, nn.Module):
            return configs
        prefixes = part_prefixes(slot.folder, self.header)
        if prefixes is None:
            return configs if self._lent(slot.folder) else None
        where, named = self.configs.describe(), self.reference()
        return CheckpointSource(self.path, prefixes, configs, where, named, self.shared)

    def pipeline_class(self) -> str:
        """Gives the class of pipeline that the configurations are for."""
        return self.configs.pipeline_class()

    def scheduler_class(self) -> str | None:
        """Gives the scheduler's class."""
        return self.configs.scheduler_class()

    def names(self) -> set[str]:
        """Gives the names of the components that can be had."""
        return {
            name
            for name in self.configs.names()
            if name.startswith(_WITHOUT_WEIGHTS)
            or part_prefixes(name, self.header) is not None
            or self._lent(name)
        }

    def _lent(self, name: str) -> bool:
        """Says whether the model whose configurations serve gives a component that is not here."""
        if not isinstance(self.configs, FolderLibrary) or is_never_in_a_file(name):
            return False
        return self.configs.holds_weights(name)

    def setting(self, name: str) -> Any:
        """Gives that of the configurations."""
        return self.configs.setting(name)

    def describe(self) -> str:
        """Gives the file."""
        return str(self.path)

    def reference(self) -> ModelReference:
        """Names the file, and the model whose configurations serve unless the package has them."""
        return reference_to_file(
            self.path,
            config=self.configs.reference(),
            prediction_type=self.configs.changes.get("scheduler", {}).get("prediction_type"),
        )


def is_checkpoint(name: str) -> bool:
    """Says whether a name is that of a checkpoint's file, also of one that must not be read."""
    return name.lower().endswith((".safetensors", *_PICKLED))


def open_checkpoint(
    path: Path,
    *,
    config: FolderLibrary | None = None,
    prediction_type: str | None = None,
    options: HubOptions,
) -> CheckpointLibrary:
    """Opens a checkpoint, without loading its weights.

    Args:
        path: A ``.safetensors`` file.
        config: A model of the same family, whose configurations and tokenizer serve; the family is
            recognised by the file's tensors and its configurations come with the package if None.
        prediction_type: What the model predicts, as Diffusers' schedulers call it; what the file or
            its family says if None.
        options: How the hub is asked for the vocabulary of the tokenizer, which no checkpoint
            holds.

    Raises:
        ModelError: The file is missing, damaged, pickled, or of a family that is not known.
    """
    if path.suffix.lower() in _PICKLED:
        raise ModelError(
            f"{path} is a pickle, which can run code when it is read. Most models are published as "
            ".safetensors too: take that file. One that you made yourself you can convert: "
            "safetensors.torch.save_file({k: v for k, v in torch.load(path, weights_only=True)"
            "['state_dict'].items() if hasattr(v, 'contiguous')}, 'model.safetensors')."
        )
    if path.is_dir():
        raise ModelError(f"{path} is a folder: from_pretrained reads those, and files too.")
    if not path.is_file():
        near = [each.name for each in path.parent.glob("*.safetensors")]
        raise ModelError(f"There is no file {path}.{nearest(path.name, near, list_others=False)}")
    if prediction_type is not None and prediction_type not in _PREDICTIONS:
        raise ModelError(
            f"prediction_type is {prediction_type!r}.{nearest(prediction_type, _PREDICTIONS)}"
        )
    header = read_header(path)
    if config is None:
        return _of_family(recognize(header, path), path, header, prediction_type, options)
    if all(part_prefixes(name, header) is None for name in config.names()):
        raise ModelError(
            f"{path} holds no component of a checkpoint. {contents(header)} Is it one component, "
            "or a LoRA?"
        )
    library = CheckpointLibrary(path, header, _predicting(config, prediction_type))
    missing = (name for name in library.names() if part_prefixes(name, header) is None)
    lent = sorted(name for name in missing if not name.startswith(_WITHOUT_WEIGHTS))
    if lent:
        _log.warning("%s has no %s: taken from %s.", path, ", ".join(lent), config.describe())
    return library


def _of_family(
    family: CheckpointFamily,
    path: Path,
    header: Header,
    prediction: str | None,
    options: HubOptions,
) -> CheckpointLibrary:
    usual, *others = family.configs
    prediction = prediction or (None if usual == _FLOW else says_prediction(header))
    if prediction is None and others:
        _log.warning(
            "%s does not say what it predicts: taken for %s, as usual for %s. If the pictures are "
            "noise, give from_single_file(..., prediction_type=%r).",
            path,
            usual,
            family.name,
            others[0],
        )
    if prediction is not None and usual == _FLOW:
        raise ModelError(
            f"{path} is {family.name}, which predicts a flow: prediction_type={prediction!r} means "
            "nothing there. Leave it out."
        )
    prediction = prediction or usual
    name = family.config_set(prediction)
    configs = replace(
        ConfigLibrary.open(name), options=replace(options, revision=None), wanted_by=str(path)
    )
    return CheckpointLibrary(path, header, _predicting(configs, prediction), family)


def _predicting(configs: L, prediction: str | None) -> L:
    """Gives configurations whose scheduler knows what the model predicts."""
    if prediction in (None, _FLOW):
        return configs
    return replace(configs, changes={"scheduler": {"prediction_type": prediction}})
