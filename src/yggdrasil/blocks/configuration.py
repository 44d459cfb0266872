"""Reading the configuration of Diffusers' models before their weights are there."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from yggdrasil.core.block import AbstractBaseBlock

__all__ = ["constructor_defaults", "model_config", "with_defaults"]


@functools.cache
def constructor_defaults(cls: type) -> Mapping[str, Any]:
    """Gives what a class's constructor assumes for what it is not told.

    Args:
        cls: A class with a configuration, such as a model or a scheduler of Diffusers.

    Returns:
        Every parameter by name with its default; without one, None.
    """
    parameters = inspect.signature(cls).parameters.values()
    named = (each for each in parameters if each.kind is not inspect.Parameter.VAR_KEYWORD)
    return MappingProxyType(
        {each.name: None if each.default is each.empty else each.default for each in named}
    )


def with_defaults(cls: type, config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Completes a configuration as it lies in a file.

    Files written by older versions lack the parameters that came later (``scaling_factor`` of the
    first Stable Diffusion VAEs), and the constructor then assumes their defaults.

    Args:
        cls: The class that the configuration is for.
        config: The values that are given.
    """
    return {**constructor_defaults(cls), **config}


def model_config(block: AbstractBaseBlock, slot: str) -> Mapping[str, Any]:
    """Gives the configuration of a block's model, complete, before its weights are there.

    Args:
        block: The block.
        slot: Of the model.
    """
    return with_defaults(block.slots()[slot].cls, block.component_config(slot))
