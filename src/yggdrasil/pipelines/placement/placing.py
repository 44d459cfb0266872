"""Which block gets which device and dtype: the node's own dtype goes before the pipeline's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from yggdrasil.core.block import AbstractBaseBlock
from yggdrasil.core.component import Component, ComponentSource, Given
from yggdrasil.core.dtypes import dtype_of, name_of_dtype
from yggdrasil.core.errors import ConfigError, nearest
from yggdrasil.core.graph import ComputeGraph

__all__ = ["DtypeArgument", "Place", "place_blocks", "set_dtypes"]

Place = tuple[torch.device | None, torch.dtype | None]
DtypeArgument = torch.dtype | str | Mapping[str, torch.dtype | str] | None
"""A dtype of all weights, or by name of component; ``default`` is for the others."""

_DEFAULT = "default"


def place_blocks(graph: ComputeGraph, place: Place, *, anew: bool) -> None:
    """Moves and casts the models of every block, and has those still to be loaded follow.

    Args:
        graph: With its stages.
        place: Device and dtype of what says none of its own.
        anew: Whether to move also what was placed so before, since it may have been moved.

    Raises:
        ConfigError: Two nodes share a model and want it in different dtypes.
    """
    _check_shared(graph, place[1])
    for _, block, own in _with_dtypes(graph):
        wanted = (place[0], own or place[1])
        if wanted != (None, None) and (anew or block.placement != wanted):
            block.place(*wanted)


def set_dtypes(graph: ComputeGraph, dtypes: Mapping[str, torch.dtype | str]) -> torch.dtype | None:
    """Notes dtypes of components at the nodes that hold them, which are saved with the graph.

    Args:
        graph: With its stages.
        dtypes: By name of component; ``default`` is for the others.

    Returns:
        The one for the others.

    Raises:
        ConfigError: No node holds a component of such a name, a node holds two that are to differ,
            or what is given is no dtype.
    """
    checked = {name: dtype_of(each, f"dtype[{name!r}]") for name, each in dtypes.items()}
    default = checked.pop(_DEFAULT, None)
    known: set[str] = set()
    for each, name, block in _nodes(graph):
        folders = [slot.folder for slot in block.slots().values()]
        known.update(folders)
        wanted = {checked[folder] for folder in folders if folder in checked}
        if len(wanted) > 1:
            raise ConfigError(
                f"Node {name!r} holds {', '.join(map(repr, folders))}, and a node has one dtype: "
                f"give them one, not {' and '.join(sorted(map(str, wanted)))}."
            )
        if wanted:
            each.set_dtype(name, name_of_dtype(wanted.pop()))
    for name in checked:
        if name not in known:
            raise ConfigError(
                f"dtype names {name!r}, which is no component of this model."
                f"{nearest(name, [*known, _DEFAULT], limit=12)}"
            )
    return default


def _nodes(graph: ComputeGraph) -> Iterator[tuple[Any, str, AbstractBaseBlock]]:
    """Gives each graph, the name of a node in it, and the node's block, if it is no stage."""
    for node in list(graph.nodes.values()):
        if node.block is None:
            continue
        if node.block.inner_graph is not None:
            yield from _nodes(node.block.inner_graph)
        else:
            yield graph, node.name, node.block


def _with_dtypes(
    graph: ComputeGraph, around: torch.dtype | None = None, prefix: str = ""
) -> Iterator[tuple[str, AbstractBaseBlock, torch.dtype | None]]:
    """Gives each block with its path and the dtype of its node, or of the stage around it."""
    for node in graph.nodes.values():
        if node.block is None:
            continue
        path = f"{prefix}{node.name}"
        own = around if node.dtype is None else dtype_of(node.dtype, f"dtype of {node.name!r}")
        if node.block.inner_graph is not None:
            yield from _with_dtypes(node.block.inner_graph, own, f"{path}.")
        else:
            yield path, node.block, own


def _check_shared(graph: ComputeGraph, default: torch.dtype | None) -> None:
    """Refuses two dtypes for one model, of which the one asked for last would hold for both."""
    seen: dict[object, tuple[str, torch.dtype | None]] = {}
    for path, block, own in _with_dtypes(graph):
        _, placed = block.placement or (None, None)  # by a pipeline that is a stage now
        for name, slot in block.slots().items():
            source = block.sources.get(name)
            if source is None:
                continue
            key, usual = _identity(source, slot.folder)
            wanted = own or default or placed or usual
            first, dtype = seen.setdefault(key, (path, wanted))
            if dtype != wanted and _is_model(source, slot):
                raise ConfigError(
                    f"Nodes {first!r} and {path!r} share one {slot.folder!r}, which is to be in "
                    f"{_named(dtype)} for the one and in {_named(wanted)} for the other. "
                    "A model has one dtype: give both nodes the same, or load it once more for one "
                    "of them, as from_pretrained of a pipeline of its own does."
                )


def _identity(source: ComponentSource, folder: str) -> tuple[object, torch.dtype | None]:
    """Gives what tells one model from another, and the dtype that it has if nobody says one."""
    if isinstance(source, Given):
        return id(source.value), getattr(source.value, "dtype", None)
    # Components of one library are loaded once.
    return (id(getattr(source, "shared", source)), folder), torch.float32


def _is_model(source: ComponentSource, slot: Component[Any]) -> bool:
    """Says whether a slot's component has weights, which alone have a dtype."""
    if isinstance(source, Given):
        return isinstance(source.value, nn.Module)
    return issubclass(slot.cls, nn.Module)


def _named(dtype: torch.dtype | None) -> str:
    return "its own dtype" if dtype is None else name_of_dtype(dtype)
