"""Which block gets which device and dtype: the node's own dtype goes before the pipeline's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from yggdrasil.core.block import AbstractBaseBlock
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
    """
    for block, own in _with_dtypes(graph):
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
    graph: ComputeGraph, around: torch.dtype | None = None
) -> Iterator[tuple[AbstractBaseBlock, torch.dtype | None]]:
    """Gives each block with the dtype of its node, or of the stage around it."""
    for node in graph.nodes.values():
        if node.block is None:
            continue
        own = around if node.dtype is None else dtype_of(node.dtype, f"dtype of {node.name!r}")
        if node.block.inner_graph is not None:
            yield from _with_dtypes(node.block.inner_graph, own)
        else:
            yield node.block, own
