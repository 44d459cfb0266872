"""Settings of a node that change nothing about how a graph is wired."""

from __future__ import annotations

from dataclasses import replace
from typing import Self

import torch

from yggdrasil.core.declaration import Node
from yggdrasil.core.dtypes import dtype_of, name_of_dtype
from yggdrasil.core.errors import GraphError, nearest

__all__ = ["NodeSettings", "named"]


class NodeSettings:
    """The edits of a graph that concern where and in what nodes compute."""

    name: str
    _nodes: dict[str, Node]
    _version: int

    def set_dtype(self, name: str, dtype: torch.dtype | str | None) -> Self:
        """Gives the models of a node a dtype of their own, in the place of the pipeline's.

        Args:
            name: The node; of a stage, for all nodes in it that have none.
            dtype: One of PyTorch's, or its name; None for the pipeline's.

        Raises:
            GraphError: There is no such node.
            ConfigError: It is no dtype of weights.
        """
        if name not in self._nodes:
            raise GraphError(
                f"Graph {self.name!r} has no node {name!r}.{nearest(name, self._nodes)}"
            )
        self._nodes[name] = replace(self._nodes[name], dtype=named(name, dtype))
        self._version += 1
        return self


def named(node: str, dtype: torch.dtype | str | None) -> str | None:
    """Gives the name of a node's dtype.

    Args:
        node: Its name, for the message.
        dtype: As given.

    Raises:
        ConfigError: It is no dtype of weights.
    """
    if dtype is None:
        return None
    return name_of_dtype(dtype_of(dtype, f"dtype of node {node!r}"))
