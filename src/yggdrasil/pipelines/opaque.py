"""Graphs of one opaque block: whole pipelines of Diffusers for which there is no template."""

from __future__ import annotations

from typing import Any

from yggdrasil.core.block import AbstractBaseBlock
from yggdrasil.core.declaration import GraphLike
from yggdrasil.core.errors import ConfigError, ModelError
from yggdrasil.core.graph import ComputeGraph
from yggdrasil.hub.library import Library, ObjectLibrary

__all__ = ["NODE", "graph_of_handed", "opaque_graph", "opaque_nodes", "whole_block"]

NODE = "pipeline"
"""The node that runs the pipeline."""

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
            f"cannot run it as a block either: {error}"
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
    found = opaque_nodes(graph)
    return next(iter(found.values())) if len(graph.nodes) == len(found) == 1 else None


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
