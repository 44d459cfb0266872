"""Stages opened up: one flat set of nodes, each knowing the scope it came from.

A stage is a node whose block wraps a graph. For wiring, caching and freeing there is only one flat
graph; a node's path (``refiner.unet``) says where it was declared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from yggdrasil.core.block import AbstractBaseBlock
from yggdrasil.core.declaration import GraphLike
from yggdrasil.core.errors import GraphError, UnknownInputError
from yggdrasil.core.ports import OpSpec
from yggdrasil.core.tasks import Task, choose_task, read_tasks

__all__ = ["FlatNode", "Scope", "flatten"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FlatNode:
    """A node that is no stage, at its place in the flat graph.

    Attributes:
        path: Where it was declared.
        scope: The path of the graph that holds it.
        block: What it runs.
        role: What rules know it as.
        type_names: The registered types that its block is of: its own, then those it is derived
            from.
        group: Its group, if it is in one.
        order: Its place among others that feed one port.
        auto_connect: Whether rules see it.
        inputs: Defaults for its ports.
        ops: What it offers.
    """

    path: str
    scope: str
    block: AbstractBaseBlock
    role: str
    type_names: tuple[str, ...]
    group: str | None
    order: int
    auto_connect: bool
    inputs: Mapping[str, Any]
    ops: Mapping[str, OpSpec]

    @property
    def rank(self) -> tuple[int, str]:
        """The place among others that feed one port."""
        return (self.order, self.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """One graph of the nest.

    Attributes:
        path: Empty for the outermost graph, else the stage's path.
        parent: The path of the graph that holds the stage; None for the outermost.
        stage: The stage's name in its parent.
        graph: The graph.
        task: The task of the graph that the stage is for, if it is for one.
    """

    path: str
    parent: str | None
    stage: str
    graph: GraphLike
    task: Task | None = None

    def takes(self, name: str) -> bool:
        """Whether an input is one for the stage's task: not one that only other tasks take."""
        if self.task is None or name in self.task.targets():
            return True
        return all(name not in task.targets() for task in read_tasks(self.graph.tasks).values())

    def fallbacks(self, name: str) -> list[Any]:
        """Gives the values of an input that nobody gives: the graph's default, then the task's."""
        if self.parent is None:
            return []
        default = self.graph.defaults.get(name)
        own = [] if default is None else [default]
        return own if self.task is None else own + self.task.default_of(name)

    def child(self, name: str) -> str:
        """Gives the path of a node of this graph."""
        return f"{self.path}.{name}" if self.path else name


def flatten(graph: GraphLike) -> tuple[dict[str, FlatNode], dict[str, Scope]]:
    """Opens all stages.

    Returns:
        The nodes by path and the graphs by path, both independent of the order of adding.
    """
    nodes: dict[str, FlatNode] = {}
    scopes: dict[str, Scope] = {}
    waiting = [Scope(path="", parent=None, stage="", graph=graph)]
    while waiting:
        scope = waiting.pop()
        scopes[scope.path] = scope
        for name, node in sorted(scope.graph.nodes.items()):
            block = scope.graph.block(name)
            path = scope.child(name)
            if block.inner_graph is not None:
                graph = block.inner_graph
                task = None if node.task is None else _task(path, node.task, graph)
                waiting.append(
                    Scope(path=path, parent=scope.path, stage=name, graph=graph, task=task)
                )
                continue
            nodes[path] = FlatNode(
                path=path,
                scope=scope.path,
                block=block,
                role=scope.graph.role(name),
                # An alias plays a role of its own, so rules for the type are not its rules.
                type_names=_type_names(block) if node.use is None else (),
                group=node.group,
                order=node.order,
                auto_connect=node.auto_connect,
                inputs=node.inputs,
                ops=scope.graph.ops(name),
            )
    return nodes, scopes


def _task(path: str, name: str, graph: GraphLike) -> Task | None:
    """Gives the task that a stage is for.

    Raises:
        GraphError: Its graph has it no more.
    """
    try:
        return choose_task(graph.tasks, name, {})
    except UnknownInputError as error:
        raise GraphError(
            f"Stage {path!r} is for a task that graph {graph.name!r} has no more: {error} Replace "
            f"the stage with task=..., or give the graph that task."
        ) from error


def _type_names(block: AbstractBaseBlock) -> tuple[str, ...]:
    """Gives the names that a block's class and its bases are registered by, the nearest first."""
    own = (vars(cls).get("type_name") for cls in type(block).__mro__)
    return tuple(name for name in own if name)
