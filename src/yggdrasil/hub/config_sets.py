"""Configurations of whole models that come with the package, each with where it is from."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from yggdrasil.hub.data_files import read_data

__all__ = ["ComponentConfig", "ConfigSet", "config_sets"]

_FOLDER = Path(__file__).parent / "configs"
_STRICT = {"extra": "forbid"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentConfig:
    """The configuration of one component.

    Attributes:
        class_name: Its class, of Diffusers or of transformers.
        source: Where the numbers are from.
        values: The configuration, as the class writes it; what is its default may be left out. Of a
            tokenizer, its settings.
        vocabulary: Of a tokenizer: a model on the hub that has its vocabulary.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    class_name: str
    source: str
    values: dict[str, Any]
    vocabulary: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigSet:
    """The configurations of a model, or of a part alone.

    Attributes:
        components: By the name that Diffusers' pipelines have for them.
        pipeline: The Diffusers pipeline class; None for a part.
        settings: Of the whole pipeline.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    components: dict[str, ComponentConfig]
    pipeline: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """A file of sets; ``parts`` holds what several of them share, by YAML's own anchors."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    schema: Literal[1]
    parts: dict[str, Any]
    sets: dict[str, ConfigSet]


@functools.cache
def config_sets() -> Mapping[str, ConfigSet]:
    """Gives the registered sets by name."""
    files = read_data(_FOLDER, _File)
    return MappingProxyType({name: each for file in files for name, each in file.sets.items()})
