"""Filling a graph's components from a model."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from yggdrasil.core.adapters import AbstractAdapter
from yggdrasil.core.block import AbstractBaseBlock
from yggdrasil.core.component import Component, ComponentSource
from yggdrasil.core.declaration import Node
from yggdrasil.core.errors import ConfigError, ModelError
from yggdrasil.core.graph import ComputeGraph
from yggdrasil.core.plan import Plan
from yggdrasil.hub.checkpoint import is_checkpoint
from yggdrasil.hub.library import Library
from yggdrasil.hub.locate import locate_part
from yggdrasil.hub.lone import LoneLibrary
from yggdrasil.hub.single_files import HubFiles
from yggdrasil.hub.sources import CheckedSource, FolderSource, FreshSource, fetch_together

__all__ = ["blocks_of", "check_files", "check_whole", "fill", "load_for"]

_Giver = Library | LoneLibrary
"""What gives components by slot."""


def blocks_of(graph: ComputeGraph) -> Iterator[tuple[str, AbstractBaseBlock]]:
    """Gives each block of a graph and of its stages once, by the path of its node."""
    waiting: list[tuple[str, Any]] = [("", graph)]
    while waiting:
        prefix, each = waiting.pop()
        for name, node in each.nodes.items():
            if node.block is None:
                continue
            if node.block.inner_graph is not None:
                waiting.append((f"{prefix}{name}.", node.block.inner_graph))
            else:
                yield f"{prefix}{name}", node.block


def fill(graph: ComputeGraph, library: Library | None) -> None:
    """Says for every empty slot where it is loaded from, and finds the files of adapters.

    A node's own ``components`` and ``pretrained`` go before the model of the stage around it, and
    that before the model of the whole pipeline.

    Args:
        graph: The graph; a stage without ``pretrained`` is filled with the model around it.
        library: The model, if there is one for the whole pipeline.

    Raises:
        ModelError: A node names a model or file that is not there.
        ConfigError: A node names a component that its block has not.
    """
    opened: dict[str, _Giver] = {}
    waiting: list[tuple[Any, _Giver | None]] = [(graph, library)]
    while waiting:
        each, around = waiting.pop()
        for node in each.nodes.values():
            if node.block is None:
                continue
            _check_names(node.name, node.block, node.components)
            if node.block.inner_graph is not None:
                inside = around if node.pretrained is None else _open(node.pretrained, opened)
                waiting.append((node.block.inner_graph, inside))
                continue
            if isinstance(node.block, AbstractAdapter):
                node.block.find_files(HubFiles())
            _fill_slots(node, node.block, around, opened)


def _fill_slots(
    node: Node, block: AbstractBaseBlock, around: _Giver | None, opened: dict[str, _Giver]
) -> None:
    for name, slot in block.slots().items():
        if name in block.sources:
            continue
        source = _source(slot, node.components.get(name), node.pretrained, around, opened)
        if source is not None:
            block.load_from(**{name: source})
        elif node.pretrained is not None and not slot.optional:
            raise ModelError(
                f"Node {node.name!r} names the model {node.pretrained!r}, which has no "
                f"{slot.folder!r}: it is of another family. Give the node a model that "
                f"has one, or components={{{name!r}: ...}}."
            )
        elif slot.optional and (around is not None or node.pretrained is not None):
            block.leave_empty(name)


def check_files(graph: ComputeGraph) -> None:
    """Fetches what is to be loaded from the hub, and checks every component without loading it.

    Raises:
        ModelError: A file is missing or damaged, or the hub does not give it.
        ConfigError: A configuration holds a name that its class does not know.
    """
    found = [
        (block.sources[name], slot)
        for _, block in blocks_of(graph)
        for name, slot in block.slots().items()
        if name in block.sources
    ]
    fetch_together((each, slot) for each, slot in found if isinstance(each, FolderSource))
    for source, slot in found:
        if isinstance(source, CheckedSource):
            source.check(slot)


def check_whole(graph: ComputeGraph, library: Library, given: Collection[str]) -> None:
    """Refuses a model that lacks a component which its graph needs.

    Args:
        graph: Filled from the model.
        library: The model.
        given: Components that the caller gave, or left out.

    Raises:
        ModelError: It lacks one.
    """
    for path, block in blocks_of(graph):
        for name, slot in block.slots().items():
            # A solver by itself has the defaults of its class; of a model, that is a fault.
            needed = not slot.optional or block.role == "solver"
            if needed and name not in block.sources and slot.folder not in given:
                named = library.reference()
                alone = named is not None and is_checkpoint(named.name) and named.config is None
                way = ", or config=..., a folder or hub id of a whole model" if alone else ""
                raise ModelError(
                    f"{library.describe()} has no {slot.folder!r}, which node {path!r} needs; it "
                    f"has {', '.join(sorted(library.names())) or 'none'}. Give {slot.folder}=..."
                    f"{way}{_of_another_kind(graph, library)}"
                )


def _of_another_kind(graph: ComputeGraph, library: Library) -> str:
    """Says so of a model whose pipeline is none that the graph stands for."""
    name = library.pipeline_class()
    own = {settings.get("diffusers") for settings in graph.tasks.values()} - {None}
    if not own or name in own:
        return ""
    return f". It is a {name}, and {graph.name!r} is for others: from_pretrained finds its graph."


def load_for(plan: Plan) -> None:
    """Loads the components of the blocks that a plan runs, so that faults are seen before.

    Facts are told by configurations alone. Adapters are asked before models are loaded, and once
    more when they can compare.
    """
    calls = [call for call in plan.calls() if not call.spec.fact]
    patches = dict.fromkeys(patch for call in calls for patch in call.patches)
    for patch in patches:
        patch.adapter.check(patch.among)
    for block in {id(call.block): call.block for call in calls}.values():
        for name in block.sources:
            getattr(block, name)
    for patch in patches:
        patch.adapter.check(patch.among)


def _source(
    slot: Component[Any],
    own: str | Mapping[str, Any] | None,
    pretrained: str | None,
    library: _Giver | None,
    opened: dict[str, _Giver],
) -> ComponentSource | None:
    if isinstance(own, Mapping):
        return _fresh(slot, own)
    model = own or pretrained
    if model is not None:
        return _open(model, opened).source(slot)
    return None if library is None else library.source(slot)


def _open(model: str, opened: dict[str, _Giver]) -> _Giver:
    """Opens each model once, so that nodes which name the same one share its components."""
    if model not in opened:
        opened[model] = locate_part(model)
    return opened[model]


def _fresh(slot: Component[Any], own: Mapping[str, Any]) -> FreshSource:
    """Reads ``{config: ..., seed: ..., zero: [...]}``, or a configuration itself."""
    if "config" not in own:
        return FreshSource(own)
    unknown = sorted(set(own) - {"config", "seed", "zero"})
    if unknown or not isinstance(own["config"], Mapping):
        raise ConfigError(
            f"Component {slot.name!r} is {dict(own)!r}: give a configuration, or config, seed and "
            "zero."
        )
    return FreshSource(own["config"], int(own.get("seed", 0)), tuple(own.get("zero", ())))


def _check_names(node: str, block: AbstractBaseBlock, components: Mapping[str, Any]) -> None:
    unknown = sorted(set(components) - set(block.slots()))
    if unknown:
        raise ConfigError(
            f"Node {node!r} gives {unknown[0]!r} among its components, but {type(block).__name__} "
            f"has {', '.join(block.slots()) or 'none'}."
        )
