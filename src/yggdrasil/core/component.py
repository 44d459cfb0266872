"""Components: the models, tokenizers and tables inside blocks, and where they come from.

A block declares a slot (``vae = Component(AutoencoderKL)``) and reads it as an attribute. The slot
is filled by an object that is handed in, or by a *source* that loads it on the first touch. Which
sources there are is the business of the layers above: here they are a protocol.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, overload, runtime_checkable

import torch
from torch import nn

from yggdrasil.core.errors import NotLoadedError

__all__ = ["Component", "ComponentSource", "Given"]

T = TypeVar("T")


@runtime_checkable
class ComponentSource(Protocol):
    """Somewhere a component can be had from: a folder, a hub, a configuration, an object."""

    def load(self, slot: Component[Any], dtype: torch.dtype | None = None) -> object:
        """Gives the component; expensive, called once, on the first touch.

        Args:
            slot: Where it is wanted.
            dtype: That a model will be put in, so that a source need not load it in a wider one
                first; the source's own if None.
        """
        ...

    def config(self, slot: Component[Any]) -> Mapping[str, Any]:
        """Gives the component's configuration without loading its weights."""
        ...

    def describe(self) -> Mapping[str, Any]:
        """Says where the component comes from, as plain data for graph files and cache keys."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """A component that the caller made and hands in."""

    value: Any

    def load(self, slot: Component[Any], dtype: torch.dtype | None = None) -> object:
        """Gives the object itself: nothing is copied."""
        return self.value

    def config(self, slot: Component[Any]) -> Mapping[str, Any]:
        """Gives the object's own ``config``, as a mapping."""
        config = getattr(self.value, "config", None)
        if config is None:
            return {}
        return dict(config) if isinstance(config, Mapping) else dict(config.to_dict())

    def describe(self) -> Mapping[str, Any]:
        """Says which class of object was handed in."""
        return {"given": f"{type(self.value).__module__}.{type(self.value).__qualname__}"}


class _Holder(Protocol):
    """A block, as a slot sees it."""

    _modules: dict[str, Any]
    sources: dict[str, ComponentSource]
    placement: tuple[torch.device | None, torch.dtype | None] | None

    def slots(self) -> Mapping[str, Component[Any]]: ...


class Component(Generic[T]):
    """A slot of a block for a model, a tokenizer or a table.

    It is a non-data descriptor: an object stored on the block is found before it, so after the
    first touch the attribute costs what any attribute costs.

    Args:
        cls: The class to load, or a function that imports and gives it.
        optional: Whether the block also works with the slot empty; then reading it gives None.
        folder: The subfolder of a saved pipeline that holds it; the slot's name unless given.
    """

    def __init__(
        self,
        cls: type[T] | Callable[[], type[T]],
        *,
        optional: bool = False,
        folder: str | None = None,
    ) -> None:
        self._cls = cls
        self.optional = optional
        self.name = ""
        self.folder = folder or ""
        self._lock = threading.Lock()

    def at(self, *, folder: str | None = None, cls: type[T] | None = None) -> Component[T]:
        """Gives the same slot for another subfolder or class, for one block of several alike.

        Args:
            folder: The subfolder of a saved pipeline.
            cls: The class to load.
        """
        other = Component(cls or self._cls, optional=self.optional, folder=folder or self.folder)
        other.name = self.name
        return other

    def __set_name__(self, owner: type, name: str) -> None:
        """Learns the slot's name from the class body."""
        self.name = name
        self.folder = self.folder or name

    @property
    def cls(self) -> type[T]:
        """The class that the slot holds."""
        if isinstance(self._cls, type):
            return self._cls
        return self._cls()

    @overload
    def __get__(self, block: None, owner: type) -> Component[T]: ...
    @overload
    def __get__(self, block: _Holder, owner: type) -> T: ...
    def __get__(self, block: _Holder | None, owner: type) -> Component[T] | T:
        """Gives the component, loading it from the block's source on the first touch.

        Raises:
            NotLoadedError: The block has no source for this slot.
        """
        if block is None:
            return self
        # Without the lock at first, since it is read in every step.
        found: T | None = block._modules.get(self.name)  # noqa: SLF001 - where setattr put it
        if found is not None:
            return found
        with self._lock:
            found = self._held(block)
            if found is not None:
                return found
            source = block.sources.get(self.name)
            if source is None:
                if self.optional:
                    return None  # type: ignore[return-value] # optional slots are read as T | None
                raise NotLoadedError(
                    f"{type(block).__name__} has no {self.name!r}: neither weights nor a place to "
                    f"load them from. Give the node `pretrained=...`, or call "
                    f"block.give({self.name}=...)."
                )
            device, dtype = block.placement or (None, None)
            with torch.inference_mode(mode=False):
                value = source.load(block.slots()[self.name], dtype)
            # Modules become submodules, so that to(), parameters() and state_dict() find them.
            setattr(block, self.name, value)
        if isinstance(value, nn.Module):
            # What Diffusers and transformers call the parts of a class that they load in float32,
            # whatever the rest is loaded in: its source did so, and a cast would undo it.
            keeps = getattr(value, "_keep_in_fp32_modules", None)
            # Diffusers' models print a remark where a dtype is named, though it be none.
            if dtype is not None and not keeps:
                value.to(device=device, dtype=dtype)
            elif device is not None:
                value.to(device=device)
        return value  # type: ignore[return-value] # a source gives what the slot asks for

    def _held(self, block: _Holder) -> T | None:
        """Gives what the slot holds; of its own class, since nothing else is put there."""
        modules = block._modules  # noqa: SLF001 - where nn.Module keeps what setattr gave it
        found: T | None = modules.get(self.name, block.__dict__.get(self.name))
        return found
