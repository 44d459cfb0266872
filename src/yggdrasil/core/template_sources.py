"""Where templates are found: YAML files in packages, and graphs that were registered.

This module is imported with the package, so it imports nothing heavy.
"""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path
from typing import Protocol

from yggdrasil.core.errors import RegistryError, nearest

__all__ = ["find_template", "register_template", "search_templates", "template_names"]

_packages: list[str] = []
_registered: dict[str, str | Path] = {}


class _HasText(Protocol):
    def to_yaml(self) -> str: ...


def search_templates(package: str) -> None:
    """Adds a package whose ``<name>.yaml`` files are templates.

    Args:
        package: Its dotted name.
    """
    if package not in _packages:
        _packages.append(package)


def register_template(name: str, source: str | os.PathLike[str] | _HasText) -> None:
    """Registers a template.

    Args:
        name: What it is called.
        source: A graph, the path of a graph file, or the text of one. A graph is kept as text, so
            that each pipeline made from it has blocks of its own.

    Raises:
        RegistryError: The name is taken by something else.
        GraphFileError: The graph cannot be written as text.
    """
    held: str | Path
    if isinstance(source, str):
        held = source if "\n" in source else Path(source)
    elif isinstance(source, os.PathLike):
        held = Path(source)
    else:
        held = source.to_yaml()
    if _registered.get(name, held) != held or name in _in_packages():
        raise RegistryError(f"There is a template {name!r} already; choose another name.")
    _registered[name] = held


def template_names() -> tuple[str, ...]:
    """Gives the names of all templates, sorted."""
    return tuple(sorted({*_registered, *_in_packages()}))


def find_template(name: str) -> tuple[str, str]:
    """Finds the text of a template.

    Args:
        name: Its name.

    Returns:
        The text and what to call it in messages.

    Raises:
        RegistryError: There is no such template.
    """
    if name in _registered:
        held = _registered[name]
        if isinstance(held, str):
            return held, f"template {name}"
        return held.read_text(encoding="utf-8"), str(held)
    for package in _packages:
        file = resources.files(package).joinpath(f"{name}.yaml")
        if file.is_file():
            return file.read_text(encoding="utf-8"), f"{package}/{name}.yaml"
    raise RegistryError(f"There is no template {name!r}.{nearest(name, template_names())}")


def _in_packages() -> set[str]:
    return {
        file.name.removesuffix(".yaml")
        for package in _packages
        for file in resources.files(package).iterdir()
        if file.name.endswith(".yaml")
    }
