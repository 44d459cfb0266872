"""Files of adapters in what is saved: named so that another process finds the very same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from yggdrasil.core.adapters import AbstractAdapter
from yggdrasil.core.graph import ComputeGraph
from yggdrasil.core.serialization.writing import to_data
from yggdrasil.pipelines.components import blocks_of

__all__ = ["name_files", "recorded_graph"]


def recorded_graph(graph: ComputeGraph) -> dict[str, Any]:
    """Gives a graph as records say it: without models, which they name apart, and files settled.

    Args:
        graph: The graph.

    Raises:
        GraphFileError: It holds what no file says.
        ModelError: A file of an adapter is not there.
    """
    data = {"schema": 1, **to_data(graph, models=False)}
    for path, block in blocks_of(graph):
        if isinstance(block, AbstractAdapter):
            name_files(data, path, block.settled_files())
    return data


def name_files(data: Mapping[str, Any], path: str, arguments: Mapping[str, Any]) -> None:
    """Has a node of a graph name other files.

    Args:
        data: The graph, as plain data; it is changed.
        path: The node, with the stages that it is in.
        arguments: What the node's block is to be given; None takes an argument away.
    """
    *stages, name = path.split(".")
    nodes = data["nodes"]
    for stage in stages:
        nodes = nodes[stage]["graph"]["nodes"]
    for argument, value in arguments.items():
        nodes[name].pop(argument, None)
        if value is not None:
            nodes[name][argument] = value
