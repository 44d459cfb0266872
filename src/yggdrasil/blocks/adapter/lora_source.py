"""Where a LoRA comes from: a file here, one on a hub, tensors that were handed in, or nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from torch import Tensor

from yggdrasil.blocks.adapter.lora_file import (
    NO_LORAS,
    PEFT_CONFIG,
    SUFFIX,
    USUAL_NAMES,
    FileStamp,
    Held,
    find_file,
    stamp_of,
)
from yggdrasil.core.adapter_files import FileFinder, FoundFile, WantedFile, check_inside
from yggdrasil.core.adapters import AbstractAdapter
from yggdrasil.core.errors import ConfigError, InputError, ModelError, nearest

__all__ = ["LoraSource"]

_GIVEN = "given/"
"""How the names of buffers begin that hold tensors which were handed in."""


class LoraSource(AbstractAdapter):
    """An adapter that reads a LoRA, wherever that is.

    Tensors that were handed in are its buffers, named with ``/`` for the points in their names:
    so whatever keeps a block's own weights keeps them.
    """

    _buffers: dict[str, Tensor | None]
    _config: dict[str, Any]

    def _use_source(self) -> None:
        weights = self._config["weights"]
        if not isinstance(weights, str | os.PathLike | None):
            raise ConfigError(
                f"weights is a {type(weights).__name__}: give a file, a folder or a hub id. "
                "Tensors are taken by pipe.load_lora_weights({...}), or by the block: "
                "LoraAdapter().give_tensors({...})."
            )
        self._config["weights"] = None if weights is None else os.fspath(weights)
        for name in ("weight_name", "subfolder"):
            check_inside(name, self._config[name])
        self._finder: FileFinder | None = None
        self._found: tuple[WantedFile, FoundFile] | None = None
        self._handed = 0

    @property
    def weights(self) -> str | None:
        """Where it is loaded from."""
        value: str | None = self.config["weights"]
        return value

    @weights.setter
    def weights(self, value: str | os.PathLike[str]) -> None:
        """Has the next call load it from elsewhere."""
        self.load_weights(value)

    def load_weights(
        self,
        weights: str | os.PathLike[str],
        *,
        weight_name: str | None = None,
        revision: str | None = None,
        subfolder: str | None = None,
    ) -> Self:
        """Has the next call load it from elsewhere.

        Args:
            weights: As for the constructor.
            weight_name: As for the constructor.
            revision: As for the constructor.
            subfolder: As for the constructor.

        Raises:
            ModelError: The name of a file leads out of its folder.
        """
        for name, path in {"weight_name": weight_name, "subfolder": subfolder}.items():
            check_inside(name, path)
        self._let_go()
        self._config["weight_name"] = weight_name
        self._config["revision"] = revision
        self._config["subfolder"] = subfolder
        self._set("weights", os.fspath(weights))
        return self

    def give_tensors(self, tensors: Mapping[str, Tensor]) -> Self:
        """Takes the tensors of a LoRA in the place of its file; they are copied.

        Args:
            tensors: By name, in any layout that is read from files, in any dtype.

        Raises:
            InputError: They are none, or have names that no file of a LoRA has.
        """
        given: Mapping[Any, Any] = tensors  # in a program without types it may hold anything
        for name, tensor in given.items():
            if not isinstance(name, str) or not name or "/" in name:
                raise InputError(f"{name!r} is no name of a tensor of a LoRA.")
            if not isinstance(tensor, Tensor):
                raise InputError(f"{name!r} is a {type(tensor).__name__}: give tensors by name.")
        if not tensors:
            raise InputError("A LoRA was given as a mapping without tensors.")
        self._let_go()
        for name in ("weights", "weight_name", "revision", "subfolder"):
            self._config[name] = None
        for name, tensor in tensors.items():
            self.register_buffer(_buffer(name), tensor.detach().clone())
        self._handed += 1
        self.components_version += 1
        return self

    def _let_go(self) -> None:
        """Forgets what it was read from."""
        self._found = None
        for name in [each for each in self._buffers if each.startswith(_GIVEN)]:
            del self._buffers[name]

    def _set(self, name: str, value: Any) -> None:
        self._config[name] = value
        self.components_version += 1  # what was derived from the configuration is derived anew

    # -- what is read ----------------------------------------------------------------------------

    def _handed_in(self) -> dict[str, Tensor]:
        """Gives the tensors that were handed in, by the names that they had."""
        return {
            name.removeprefix(_GIVEN).replace("/", "."): tensor
            for name, tensor in self._buffers.items()
            if tensor is not None and name.startswith(_GIVEN)
        }

    def _held(self) -> Held | None:
        """Gives the file, the tensors that were handed in, or None for a fresh LoRA."""
        return self._handed_in() or self._file()

    def _stamp(self) -> FileStamp | int | None:
        """Gives what changes when the LoRA is another one; None for a fresh one."""
        if any(name.startswith(_GIVEN) for name in self._buffers):
            return self._handed
        file = self._file()
        return None if file is None else stamp_of(file)

    def _file(self) -> Path | None:
        """Finds the file.

        Raises:
            ModelError: It cannot be had.
        """
        if self.weights is None:
            return None
        wanted = self._wanted()
        if self._found is not None and self._found[0] == wanted and self._found[1].path.is_file():
            return self._found[1].path
        try:
            here = Path(self.weights).expanduser()
            exists = here.exists()
        except (OSError, RuntimeError) as error:  # too long for the system, or of no user here
            raise ModelError(
                f"{self.weights[:80]!r} is no name of a LoRA: {error}"[:200]
            ) from error
        if exists or self._finder is None or not self._finder.takes(self.weights):
            return self._file_here(here)
        self._found = (wanted, self._finder(wanted))
        return self._found[1].path

    def _file_here(self, here: Path) -> Path:
        if self.config["revision"] is not None and here.exists():
            raise ModelError(
                f"{here} is on this machine: revision={self.config['revision']!r} means nothing "
                "there. Leave it out; for the model of that name on a hub, move the folder away."
            )
        name = self._name()
        if here.is_file() and name in (None, here.name):
            return find_file(here)
        folder = here / (self.config["subfolder"] or "")
        if name is not None and folder.is_dir() and not (folder / name).exists():
            there = [each.name for each in folder.iterdir() if each.suffix == SUFFIX]
            raise ModelError(f"{folder} has no file {name!r}.{nearest(name, there)}")
        return find_file(folder / (name or ""))

    def _name(self) -> str | None:
        name: str | None = self.config["weight_name"]
        return name

    def _wanted(self) -> WantedFile:
        return WantedFile(
            model=self.weights or "",
            file=self._name(),
            revision=self.config["revision"],
            subfolder=self.config["subfolder"],
            usual=USUAL_NAMES,
            beside=(PEFT_CONFIG,),
            never=NO_LORAS,
        )

    # -- what the engine asks --------------------------------------------------------------------

    def find_files(self, finder: FileFinder | None = None) -> None:
        """Finds its file; one of a hub is fetched.

        Args:
            finder: Fetches it, from now on, unless it was given another before.

        Raises:
            ModelError: It cannot be had.
        """
        self._finder = self._finder or finder
        self._file()

    def named_files(self) -> tuple[str, ...]:
        """Gives the file, folder or model that it names."""
        return () if self.weights is None else (self.weights,)

    def settled_files(self) -> dict[str, Any]:
        """Gives model, commit and file, where it is one of a hub."""
        self._file()
        if self._found is None:
            return {}
        found = self._found[1]
        return {
            "weights": found.model,
            "weight_name": found.file,
            "revision": found.revision,
            "subfolder": None,
        }

    def open_files(self, folder: Path, *, store: Path | None = None) -> None:
        """Has ``weights`` found in the folder of a saved pipeline.

        Args:
            folder: The pipeline's.
            store: Where links in it may lead to; the folder itself unless given.

        Raises:
            ModelError: It lies outside it.
        """
        if self.weights is None:
            return
        inside = Path(os.path.normpath(folder.absolute() / self.weights))
        path = inside / (self.config["subfolder"] or "") / (self._name() or "")
        lies = (path.resolve(), (store or folder).resolve())
        if not inside.is_relative_to(folder.absolute()) or not lies[0].is_relative_to(lies[1]):
            raise ModelError(
                f"The graph saved in {folder} names the LoRA {self.weights!r}, which lies outside "
                "that folder: a model's own graph names files of its own."
            )
        self._config["weights"] = str(inside)

    # -- as a module -----------------------------------------------------------------------------

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:  # noqa: FBT001, FBT002 - PyTorch's signature
        """Leaves what was handed in as it is: loading casts and moves it, as it does of a file."""
        handed = {name: each for name, each in self._buffers.items() if name.startswith(_GIVEN)}
        for name in handed:
            del self._buffers[name]
        try:
            return super()._apply(fn, recurse)
        finally:
            self._buffers.update(handed)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        """Takes the tensors that a saved state has, since a new block has none."""
        start = f"{prefix}{_GIVEN}"
        saved = {key: value for key, value in state_dict.items() if key.startswith(start)}
        if saved:
            self._let_go()
            for key, value in saved.items():
                self.register_buffer(key.removeprefix(prefix), value.clone())
            self._handed += 1
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def _buffer(name: str) -> str:
    return f"{_GIVEN}{name.replace('.', '/')}"
