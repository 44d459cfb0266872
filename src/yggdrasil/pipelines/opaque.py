"""Graphs of one opaque block: whole pipelines of Diffusers for which there is no template."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from yggdrasil.core.block import AbstractBaseBlock
from yggdrasil.core.declaration import GraphLike
from yggdrasil.core.errors import ConfigError, GraphError, ModelError
from yggdrasil.core.graph import ComputeGraph
from yggdrasil.core.ports import Port
from yggdrasil.hub.families import seen_in
from yggdrasil.hub.library import Library, ObjectLibrary

__all__ = [
    "NODE",
    "check_company",
    "graph_of_handed",
    "keep_none",
    "opaque_graph",
    "opaque_nodes",
    "whole_block",
]

NODE = "pipeline"
"""The node that runs the pipeline."""

_INSIDE = frozenset({"adapter", "conditioner", "guidance", "inner_module", "layout", "solver"})
"""Roles that mean nothing without a backbone beside them."""

# Diffusers is imported where a pipeline is wrapped, which most processes never do.


def opaque_graph(library: Library) -> ComputeGraph:
    """Makes the graph that runs a model's own pipeline as one block.

    Args:
        library: The model.

    Raises:
        ModelError: Diffusers has no such pipeline, or it needs a package that is not installed.
    """
    from yggdrasil.blocks.outer_module.diffusers_pipeline import DiffusersPipeline  # noqa: PLC0415
    from yggdrasil.blocks.outer_module.pipeline_classes import (  # noqa: PLC0415
        parts_of,
        pipeline_class,
    )

    name = library.pipeline_class()
    try:
        known = parts_of(pipeline_class(name)).settings
    except (ConfigError, ModelError) as error:
        raise ModelError(
            f"{library.describe()} is a {name}, for which there is no template yet, and Diffusers "
            f"cannot run it as a block either: {error} {seen_in(library)}"
        ) from error
    told = {each: library.setting(each) for each in known}
    settings = {each: value for each, value in told.items() if value is not None}
    return _graph(DiffusersPipeline(name, settings or None))


def graph_of_handed(pipe: Any) -> tuple[ComputeGraph, ObjectLibrary]:
    """Makes the graph that runs a pipeline object as one block, and the library of its models.

    Args:
        pipe: Of a class that Diffusers exports, or of one's own.
    """
    import diffusers  # noqa: PLC0415

    from yggdrasil.blocks.outer_module.diffusers_pipeline import (  # noqa: PLC0415
        DiffusersPipeline,
        HandedPipeline,
    )
    from yggdrasil.blocks.outer_module.pipeline_classes import parts_of  # noqa: PLC0415

    cls = type(pipe)
    config = dict(pipe.config)
    if getattr(diffusers, cls.__name__, None) is cls:
        settings = {name: config[name] for name in parts_of(cls).settings if name in config}
        block = DiffusersPipeline(cls.__name__, settings or None).adopt(pipe)
    else:
        block = HandedPipeline(pipe)
    return _graph(block), ObjectLibrary(dict(pipe.components), cls.__name__, config)


def opaque_nodes(graph: GraphLike) -> dict[str, AbstractBaseBlock]:
    """Gives the blocks of a graph, not of its stages, that the graph does not see into, by node."""
    return {
        name: node.block
        for name, node in graph.nodes.items()
        if node.block is not None
        and node.block.inner_graph is None
        and any(spec.opaque for spec in node.block.ops().values())
    }


def whole_block(graph: GraphLike) -> Any:
    """Gives the block of a graph that is one opaque block and nothing else, or None."""
    if len(graph.nodes) != 1:  # asked in every call
        return None
    return next(iter(opaque_nodes(graph).values()), None)


def check_company(graph: GraphLike) -> None:
    """Refuses nodes that work inside a loop, beside a pipeline whose loop the graph does not see.

    Args:
        graph: The graph; its stages are looked at one by one.

    Raises:
        GraphError: A node would be read by nothing.
    """
    graphs: list[GraphLike] = [graph]
    for each in graphs:  # it grows while it is walked
        opaque = opaque_nodes(each)
        roles = {name: each.role(name) for name in each.nodes}
        lost = [name for name, role in roles.items() if role in _INSIDE]
        if opaque and lost and "backbone" not in roles.values():
            node, block = next(iter(opaque.items()))
            raise GraphError(
                f"Node {lost[0]!r} ({roles[lost[0]]}) of graph {each.name!r} works inside a loop, "
                f"and {node!r} runs a {block.label} whole, so nothing would read it. Use a model "
                "of a family that has a template, or add it to another stage."
            )
        inside = (node.block.inner_graph for node in each.nodes.values() if node.block is not None)
        graphs += [inner for inner in inside if inner is not None]


def keep_none(graph: GraphLike, call: Mapping[str, Any]) -> Mapping[str, Any]:
    """Marks arguments that a call gives as None to a pipeline whose own default is another.

    Elsewhere None counts as not given.

    Args:
        graph: What the call is for; of stages each has its own arguments under its name.
        call: The arguments.
    """
    whole = whole_block(graph)
    if whole is not None:
        ports = whole.ops()["run"].inputs
        return {
            name: whole.NOTHING if value is None and _says_none(ports.get(name)) else value
            for name, value in call.items()
        }
    stages = {
        name: node.block.inner_graph
        for name, node in graph.nodes.items()
        if isinstance(call.get(name), Mapping) and node.block is not None
    }
    return {
        name: value if stages.get(name) is None else keep_none(stages[name], value)
        for name, value in call.items()
    }


def _says_none(port: Port | None) -> bool:
    """Says whether None means something else than the default; a prompt of None is none given."""
    return port is not None and port.default is not None and port.name != "prompt"


def _graph(block: Any) -> ComputeGraph:
    """Makes a graph whose one task is the pipeline's call."""
    spec = block.ops()["run"]
    task = {
        "diffusers": block.pipeline,
        "takes": list(spec.inputs),
        "requires": [name for name, port in spec.inputs.items() if port.required],
    }
    graph = ComputeGraph(block.pipeline, tasks={"call": task})
    graph.add_node(NODE, block)
    for name in spec.outputs:
        graph.expose_output(name, f"{NODE}.run.{name}")
    return graph
