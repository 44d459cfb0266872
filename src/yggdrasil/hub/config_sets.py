"""Configurations of whole models that come with the package, each with where it is from."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from yggdrasil.hub.data_files import read_data

__all__ = ["ComponentConfig", "ConfigSet", "Within", "config_sets", "whole_set"]

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
class Within:
    """A pipeline that a part is one component of.

    Attributes:
        base: The set of the model that the part is for.
        pipeline: The Diffusers pipeline class of both together.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    base: str
    pipeline: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigSet:
    """The configurations of a model, or of a part alone.

    Attributes:
        components: By the name that Diffusers' pipelines have for them.
        pipeline: The Diffusers pipeline class; None for a part.
        settings: Of the whole pipeline.
        within: Of a part: what it is checked in.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    components: dict[str, ComponentConfig]
    pipeline: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    within: Within | None = None


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


def whole_set(configs: ConfigSet) -> ConfigSet:
    """Gives a part's set with those of the model that it is for; another one as it is.

    Args:
        configs: A registered set.
    """
    if configs.within is None:
        return configs
    base = config_sets()[configs.within.base]
    return ConfigSet(
        components={**base.components, **configs.components},
        pipeline=configs.within.pipeline,
        settings=base.settings,
    )
