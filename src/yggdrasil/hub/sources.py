"""Sources: how a component is loaded from a folder or made from a configuration."""

from __future__ import annotations

import functools
import inspect
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import nn

from yggdrasil.core.component import Component
from yggdrasil.core.errors import ConfigError, ModelError, nearest
from yggdrasil.hub.integrity import check_vocabulary, check_weights, read_json
from yggdrasil.hub.repairs import Repair, repaired_values

__all__ = ["FolderSource", "FreshSource"]

# Diffusers makes a model without weights by replacing torch's constructors for a while, for all
# threads: two models loading at once would take each other's.
_LOADING = threading.Lock()
# What Diffusers and transformers raise where files or configurations do not fit.
_REFUSALS = (TypeError, ValueError, LookupError, RuntimeError, StrictDataclassError)
_CONFIG_NAMES = (
    "config.json",
    "scheduler_config.json",
    "tokenizer_config.json",
    "preprocessor_config.json",
)


@dataclass(frozen=True, slots=True, eq=False)
class FolderSource:
    """One component of a saved pipeline.

    Attributes:
        root: The pipeline's folder, in Diffusers' layout.
        variant: Of the weights, such as ``fp16``; the plain ones if None.
        shared: Components that were loaded from this pipeline already, by folder and class.
        repairs: What is put right in the component's configuration.
        class_name: The class that the pipeline's index names for the component; the one that its
            configuration names unless given.
    """

    root: Path
    variant: str | None = None
    shared: dict[tuple[str, type], object] = field(default_factory=dict, repr=False)
    repairs: tuple[Repair, ...] = ()
    class_name: str | None = None

    def load(self, slot: Component[Any]) -> object:
        """Loads the component in float32 from safetensors, or gives the one loaded before.

        Raises:
            ModelError: Files are missing or damaged, or do not fit the class.
        """
        key = (slot.folder, slot.cls)
        with _LOADING:
            if key not in self.shared:
                self.shared[key] = self._load(slot)
            return self.shared[key]

    def config(self, slot: Component[Any]) -> Mapping[str, Any]:
        """Reads the component's configuration file, and puts right what early models say wrongly.

        Raises:
            ModelError: There is none.
        """
        written = self._written(slot)
        return {**written, **self._repaired(slot, written)}

    def _written(self, slot: Component[Any]) -> Mapping[str, Any]:
        folder = self._folder(slot)
        for name in _CONFIG_NAMES:
            if (folder / name).is_file():
                return read_json(folder / name)
        raise ModelError(
            f"{folder} holds none of {', '.join(_CONFIG_NAMES)}. Copy or download the model again."
        )

    def _repaired(self, slot: Component[Any], written: Mapping[str, Any]) -> dict[str, Any]:
        """Gives the values that become others.

        Where another class reads the configuration, as after a change of solvers, only what is
        written there counts, as in ``Other.from_config(scheduler.config)``.
        """
        if not self.repairs:
            return {}
        cls: type = slot.cls
        own = (self.class_name or written.get("_class_name")) == cls.__name__
        return repaired_values(self.repairs, {**(_defaults(cls) if own else {}), **written})

    def check(self, slot: Component[Any]) -> None:
        """Checks the component's files without loading them.

        Raises:
            ModelError: Files are missing or damaged.
        """
        self._written(slot)
        folder = self._folder(slot)
        if issubclass(slot.cls, nn.Module):
            check_weights(folder, self.variant)
        elif hasattr(slot.cls, "vocab_files_names"):
            check_vocabulary(folder, slot.cls.vocab_files_names)

    def describe(self) -> Mapping[str, Any]:
        """Gives the folder, and the variant if there is one."""
        variant = {} if self.variant is None else {"variant": self.variant}
        return {"pretrained": str(self.root), **variant}

    def _folder(self, slot: Component[Any]) -> Path:
        folder = self.root / slot.folder
        if not folder.is_dir():
            present = sorted(path.name for path in self.root.iterdir() if path.is_dir())
            raise ModelError(
                f"{self.root} has no folder {slot.folder!r}, which {slot.cls.__name__} is loaded "
                f"from; it has {', '.join(present) or 'none'}."
            )
        return folder

    def _load(self, slot: Component[Any]) -> object:
        self.check(slot)
        options: dict[str, Any] = {"local_files_only": True}
        if issubclass(slot.cls, nn.Module):
            # Without a dtype transformers keeps that of the file and Diffusers takes float32.
            options |= {"torch_dtype": torch.float32, "use_safetensors": True}
            options |= {"variant": self.variant, "output_loading_info": True}
        if not hasattr(slot.cls, "load_config"):  # a transformers class calls it dtype
            options = {("dtype" if k == "torch_dtype" else k): v for k, v in options.items()}
        try:
            value = slot.cls.from_pretrained(self.root, subfolder=slot.folder, **options)
        except (*_REFUSALS, OSError) as error:
            raise ModelError(
                f"{self.root / slot.folder} cannot be loaded as {slot.cls.__name__}: {error}"
            ) from error
        module, info = value if isinstance(value, tuple) else (value, None)
        repaired = self._repaired(slot, self._written(slot))
        if repaired:
            cls: type = slot.cls
            known = _config_names(cls)
            module.register_to_config(**{k: v for k, v in repaired.items() if k in known})
        if info is None:
            return module
        _check_loaded(self.root / slot.folder, module, info)
        return _settle(module)


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

    def load(self, slot: Component[Any]) -> object:
        """Makes the component; the global random state is left as it was.

        Raises:
            ConfigError: The configuration does not fit the class, or no layer is named as one that
                is to begin at zero.
        """
        self.check(slot)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            try:
                value = _make(slot.cls, self.values)
            except _REFUSALS as error:
                raise ConfigError(
                    f"{slot.cls.__name__} cannot be made from its configuration: {error}"
                ) from error
        for ending in self.zero:
            _zero_layers(value, ending)
        return value

    def check(self, slot: Component[Any]) -> None:
        """Checks the names in the configuration without making anything.

        Raises:
            ConfigError: The class knows no such value, which it would pass over in silence.
        """
        cls: type = slot.cls
        for name in self.values:
            known = _config_names(cls)
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
def _config_names(cls: type) -> frozenset[str]:
    """Gives the names that a class's configuration may hold."""
    if hasattr(cls, "load_config"):
        return frozenset(inspect.signature(cls).parameters)
    model: Any = cls
    return frozenset(model.config_class().to_dict())


@functools.cache
def _defaults(cls: type) -> Mapping[str, Any]:
    """Gives the values that a class of Diffusers takes where a configuration has none."""
    parameters = inspect.signature(cls).parameters.values()
    return {each.name: each.default for each in parameters if each.default is not each.empty}


def _check_loaded(folder: Path, module: nn.Module, info: Mapping[str, Any]) -> None:
    """Refuses weights that leave something of a model to chance.

    Raises:
        ModelError: A tensor is missing or of another shape.
    """
    lost = sorted(map(str, info["missing_keys"]))
    if lost:
        more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
        raise ModelError(
            f"The weights in {folder} lack {lost[0]!r}{more} of {type(module).__name__}. Copy or "
            "download the model again, or compare its config.json with its weights."
        )
    if info["mismatched_keys"]:
        raise ModelError(
            f"The weights in {folder} do not fit its config.json: {info['mismatched_keys']}."
        )


def _zero_layers(model: nn.Module, ending: str) -> None:
    layers = [layer for name, layer in model.named_modules() if name.endswith(ending)]
    if not layers:
        raise ConfigError(f"{type(model).__name__} has no layer whose name ends in {ending!r}.")
    for layer in layers:
        for parameter in layer.parameters(recurse=False):
            nn.init.zeros_(parameter)


def _settle(module: nn.Module) -> nn.Module:
    """Puts a loaded model into evaluation mode and its weights where they always lie.

    Weights that are views of a mapped file start at odd addresses, and kernels that align
    differently give other last bits: the same model would differ from itself once it is saved.
    """
    alignment = 64
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.device.type == "cpu" and tensor.data_ptr() % alignment:
            tensor.data = tensor.data.clone()
    return module.eval()
