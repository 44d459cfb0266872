"""From a model to its graph."""

from __future__ import annotations

from typing import Any

from yggdrasil.core.adapters import AbstractAdapter
from yggdrasil.core.errors import InputError, ModelError, RegistryError, nearest
from yggdrasil.core.graph import ComputeGraph
from yggdrasil.core.registry import block_listings
from yggdrasil.core.templates import resolve_template
from yggdrasil.hub.families import is_known, template_of
from yggdrasil.hub.library import FolderLibrary, Library
from yggdrasil.hub.locate import is_hub_id
from yggdrasil.hub.references import store_of
from yggdrasil.pipelines.components import blocks_of
from yggdrasil.pipelines.opaque import opaque_graph

__all__ = ["graph_of", "own_task", "use_own_solver", "use_settings", "use_several", "use_solver"]


_SOLVERS = "solver/"


def graph_of(library: Library, *, opaque: bool = False) -> ComputeGraph:
    """Makes the graph that a model was saved with, that of its family, or one of a single block.

    Args:
        library: The model.
        opaque: Whether the model's own pipeline is to run whole even if its family has a template.

    Raises:
        ModelError: Its family has no template and Diffusers no pipeline that could run as a block,
            or its graph names a model of the hub.
        GraphFileError: Its graph file makes no graph.
    """
    if opaque:
        return opaque_graph(library)
    if library.graph_file is not None:
        graph = ComputeGraph.from_yaml(library.graph_file)
        _refuse_hub(graph, library)
        for _, block in blocks_of(graph):
            if isinstance(block, AbstractAdapter):
                _open_files(block, library)
        return graph
    if not is_known(library):
        return opaque_graph(library)
    return resolve_template(template_of(library))[0]


def _open_files(adapter: AbstractAdapter, library: Library) -> None:
    """Has the files of an adapter found beside a model's own graph, and fetched with it."""
    assert library.graph_file is not None  # noqa: S101 - the graph was read from it
    if isinstance(library, FolderLibrary) and library.snapshot is not None:
        there = library.snapshot.files
        library.snapshot.fetch(name for name in adapter.named_files() if name in there)
    folder = library.graph_file.parent
    adapter.open_files(folder, store=store_of(folder))


def own_task(graph: ComputeGraph, library: Library) -> str | None:
    """Gives the task that a model is for, where a call's arguments alone would not say it.

    Args:
        graph: Of the model's family.
        library: The model.
    """
    for name, settings in graph.tasks.items():
        if settings.get("only_by_name") and settings.get("diffusers") == library.pipeline_class():
            return name
    return None


def use_solver(graph: ComputeGraph, solver: str) -> None:
    """Puts a solver in the place of a graph's only one.

    Args:
        graph: It is changed.
        solver: Such as ``solver/euler``.

    Raises:
        InputError: The graph has not exactly one solver.
        RegistryError: There is no such solver.
    """
    nodes = _solver_nodes(graph)
    if len(nodes) != 1:
        raise InputError(
            f"solver={solver!r} is for a graph with one solver; this one has {len(nodes)}. Use "
            "graph.replace_node(name, type)."
        )
    if graph.block(nodes[0]).type_name == solver:
        return
    try:
        graph.replace_node(nodes[0], solver)
    except RegistryError as error:
        if solver.startswith(_SOLVERS):
            raise
        known = [name for name in block_listings() if name.startswith(_SOLVERS)]
        near = nearest(f"{_SOLVERS}{solver}", known)
        raise RegistryError(f"There is no solver {solver!r}.{near}") from error


def use_own_solver(graph: ComputeGraph, library: Library) -> None:
    """Puts in the solver that a model comes with, if it comes with one.

    Args:
        graph: It is changed; one with several solvers is left as it is.
        library: The model.

    Raises:
        ConfigError: No solver drives the model's scheduler.
    """
    scheduler = library.scheduler_class()
    if scheduler is None or len(_solver_nodes(graph)) != 1:
        return
    from yggdrasil.blocks.solver.catalog import solver_type_for  # noqa: PLC0415 - imports Diffusers

    use_solver(graph, solver_type_for(scheduler))


def use_settings(graph: ComputeGraph, library: Library) -> None:
    """Gives blocks the settings of the whole pipeline that they say they follow.

    Args:
        graph: It is changed.
        library: The model.
    """
    for name, node in list(graph.nodes.items()):
        if node.block is None:
            continue
        told = {key: library.setting(word) for key, word in node.block.pipeline_settings.items()}
        told = {key: value for key, value in told.items() if value is not None}
        if any(node.block.config[key] != value for key, value in told.items()):
            graph.replace_node(name, node.block.type_name, **{**node.block.config, **told})


def use_several(graph: ComputeGraph, library: Library) -> None:
    """Adds a node for each further component of a kind that a model has several of.

    They are those whose block takes the folder of its ``component``: ``controlnet_1``, ...

    Args:
        graph: It is changed.
        library: The model.
    """
    there = library.names()
    for name, node in list(graph.nodes.items()):
        if node.block is None or "component" not in node.block.config:
            continue
        folder, number = node.block.config["component"], 1
        while f"{folder}_{number}" in there:
            config = {**node.block.config, "component": f"{folder}_{number}"}
            graph.add_node(
                f"{name}_{number + 1}",
                node.block.type_name,
                group=node.group,
                order=node.order + number,
                inputs=node.inputs,
                **config,
            )
            number += 1


def _refuse_hub(graph: ComputeGraph, library: Library) -> None:
    """Keeps a model's graph from fetching other models that nobody asked for.

    Raises:
        ModelError: A node, of the graph or of a stage, names a model of the hub.
    """
    waiting: list[tuple[str, Any]] = [("", graph)]
    while waiting:
        prefix, each = waiting.pop()
        for name, node in each.nodes.items():
            for model in (node.pretrained, *node.components.values()):
                if isinstance(model, str) and is_hub_id(model):
                    raise ModelError(
                        f"Node {prefix + name!r} of {library.graph_file} names the model "
                        f"{model!r}, which would be fetched from the hub: a model's own graph may "
                        "name folders on this machine and models of the zoo. If you trust it, make "
                        "the pipeline with from_graph(ComputeGraph.from_yaml("
                        f"{str(library.graph_file)!r}), library=locate({library.describe()!r}))."
                    )
            if node.block is not None and node.block.inner_graph is not None:
                waiting.append((f"{prefix}{name}.", node.block.inner_graph))


def _solver_nodes(graph: ComputeGraph) -> list[str]:
    return [name for name in graph.nodes if graph.role(name) == "solver"]
