"""The registry of block types: ``role/name`` to a class that is imported on first use.

A type is found by its place: ``codec/autoencoder_kl`` is registered by the module
``<package>.codec.autoencoder_kl`` of a package named with ``search_package``, or by
``<package>.codec`` where one module registers many names. So a new block is one new file.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from yggdrasil.core.errors import RegistryError, nearest

if TYPE_CHECKING:  # the registry is imported with the package, which must not import torch
    from yggdrasil.core.block import AbstractBaseBlock
    from yggdrasil.core.block_listing import BlockListing

__all__ = [
    "block_class",
    "block_listings",
    "block_types",
    "make_block",
    "register_block",
    "search_package",
]

B = TypeVar("B", bound="type[AbstractBaseBlock]")

_classes: dict[str, type[AbstractBaseBlock]] = {}
_packages: list[str] = []


def search_package(package: str) -> None:
    """Adds a package whose modules register blocks when they are imported.

    Args:
        package: Its dotted name; it has one subpackage or module for each role.
    """
    if package not in _packages:
        _packages.append(package)


def register_block(type_name: str) -> Callable[[B], B]:
    """Registers a block class under ``role/name``.

    Args:
        type_name: The name that graphs and templates use, such as ``codec/autoencoder_kl``.

    Raises:
        RegistryError: The name has no role, or another class holds it.
    """
    if type_name.count("/") != 1 or not all(type_name.split("/")):
        raise RegistryError(f"A block type is named 'role/name'; {type_name!r} is not.")

    def register(cls: B) -> B:
        held = _classes.get(type_name)
        # A module that is imported again (a notebook, a reload) registers the same name again.
        if held is not None and held.__qualname__ != cls.__qualname__:
            raise RegistryError(
                f"{type_name!r} is registered by {held.__module__}.{held.__qualname__} already; "
                f"give {cls.__qualname__} another name."
            )
        cls.type_name = type_name
        _classes[type_name] = cls
        return cls

    return register


def block_class(type_name: str) -> type[AbstractBaseBlock]:
    """Gives the class of a type, importing its module on first use.

    Raises:
        RegistryError: Nobody registered the type.
    """
    if type_name not in _classes and type_name.count("/") == 1:
        role, name = type_name.split("/")
        for package in _packages:
            _import_if_there(f"{package}.{role}.{name}")
            if type_name not in _classes:
                _import_if_there(f"{package}.{role}")
    found = _classes.get(type_name)
    if found is None:
        raise RegistryError(
            f"No block of type {type_name!r} is registered.{nearest(type_name, block_listings())}"
        )
    return found


def block_types() -> Mapping[str, type[AbstractBaseBlock]]:
    """Gives every type that can be had, by name; imports all modules that register some."""
    for package in _packages:
        root = importlib.import_module(package)
        for module in pkgutil.walk_packages(root.__path__, prefix=f"{package}."):
            importlib.import_module(module.name)
    return MappingProxyType(dict(sorted(_classes.items())))


def block_listings() -> Mapping[str, BlockListing]:
    """Gives what a list shows of every type, by name, without importing those that are not yet."""
    # Here, since importing the package should cost next to nothing.
    from yggdrasil.core.block_listing import list_blocks, listing_of  # noqa: PLC0415

    found: dict[str, BlockListing] = {}
    for package in _packages:
        listed, unread = list_blocks(package)
        found.update({each.type_name: each for each in listed})
        for module in unread:
            importlib.import_module(module)
    for type_name, cls in _classes.items():
        if type_name not in found:
            found[type_name] = listing_of(type_name, cls)
    return MappingProxyType(dict(sorted(found.items())))


def make_block(type_name: str, **config: Any) -> AbstractBaseBlock:
    """Builds a block from its type and arguments.

    Raises:
        RegistryError: Nobody registered the type.
        ConfigError: The arguments do not fit.
    """
    return block_class(type_name)(**config)


def _import_if_there(module: str) -> None:
    """Imports a module where it exists; errors inside it are the caller's to see."""
    parent = module.rpartition(".")[0]
    if importlib.util.find_spec(parent.rpartition(".")[0]) is None:
        return
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:  # the role's package itself does not exist
        return
    if spec is not None:
        importlib.import_module(module)
