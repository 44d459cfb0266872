"""YAML files of the package that are checked when they are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import yaml

__all__ = ["read_data"]

T = TypeVar("T")


def read_data(folder: Path, kind: type[T]) -> list[T]:
    """Reads the YAML files of a folder, in the order of their names.

    Args:
        folder: Of the package.
        kind: A dataclass, what each file must be.
    """
    # pydantic takes megabytes, and a process that makes pictures rarely reads such files.
    from pydantic import TypeAdapter  # noqa: PLC0415

    adapter = TypeAdapter(kind)
    return [adapter.validate_python(_parsed(path)) for path in sorted(folder.glob("*.yaml"))]


def _parsed(path: Path) -> Any:
    # The parser in C, where PyYAML has it, takes a tenth of the time.
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load(path.read_text(encoding="utf-8"), Loader=loader)  # noqa: S506 - both are safe
