"""Arguments that several nodes read: a list has one item for each."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from yggdrasil.core.errors import InputError, MissingInputError
from yggdrasil.core.flatten import FlatNode
from yggdrasil.core.wiring import FromInput, Vertex, Wiring

__all__ = ["brought_by", "call_names", "share_out"]

_PICTURES = "pictures"


def call_names(wiring: Wiring, stage: str = "") -> set[str]:
    """Gives the arguments that nodes bring with them, whatever the task of a call.

    Args:
        wiring: Of the graph.
        stage: The stage that is called; the whole graph unless given.
    """
    return {name for node in _nodes(wiring)[stage] for name in _brought(node)}


def share_out(wiring: Wiring, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Gives each of several nodes that read one argument its own item of a list.

    Args:
        wiring: Of the graph.
        inputs: The inputs of the graph; a list has an item for each node, in their order. Where the
            nodes' blocks say so (``lists_by_prompt``), it may be a list of such lists, one for each
            prompt. What is no list is for all.

    Returns:
        The inputs, with items by the ports that they are for.

    Raises:
        MissingInputError: What a node must be given is not there.
        InputError: A list has not as many items as there are nodes.
    """
    shared = dict(inputs)
    for stage, nodes in _nodes(wiring).items():
        prefix = f"{stage}." if stage else ""
        readers: dict[str, list[FlatNode]] = defaultdict(list)
        for node in sorted(nodes, key=lambda each: each.rank):
            for name, needed in _brought(node).items():
                readers[name].append(node)
                given = f"{prefix}{name}" in inputs or _is_given(wiring, node, name, inputs)
                if needed and not given:
                    raise MissingInputError(_missing(node, name))
        for name, several in readers.items():
            key = f"{prefix}{name}"
            if key in shared:
                items = _items(name, shared[key], several)
                if items is not None:
                    del shared[key]
                    for node, item in zip(several, items, strict=True):
                        shared.update(_ports(node, name, item))
    return shared


def _nodes(wiring: Wiring) -> dict[str, list[FlatNode]]:
    """Gives the nodes that bring arguments, by the stage that holds them."""
    found: dict[str, list[FlatNode]] = defaultdict(list)
    for node in wiring.nodes.values():
        if _brought(node) and node.auto_connect:
            found[node.scope].append(node)
    return found


def _brought(node: FlatNode) -> Mapping[str, bool]:
    """Gives the arguments that a node brings, those of its block's base classes first."""
    return brought_by(type(node.block))


@functools.cache
def brought_by(cls: type) -> Mapping[str, bool]:
    """Gives the arguments that a block brings, each with whether it is needed.

    Args:
        cls: Of the block; those of its base classes count too.
    """
    found: dict[str, bool] = {}
    for base in reversed(cls.__mro__):
        found.update(vars(base).get("call_inputs", {}))
    return found


def _items(name: str, value: Any, nodes: list[FlatNode]) -> list[Any] | None:
    """Gives a node's item each; None where the value is for all of them as it is."""
    if len(nodes) == 1:
        return None  # which may read a list itself: pictures for a batch
    if not isinstance(value, list | tuple):
        # A mask may be one for all, as any number; of control pictures each node has its own.
        if not _reads_pictures(nodes[0], name) or not _brought(nodes[0])[name]:
            return None
        raise InputError(
            f"{name} is {type(value).__name__}, and {len(nodes)} nodes read it: give a list, an "
            f"item each for {', '.join(node.path for node in nodes)}."
        )
    items = list(value)
    if _by_prompt(nodes[0], name) and any(isinstance(each, list | tuple) for each in items):
        items = _turned(name, items, nodes)
    if len(items) != len(nodes):
        raise InputError(
            f"{name} has {len(items)} items for {len(nodes)} nodes: give one each for "
            f"{', '.join(node.path for node in nodes)}, in this order."
        )
    return items


def _by_prompt(node: FlatNode, name: str) -> bool:
    """Says whether lists of lists are by prompts first, and then by nodes."""
    return name in getattr(type(node.block), "lists_by_prompt", ())


def _turned(name: str, rows: list[Any], nodes: list[FlatNode]) -> list[Any]:
    """Gives for each node its items of all prompts, of a list for each prompt."""
    counts = [len(row) if isinstance(row, list | tuple) else 1 for row in rows]
    if any(count != len(nodes) for count in counts):
        raise InputError(
            f"{name} has lists of {', '.join(map(str, counts))} items: of lists there is one for "
            f"each prompt, with an item each for {', '.join(node.path for node in nodes)}."
        )
    return [list(column) for column in zip(*rows, strict=True)]


def _reads_pictures(node: FlatNode, name: str) -> bool:
    ports = [spec.inputs[name] for spec in node.ops.values() if name in spec.inputs]
    return any(kind.name == _PICTURES for port in ports for kind in port.kinds)


def _ports(node: FlatNode, name: str, item: Any) -> dict[str, Any]:
    return {
        f"{node.path}.{op}.{name}": item for op, spec in node.ops.items() if name in spec.inputs
    }


def _is_given(wiring: Wiring, node: FlatNode, name: str, inputs: Mapping[str, Any]) -> bool:
    """Says whether a node has an input by its own name, by an edge, or as a default."""
    if not inputs.keys().isdisjoint({f"{node.path}.{name}", *_ports(node, name, None)}):
        return True
    candidates = (wiring.inputs[Vertex(node.path, op)].get(name) for op in node.ops)
    return any(
        not isinstance(source, FromInput) or source.name in inputs
        for each in candidates
        if each is not None
        for choice in each.choices
        for source in choice
    )


def _missing(node: FlatNode, name: str) -> str:
    return (
        f"Node {node.path!r} ({node.block.type_name}) is given no {name!r}: give {name}=..., where "
        f"several nodes read it a list with one for each, or take the node away with "
        f"graph.remove_node({node.path!r})."
    )
