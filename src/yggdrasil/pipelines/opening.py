"""What the ways to make a pipeline of a model have in common."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from yggdrasil.core.dtypes import dtype_of
from yggdrasil.core.errors import ConfigError, nearest
from yggdrasil.core.graph import ComputeGraph
from yggdrasil.hub.library import Library, OverlaidLibrary
from yggdrasil.hub.several import split_components
from yggdrasil.pipelines.components import blocks_of
from yggdrasil.pipelines.placement.placing import DtypeArgument

__all__ = ["Options", "one_dtype", "overlay", "refuse_code_options", "sort_options"]

_CODE = ("custom_pipeline", "custom_revision", "trust_remote_code")
_WHERE = ("revision", "variant", "subfolder", "token", "cache_dir", "local_files_only")


class Options(NamedTuple):
    """Options of a way to make a pipeline.

    Attributes:
        pipeline: Those of the pipeline's constructor.
        where: Those that say where the model is, for ``locate``.
        components: Components in the place of the model's.
        known: The names of all options but the components'.
    """

    pipeline: dict[str, Any]
    where: dict[str, Any]
    components: dict[str, Any]
    known: tuple[str, ...]


def sort_options(options: Mapping[str, Any], constructor: Callable[..., None]) -> Options:
    """Sorts options by what they are for; what is neither of the others names a component.

    Args:
        options: As given.
        constructor: The pipeline's.
    """
    own = [name for name in inspect.signature(constructor).parameters if name != "self"]
    given = Options({}, {}, {}, (*own, *_WHERE))
    for name, value in options.items():
        if name in own:
            given.pipeline[name] = value
        elif name in _WHERE:
            given.where[name] = value
        else:
            given.components[name] = value
    return given


def refuse_code_options(options: Mapping[str, Any]) -> None:
    """Refuses the options by which Diffusers fetches and runs code.

    Args:
        options: As given.

    Raises:
        ConfigError: There is one.
    """
    for name in _CODE:
        if options.get(name):
            raise ConfigError(
                f"{name}={options[name]!r} would fetch and run code, which YggDrasil does not do. "
                "If you trust it, load the pipeline with Diffusers and hand in the object: "
                "InferencePipeline.from_diffusers(pipe)."
            )


def one_dtype(dtype: object, options: dict[str, Any]) -> DtypeArgument:
    """Gives the dtype of the weights, under whichever of Diffusers' names it was given.

    Args:
        dtype: As given by its newer name: one, or some by name of component.
        options: Further ones, of which ``torch_dtype``, the older name, is taken out.

    Raises:
        ConfigError: The names say different things, or one says no dtype of weights.
    """
    older = options.pop("torch_dtype", None)
    for name, value in {"dtype": dtype, "torch_dtype": older}.items():
        if isinstance(value, Mapping):
            for component, each in value.items():
                dtype_of(each, f"{name}[{component!r}]")
        elif value is not None:
            dtype_of(value, name)
    if None not in (dtype, older) and dtype != older:
        raise ConfigError(f"dtype is {dtype} and torch_dtype, its older name, {older}: give one.")
    return older if dtype is None else dtype  # type: ignore[return-value] # looked at above


def overlay(library: Library, graph: ComputeGraph, given: Options) -> Library:
    """Puts components of the caller in the place of a model's.

    Args:
        library: The model.
        graph: What will run.
        given: The components are named as Diffusers' pipelines name them; None leaves the model's
            own out.

    Raises:
        ConfigError: Neither the graph nor the model has a component of such a name.
    """
    slots = {slot.folder for _, block in blocks_of(graph) for slot in block.slots().values()}
    names = slots | library.names()
    for name in given.components:
        if name not in names:
            raise ConfigError(
                f"{name!r} is neither an option nor a component of this model."
                f"{nearest(name, [*names, *given.known], limit=12)}"
            )
    if not given.components:
        return library
    return OverlaidLibrary(library, split_components(given.components))
