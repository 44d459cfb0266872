"""What the ways to make a pipeline of a model have in common."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from torch import nn

from yggdrasil.core.dtypes import dtype_of
from yggdrasil.core.errors import ConfigError, nearest
from yggdrasil.core.graph import ComputeGraph
from yggdrasil.hub.library import Library, OverlaidLibrary
from yggdrasil.hub.several import split_components
from yggdrasil.pipelines.components import blocks_of
from yggdrasil.pipelines.opaque import whole_block
from yggdrasil.pipelines.placement.placing import DtypeArgument

__all__ = ["Options", "one_dtype", "overlay", "refuse_code_options", "sort_options"]

_CODE = ("custom_pipeline", "custom_revision", "trust_remote_code")
_WHERE = ("revision", "variant", "subfolder", "token", "cache_dir", "local_files_only")


_ALWAYS: Mapping[str, tuple[Any, ...]] = {
    "use_safetensors": (True, None),
    "low_cpu_mem_usage": (True, None),
}
"""Options of Diffusers, and the values that ask for what is always done here."""
_ADVICE: Mapping[str, str] = {
    "use_safetensors": "Weights are read from safetensors only.",
    "low_cpu_mem_usage": "Weights always load so.",
    "device_map": "Move the pipeline with pipe.to(device), or pipe.enable_model_cpu_offload().",
    "quantization_config": "Load the component with it, and hand it in: transformer=...",
}


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
    taken = inspect.signature(constructor).parameters
    own = [name for name in taken if name not in ("self", "graph", "library")]
    given = Options({}, {}, {}, (*own, *_WHERE))
    for name, value in options.items():
        if name in _ALWAYS and value in _ALWAYS[name]:
            continue
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


def check_component(name: str, value: object, cls: type) -> None:
    """Refuses a component that a block cannot work with, before anything is loaded.

    Args:
        name: Of the component.
        value: As the caller gave it; None is none.
        cls: That its slot holds.

    Raises:
        ConfigError: It is no object of such a kind.
    """
    if value is None:
        return
    if isinstance(value, str | os.PathLike):
        advice = (
            "solver=... takes a name, such as solver/euler"
            if name == "scheduler"
            else f"{cls.__name__}.from_pretrained({os.fspath(value)!r}) loads one"
        )
        raise ConfigError(f"{name} is the text {os.fspath(value)!r}: give the object. {advice}.")
    if not issubclass(cls, nn.Module):
        return
    module = getattr(value, "_orig_mod", value)  # what torch.compile gives holds it
    of_diffusers = hasattr(module, "load_config") and hasattr(cls, "load_config")
    if not isinstance(module, cls if of_diffusers else nn.Module):
        raise ConfigError(
            f"{name} is a {type(module).__name__}, and the graph has a block for {cls.__name__} "
            "there: give one, or put in a block for the other with graph.replace_node."
        )


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
            advice = f" {_ADVICE[name]}" if name in _ADVICE else ""
            raise ConfigError(
                f"{name!r} is neither an option nor a component of this model."
                f"{advice or nearest(name, [*names, *given.known], limit=12)}"
            )
    if not given.components:
        return library
    components = split_components(given.components)
    if whole_block(graph) is None:
        for _, block in blocks_of(graph):
            for slot in block.slots().values():
                if slot.folder in components:
                    check_component(slot.folder, components[slot.folder], slot.cls)
    return OverlaidLibrary(library, components)
