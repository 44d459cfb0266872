"""From blocks that are loaded to what a file says of them."""

from __future__ import annotations

import functools
import importlib.metadata
import json
import platform
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

import yggdrasil
from yggdrasil.blocks.configuration import constructor_defaults
from yggdrasil.core.adapters import AbstractAdapter
from yggdrasil.core.block import AbstractBaseBlock
from yggdrasil.core.component import Component, ComponentSource, Given
from yggdrasil.core.errors import InputError
from yggdrasil.core.travelling import travel_of
from yggdrasil.core.weights import weights_digest
from yggdrasil.hub.library import Library, OverlaidLibrary
from yggdrasil.hub.references import ModelReference
from yggdrasil.hub.sources import NamedSource
from yggdrasil.pipelines.workflows.stores import Store

__all__ = [
    "Blocks",
    "common_placement",
    "describe_component",
    "describe_machine",
    "describe_weights",
    "has_own_weights",
    "is_said",
    "left_out_of",
    "loaded_modules",
    "model_of",
    "sources_of",
    "store_state",
    "versions",
]

Blocks = Mapping[str, AbstractBaseBlock]
"""The blocks of a graph and its stages, by the paths of their nodes."""

_LIBRARIES = ("torch", "diffusers", "transformers", "numpy", "pillow")


@functools.cache
def versions() -> Mapping[str, str]:
    """Gives the versions of the libraries whose numbers a picture depends on."""
    found = {name: importlib.metadata.version(name) for name in _LIBRARIES}
    return {"yggdrasil": yggdrasil.__version__, **found}


def describe_machine(device: torch.device | None) -> str:
    """Says what of a machine decides the last bits: processor, threads, the graphics card.

    Args:
        device: Where the models are.
    """
    kind = f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
    count = torch.get_num_threads()
    told = f"{kind}, {count} thread{'s' if count != 1 else ''}"
    if device is not None and device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, CUDA {torch.version.cuda}, {told}"
    return told


def sources_of(blocks: Blocks) -> Iterator[tuple[str, Component[Any], ComponentSource]]:
    """Gives each slot that has a source, as ``node.slot``, with its source."""
    for path, block in blocks.items():
        for name, slot in block.slots().items():
            if name in block.sources:
                yield f"{path}.{name}", slot, block.sources[name]


def is_said(name: str, value: Any) -> bool:
    """Says whether an argument of a call is to be kept.

    None is no value of the first ones; for a pipeline that runs whole it may be another than its
    default, elsewhere it counts as not given.

    Args:
        name: Of the argument.
        value: The argument.
    """
    return value is not None or name not in ("prompt", "seed", "generator", "output_type")


def model_of(library: Library | None) -> ModelReference | None:
    """Gives the name of a model that lies in files; None for one that was handed in as objects."""
    return None if library is None else library.reference()


def left_out_of(library: Library | None) -> tuple[str, ...]:
    """Gives the names of a model's components that the caller left out."""
    return library.without() if isinstance(library, OverlaidLibrary) else ()


def describe_component(
    slot: Component[Any], source: ComponentSource, library: Library | None
) -> Mapping[str, Any] | None:
    """Says where a component comes from, in the words of ``schema.ComponentOrigin``.

    Args:
        slot: Its slot.
        source: Its source.
        library: The model of the whole pipeline.

    Returns:
        None where it comes from that model.
    """
    told = source.describe()
    if library is not None and library.reference() is not None:
        own = library.source(slot)
        if own is not None and not isinstance(own, Given) and own.describe() == told:
            return None
    if isinstance(source, NamedSource):
        return {"model": asdict(source.reference())}
    if "config" in told:
        return told
    config = _scheduler_config(slot, source)
    if config is not None:
        return {"config": config}
    return {"given": str(told.get("given", told))}


def loaded_modules(blocks: Blocks) -> dict[str, nn.Module]:
    """Gives the components with weights that are loaded, as ``node.slot``."""
    found: dict[str, nn.Module] = {}
    for path, block in blocks.items():
        held = vars(block)["_modules"]
        found |= {
            f"{path}.{name}": held[name]
            for name in block.slots()
            if isinstance(held.get(name), nn.Module)
        }
    return found


def describe_weights(blocks: Blocks) -> dict[str, str]:
    """Gives digests of the weights that are loaded, as ``node.slot``, and of blocks' own."""
    found = {
        path: weights_digest([*module.named_parameters(), *module.named_buffers()])
        for path, module in loaded_modules(blocks).items()
    }
    own = {
        path: weights_digest(own_weights(block).items())
        for path, block in blocks.items()
        if has_own_weights(block)
    }
    read = {
        path: weights_digest(tensors.items())
        for path, block in blocks.items()
        if isinstance(block, AbstractAdapter) and (tensors := block.held_tensors())
    }
    return {**found, **read, **own}


def has_own_weights(block: AbstractBaseBlock) -> bool:
    """Says whether a block has weights that are no components."""
    held = vars(block)
    names = {*held["_parameters"], *held["_buffers"], *held["_modules"]}
    return not names <= block.slots().keys()


def own_weights(block: AbstractBaseBlock) -> dict[str, Tensor]:
    """Gives the weights of a block that are no components."""
    slots = block.slots()
    return {
        name: tensor
        for name, tensor in block.state_dict().items()
        if name.partition(".")[0] not in slots
    }


def store_state(blocks: Blocks, store: Store) -> dict[str, dict[str, Any]]:
    """Keeps the weights of blocks that are no components.

    Args:
        blocks: By the paths of their nodes.
        store: Keeps them as safetensors.
    """
    return {
        path: store.put(path, _packed(own_weights(block)), "safetensors")
        for path, block in blocks.items()
        if has_own_weights(block)
    }


def common_placement(
    blocks: Blocks, placement: tuple[torch.device | None, torch.dtype | None]
) -> tuple[torch.device | None, torch.dtype | None]:
    """Gives device and dtype of a pipeline, read off its modules where nobody set them.

    Args:
        blocks: By the paths of their nodes.
        placement: What was set with ``to``.

    Raises:
        InputError: Its models are of several dtypes, which no file says.
    """
    # Of each the first: this is asked in every call.
    held = [
        (first.device, _dtype_of(module, first), block.placement)
        for block in blocks.values()
        for module in block.children()
        if (first := next(module.parameters(), None)) is not None
    ]
    devices = {device for device, _, _ in held if device.type != "meta"}
    # A node's own dtype is said by the graph.
    dtypes = {dtype for _, dtype, place in held if place is None or place[1] != dtype}
    if placement[1] is not None:
        dtypes.add(placement[1])
    if len(dtypes) > 1:
        raise InputError(
            f"the models are of several dtypes ({', '.join(sorted(map(str, dtypes)))}), and a file "
            "says one: bring them to one with pipe.to(dtype=...)."
        )
    device = placement[0] or (devices.pop() if len(devices) == 1 else None)
    return device, dtypes.pop() if dtypes else None


def _dtype_of(module: nn.Module, first: Tensor) -> torch.dtype:
    """Gives the dtype that a model computes in; weights cast for each layer lie in another.

    Diffusers' models tell the former, without looking at weights that lie elsewhere.
    """
    found: Any = None if travel_of(module) is None else getattr(module, "dtype", None)
    return found if isinstance(found, torch.dtype) else first.dtype


def _packed(tensors: Mapping[str, Tensor]) -> bytes:
    return save({name: each.detach().cpu().contiguous().clone() for name, each in tensors.items()})


def _scheduler_config(slot: Component[Any], source: ComponentSource) -> dict[str, Any] | None:
    """Gives what a slot's class reads of a scheduler's configuration, which is all of a scheduler.

    None where the slot is for something else, or the configuration is no plain data.
    """
    cls: type = slot.cls
    is_scheduler = hasattr(cls, "from_config") and not issubclass(cls, nn.Module)
    if not is_scheduler:
        return None
    config, known = source.config(slot), constructor_defaults(cls)
    own = {name: value for name, value in config.items() if name in known or name[0] == "_"}
    return own if _is_plain(own) else None


def _is_plain(config: Mapping[str, Any]) -> bool:
    try:
        return bool(json.loads(json.dumps(config)) == config)
    except (TypeError, ValueError):
        return False
