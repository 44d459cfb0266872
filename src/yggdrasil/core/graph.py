"""The graph: nodes and explicit edges, and nothing that could be derived from them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Self

from yggdrasil.core.block import AbstractBaseBlock
from yggdrasil.core.declaration import Edge, Node
from yggdrasil.core.edges import resolve_edge, sole
from yggdrasil.core.errors import ConnectError, GraphError, nearest
from yggdrasil.core.graph_views import GraphViews
from yggdrasil.core.node_settings import NodeSettings, named
from yggdrasil.core.ports import OpSpec
from yggdrasil.core.references import PortRef, find_inputs, find_outputs
from yggdrasil.core.registry import make_block
from yggdrasil.core.rules import Rule
from yggdrasil.core.stage import AbstractStage
from yggdrasil.core.tasks import check_stage_task

__all__ = ["ComputeGraph"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class ComputeGraph(GraphViews, NodeSettings):
    """A declaration of nodes whose wiring is derived.

    Every edit either succeeds or raises and changes nothing. The order of edits does not matter:
    graphs with the same nodes, edges and settings are wired alike.

    Args:
        name: Shown in drawings and messages.
        rules: Rules of this graph, before the general ones.
        draws: The order of random draws, in place of the general one.
        defaults: Values of graph inputs that a call does not give.
        tasks: By name, how a call's arguments map to graph inputs; see ``core.tasks``.
    """

    def __init__(
        self,
        name: str = "graph",
        *,
        rules: Sequence[Rule] = (),
        draws: Sequence[str] = (),
        defaults: Mapping[str, Any] | None = None,
        tasks: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self.name = name
        self.rules = tuple(rules)
        self.draws = tuple(draws)
        self.defaults: dict[str, Any] = dict(defaults or {})
        self.tasks: dict[str, Mapping[str, Any]] = dict(tasks or {})
        self._nodes: dict[str, Node] = {}
        self._edges: dict[PortRef, tuple[Edge, ...]] = {}  # by target
        self._exposed_inputs: dict[str, tuple[PortRef, ...]] = {}
        self._exposed_outputs: dict[str, PortRef] = {}
        self._version = 0

    # -- what is declared ------------------------------------------------------------------------

    @property
    def nodes(self) -> Mapping[str, Node]:
        """The nodes by name."""
        return MappingProxyType(self._nodes)

    @property
    def edges(self) -> tuple[Edge, ...]:
        """The explicit edges."""
        return tuple(edge for edges in self._edges.values() for edge in edges)

    @property
    def inputs(self) -> Mapping[str, tuple[PortRef, ...]]:
        """The exposed inputs by name, each with the ports it feeds."""
        return MappingProxyType(self._exposed_inputs)

    @property
    def outputs(self) -> Mapping[str, PortRef]:
        """The exposed outputs by name."""
        return MappingProxyType(self._exposed_outputs)

    @property
    def version(self) -> int:
        """Grows with every edit, so that what was derived can be kept until then."""
        return self._version

    def block(self, name: str) -> AbstractBaseBlock:
        """Gives the block of a node, through an alias too.

        Raises:
            GraphError: There is no such node, or aliases use each other.
        """
        node = self._node(name)
        trail = [name]
        while node.use is not None:
            used = node.use.partition(".")[0]
            if used in trail:
                raise GraphError(
                    f"Nodes of graph {self.name!r} use each other in a circle: "
                    f"{' -> '.join((*trail, used))}. One of them must have a type."
                )
            trail.append(used)
            node = self._node(used)
        assert node.block is not None  # noqa: S101 - add_node gives a node either a block or a use
        return node.block

    def ops(self, name: str) -> Mapping[str, OpSpec]:
        """Gives the ops of a node; an alias of one op has that op alone.

        Raises:
            GraphError: There is no such node, or an alias names an op that the block has not.
        """
        ops = self.block(name).ops()
        _, _, only = (self._node(name).use or "").partition(".")
        if not only:
            return ops
        if only not in ops:
            raise GraphError(
                f"Node {name!r} of graph {self.name!r} uses {self._node(name).use!r}, but that "
                f"block has no op {only!r}.{nearest(only, ops)}"
            )
        return {only: ops[only]}

    def role(self, name: str) -> str:
        """Gives the role that rules know a node by."""
        return self._node(name).role or self.block(name).role

    # -- edits -----------------------------------------------------------------------------------

    def add_node(
        self,
        name: str,
        type: str | AbstractBaseBlock | None = None,
        *,
        use: str | None = None,
        role: str | None = None,
        group: str | None = None,
        order: int = 0,
        auto_connect: bool = True,
        pretrained: str | None = None,
        components: Mapping[str, Any] | None = None,
        inputs: Mapping[str, Any] | None = None,
        dtype: Any = None,
        **config: Any,
    ) -> Self:
        """Declares a node; where it belongs is derived.

        Args:
            name: Unique in the graph; letters, digits and underscores.
            type: A registered type, ``role/name``, or a block.
            use: In place of a type: another node whose block this one uses too.
            role: What rules know it as, in place of the block's role.
            group: Rules look within a node's group, then among ungrouped nodes.
            order: Place among others where several feed one port or are spliced into one loop.
            auto_connect: False hides the node from the rules for good.
            pretrained: Folder or hub id that the block's components are loaded from.
            components: Per slot, in place of ``pretrained``: a path or a configuration.
            inputs: Defaults for the node's ports, by port name.
            dtype: Of the block's models, in the place of the pipeline's.
            **config: The block's constructor arguments.

        Returns:
            The graph itself, so that calls can be chained.

        Raises:
            GraphError: The name is taken or not a name, or both or neither of type and use given.
            RegistryError: Nobody registered the type.
            ConfigError: The arguments do not fit the type.
        """
        if not _NAME.fullmatch(name):
            raise GraphError(f"{name!r} is no node name: use letters, digits and underscores.")
        if name in self._nodes:
            raise GraphError(
                f"Graph {self.name!r} has a node {name!r} already; choose another name, or "
                f"replace_node({name!r}, ...)."
            )
        node = self._make_node(
            name, type, use, config,
            role=role, group=group, order=order, auto_connect=auto_connect,
            pretrained=pretrained, components=dict(components or {}), inputs=dict(inputs or {}),
            dtype=named(name, dtype),
        )  # fmt: skip
        self._nodes[name] = node
        self._version += 1
        return self

    def add_stage(
        self, name: str, graph: ComputeGraph, *, task: str | None = None, **options: Any
    ) -> Self:
        """Adds a whole graph as one node.

        Args:
            name: The stage's name.
            graph: The graph; its open inputs and exposed outputs become the stage's ports.
            task: The task of the graph that the stage is for: inputs that only other tasks take
                stay empty, and the task's defaults and fixed values hold.
            **options: As for ``add_node``.

        Raises:
            UnknownInputError: The graph has no such task.
        """
        if task is not None:
            check_stage_task(graph.tasks, task)
        self.add_node(name, AbstractStage.of(graph), **options)
        self._nodes[name] = replace(self._nodes[name], task=task)
        return self

    def remove_node(self, name: str) -> Self:
        """Takes a node away, with its explicit edges and exposures.

        Raises:
            GraphError: There is no such node, or an alias uses it.
        """
        self._node(name)
        users = [n.name for n in self._nodes.values() if (n.use or "").partition(".")[0] == name]
        if users:
            raise GraphError(
                f"Node {name!r} of graph {self.name!r} is used by {', '.join(map(repr, users))}; "
                "remove those first."
            )
        del self._nodes[name]
        self._edges = {
            target: left
            for target, edges in self._edges.items()
            if target.node != name and (left := tuple(e for e in edges if e.source.node != name))
        }
        kept = {
            key: tuple(ref for ref in refs if ref.node != name)
            for key, refs in self._exposed_inputs.items()
        }
        self._exposed_inputs = {key: refs for key, refs in kept.items() if refs}
        self._exposed_outputs = {
            key: ref for key, ref in self._exposed_outputs.items() if ref.node != name
        }
        self._version += 1
        return self

    def replace_node(
        self,
        name: str,
        type: str | AbstractBaseBlock,
        **options: Any,
    ) -> Self:
        """Puts another block in a node's place; settings that are not given stay.

        Explicit edges and exposures stay where the new block has the ports, and are an error where
        it has not.

        Args:
            name: The node.
            type: A registered type or a block.
            **options: As for ``add_node``; for a stage ``task`` too, as for ``add_stage``.

        Raises:
            GraphError: There is no such node, or an explicit edge no longer fits.
            UnknownInputError: The stage's graph has not its task.
        """
        old = self._node(name)
        settings = {
            key: options.pop(key, getattr(old, key))
            for key in ("role", "group", "order", "auto_connect", "pretrained", "inputs", "dtype")
        }
        settings["components"] = options.pop("components", {})
        settings["dtype"] = named(name, settings["dtype"])
        task = old.task
        if isinstance(type, AbstractBaseBlock) and type.inner_graph is not None:
            task = options.pop("task", old.task)
        node = self._make_node(name, type, None, options, **settings)
        if node.block is not None and node.block.inner_graph is not None:
            if task is not None:
                check_stage_task(node.block.inner_graph.tasks, task)
            node = replace(node, task=task)
        self._check_uses(node)
        self._nodes[name] = node
        self._version += 1
        return self

    def connect(self, source: str, target: str) -> Self:
        """Draws an edge by hand; it beats the rules.

        Args:
            source: ``node.op.port``; parts that leave no doubt may be left out.
            target: Likewise, an input.

        Raises:
            ConnectError: An end does not exist, kinds do not fit, or several pairs would do.
        """
        edge = resolve_edge(self, source, target)
        many = self.ops(edge.target.node)[edge.target.op].inputs[edge.target.port].many
        taken = self._edges.get(edge.target, ())
        if edge in taken:
            return self
        if taken and not many:
            raise ConnectError(
                f"{edge.target} in graph {self.name!r} is fed by {taken[0].source} already; "
                f"disconnect({str(edge.target)!r}) first."
            )
        self._edges[edge.target] = (*taken, edge)
        self._version += 1
        return self

    def disconnect(self, target: str) -> Self:
        """Takes away the explicit edges into an input; the rules have it again.

        Raises:
            ConnectError: No explicit edge goes there.
        """
        refs = set(find_inputs(self, target))
        kept = {target: edges for target, edges in self._edges.items() if target not in refs}
        if len(kept) == len(self._edges):
            known = map(str, self._edges)
            raise ConnectError(
                f"No explicit edge of graph {self.name!r} goes to {target!r}."
                f"{nearest(target, known)}"
            )
        self._edges = kept
        self._version += 1
        return self

    def expose_input(self, name: str, *targets: str) -> Self:
        """Names a graph input and the ports that it feeds, before any rule.

        Raises:
            ConnectError: A port does not exist or is named ambiguously.
        """
        refs = tuple(sole(self, find_inputs(self, target), target) for target in targets)
        self._exposed_inputs[name] = (*self._exposed_inputs.get(name, ()), *refs)
        self._version += 1
        return self

    def expose_output(self, name: str, source: str) -> Self:
        """Names a graph output.

        Raises:
            ConnectError: The port does not exist or is named ambiguously.
        """
        self._exposed_outputs[name] = sole(self, find_outputs(self, source), source)
        self._version += 1
        return self

    def __repr__(self) -> str:
        """Shows name and nodes, also of a graph that is not whole yet, or wrong."""
        nodes = ", ".join(f"{name}: {self._shown_role(name)}" for name in self._nodes)
        return f"ComputeGraph({self.name!r}, {{{nodes}}})"

    # -- inside ----------------------------------------------------------------------------------

    def _check_uses(self, node: Node) -> None:
        """Refuses a replacement that lacks a port which an edge or an exposure names."""
        assert node.block is not None  # noqa: S101 - a replacement is made from a type
        ops, what = node.block.ops(), node.block.type_name or type(node.block).__name__
        uses = [(edge.source, "outputs", edge) for edge in self.edges]
        uses += [(edge.target, "inputs", edge) for edge in self.edges]
        named: list[tuple[PortRef, str, object]] = [*uses]
        named += [(r, "inputs", k) for k, refs in self._exposed_inputs.items() for r in refs]
        named += [(ref, "outputs", key) for key, ref in self._exposed_outputs.items()]
        for ref, side, use in named:
            if ref.node == node.name and ref.port not in getattr(ops.get(ref.op), side, {}):
                if isinstance(use, Edge):
                    said = f"edge {use}; disconnect({str(use.target)!r}) first"
                else:
                    said = f"exposed name {use!r}; remove the node and add the new one instead"
                raise GraphError(
                    f"{what!r} cannot take the place of node {node.name!r} of graph "
                    f"{self.name!r}: it has no {ref.op}.{ref.port}, which is used by the {said}."
                )

    def _shown_role(self, name: str) -> str:
        try:
            return self.role(name)
        except GraphError:  # the alias leads nowhere: to itself, or to a node still to be added
            return f"use {self._nodes[name].use}"

    def _node(self, name: str) -> Node:
        if name not in self._nodes:
            raise GraphError(
                f"Graph {self.name!r} has no node {name!r}.{nearest(name, self._nodes)}"
            )
        return self._nodes[name]

    def _make_node(
        self,
        name: str,
        type: str | AbstractBaseBlock | None,
        use: str | None,
        config: Mapping[str, Any],
        **settings: Any,
    ) -> Node:
        if (type is None) == (use is None):
            raise GraphError(f"Node {name!r} wants either a type or use=..., and not both.")
        if use is not None or isinstance(type, AbstractBaseBlock):
            if config:
                raise GraphError(
                    f"Node {name!r} is given {', '.join(map(repr, config))}, but its block is made "
                    "already: set them where the block is made."
                )
            block = type if isinstance(type, AbstractBaseBlock) else None
        else:
            block = make_block(str(type), **config)
        return Node(name=name, block=block, use=use, **settings)
