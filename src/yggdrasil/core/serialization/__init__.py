"""Graphs as YAML files: plain data, safe to open, the same text for the same graph."""

from yggdrasil.core.serialization.reading import from_yaml
from yggdrasil.core.serialization.writing import to_yaml

__all__ = ["from_yaml", "to_yaml"]
