"""Graphs as YAML files: plain data, safe to open, the same text for the same graph.

The two functions are imported on first use: a template's text is read without torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from yggdrasil.core.serialization.reading import from_yaml
    from yggdrasil.core.serialization.writing import to_yaml

__all__ = ["from_yaml", "to_yaml"]

_HOMES = {"from_yaml": "reading", "to_yaml": "writing"}


def __getattr__(name: str) -> Any:
    """Imports a function on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
