"""Pipelines as configuration: one YAML file, or a mapping, with what is laid over it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from yggdrasil.core.availability import direct_ports
from yggdrasil.core.errors import UnknownInputError, nearest
from yggdrasil.core.graph import ComputeGraph
from yggdrasil.core.rules import Mode
from yggdrasil.core.serialization.document import Document
from yggdrasil.core.serialization.reading import build_graph, read_document
from yggdrasil.core.serialization.writing import to_data
from yggdrasil.core.template_documents import lay_over
from yggdrasil.core.templates import resolve_template
from yggdrasil.core.wiring import wire
from yggdrasil.hub.library import Library
from yggdrasil.hub.locate import locate
from yggdrasil.hub.zoo import fallback
from yggdrasil.pipelines.checking import checked
from yggdrasil.pipelines.models import graph_of, use_own_solver, use_solver

__all__ = [
    "ConfiguredGraph",
    "InferenceConfig",
    "PipelineConfig",
    "TrainingConfig",
    "make_graph",
    "read_config",
]

C = TypeVar("C", bound="PipelineConfig")


class PipelineConfig(BaseModel):
    """What the configurations of all pipelines say.

    Attributes:
        version: 1 (``schema`` in the file).
        template: The family whose graph it is, or one of its tasks.
        graph: In its place, a graph: a file, named from the folder of the configuration, or what
            a graph file says.
        pretrained: The model; without template and graph also whose graph it is. A name that
            begins with a dot is a path from the folder of the configuration.
        revision: A branch, tag or commit on the hub.
        variant: Of the weights, such as ``fp16``.
        solver: In place of the model's own.
        nodes: Laid over the graph's, as in a template: null takes one away, a type replaces it, a
            mapping of settings and configuration is laid over its own.
        defaults: Values of graph inputs that a call does not give.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = Field(default=1, alias="schema")
    template: str | None = None
    graph: str | dict[str, Any] | None = None
    pretrained: str | None = None
    revision: str | None = None
    variant: str | None = None
    solver: str | None = None
    nodes: dict[str, dict[str, Any] | str | None] = Field(default_factory=dict)
    defaults: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.template is not None and self.graph is not None:
            raise ValueError("template and graph are both given; give one")
        if self.template is self.graph is self.pretrained is None:
            raise ValueError("nothing says which graph it is: give template, graph or pretrained")
        return self


class InferenceConfig(PipelineConfig):
    """What the configuration of a generating pipeline says beside that.

    Attributes:
        task: A task in place of choosing by each call's arguments.
        dtype: Of the weights.
        device: Where it runs.
        cache_limit: Most bytes of values to keep between calls.
    """

    task: str | None = None
    dtype: Literal["float16", "bfloat16", "float32", "float64"] | None = None
    device: str | None = None
    cache_limit: int | None = Field(default=None, ge=0)

    @field_validator("device")
    @classmethod
    def _check_device(cls, value: str | None) -> str | None:
        try:
            torch.device(value or "cpu")
        except RuntimeError as error:
            raise ValueError(
                "PyTorch has no such device; give one such as cpu or cuda:0"
            ) from error
        return value

    @property
    def torch_dtype(self) -> torch.dtype | None:
        """The dtype as PyTorch has it."""
        return None if self.dtype is None else getattr(torch, self.dtype)


class TrainingConfig(PipelineConfig):
    """What the configuration of a training pipeline says beside that; see ``TrainingPipeline``.

    Attributes:
        train_nodes: The nodes whose weights change.
        train_stages: The stages whose weights change.
        loss: The output to be made small.
        wiring: ``corrupt`` or ``denoise``.
        objective: Type of the objective.
        timesteps: Type of the block that says which timesteps are trained.
    """

    train_nodes: tuple[str, ...] = ()
    train_stages: tuple[str, ...] = ()
    loss: str = "objective.loss"
    wiring: Mode = "corrupt"
    objective: str | None = None
    timesteps: str | None = None


class ConfiguredGraph(NamedTuple):
    """The graph that a configuration describes.

    Attributes:
        graph: It, with everything laid over.
        task: The task that the template's name says.
        library: Its model.
    """

    graph: ComputeGraph
    task: str | None
    library: Library | None


def read_config(
    source: str | os.PathLike[str] | Mapping[str, Any],
    model: type[C],
    overrides: Mapping[str, Any],
) -> tuple[C, Document]:
    """Reads a configuration and lays values over it.

    Args:
        source: A file, its text, or a mapping.
        model: What it configures.
        overrides: By key; with dots into mappings, such as ``nodes.solver.use_karras_sigmas``.

    Raises:
        GraphFileError: With file and line, or the override, and the nearest name.
    """
    if isinstance(source, Mapping):
        document = Document(dict(source), {}, "configuration")
    else:
        document = read_document(source, what="configuration", begins="template: sd15")
    for name, value in overrides.items():
        document = _override(document, name, value)
    return checked(document, model), document


def make_graph(
    config: PipelineConfig, document: Document, *, in_the_box: bool = False
) -> ConfiguredGraph:
    """Makes the graph that a configuration describes; no weights are loaded.

    Args:
        config: What it says.
        document: Where it says so.
        in_the_box: Whether a template without a model takes the one in the box.

    Raises:
        GraphFileError: Nodes or defaults do not fit the graph, with the line.
        ModelError: The model is not there.
        RegistryError: There is no such template, solver or block.
    """
    folder = Path(document.source).parent
    pretrained = config.pretrained
    if pretrained is not None and pretrained.startswith("."):
        pretrained = str(folder / pretrained)
    library: Library | None = None
    if pretrained is not None:
        library = locate(pretrained, revision=config.revision, variant=config.variant)
    task = None
    if config.template is not None:
        graph, task = resolve_template(config.template)
        if library is None and in_the_box:
            library = fallback(config.template)
    elif isinstance(config.graph, dict):
        places = {k[1:]: v for k, v in document.places.items() if k[:1] == ("graph",)}
        graph = build_graph(Document(config.graph, places, document.source), ComputeGraph)
    elif config.graph is not None:
        graph = ComputeGraph.from_yaml(folder / config.graph)
    else:
        assert library is not None  # noqa: S101 - one of three, which the configuration checks
        graph = graph_of(library)
    own = config.graph is not None or (
        config.template is None and library is not None and library.graph_file is not None
    )
    if config.solver is not None:
        use_solver(graph, config.solver)
    elif library is not None and not own:
        use_own_solver(graph, library)
    if config.nodes:
        graph = _with_nodes(graph, config, document)
    _set_defaults(graph, config, document)
    return ConfiguredGraph(graph=graph, task=task, library=library)


def _with_nodes(graph: ComputeGraph, config: PipelineConfig, document: Document) -> ComputeGraph:
    """Lays nodes over a graph as a template's are, with the lines of the configuration."""
    base = Document({"schema": 1, **to_data(graph)}, {}, document.source)
    away = [name for name, settings in config.nodes.items() if settings is None]
    laid = {
        name: {"type": settings} if isinstance(settings, str) else settings
        for name, settings in config.nodes.items()
        if settings is not None
    }
    places = {path: line for path, line in document.places.items() if path[:1] == ("nodes",)}
    places |= {("remove", n): document.at("nodes", name) for n, name in enumerate(away)}
    for name, settings in laid.items():
        if name not in base.data["nodes"] and not {"type", "use", "graph"} & settings.keys():
            raise document.error(
                f"the graph has no node {name!r}, and to add one its type is wanted."
                f"{nearest(name, base.data['nodes'])}",
                "nodes",
                name,
            )
    over = Document({"nodes": laid, "remove": away}, places, document.source)
    return build_graph(lay_over(base, over), ComputeGraph)


def _set_defaults(graph: ComputeGraph, config: PipelineConfig, document: Document) -> None:
    if not config.defaults:
        return
    wiring = wire(graph)
    for name, value in config.defaults.items():
        try:
            direct_ports(wiring, [name])
        except UnknownInputError as error:
            raise document.error(str(error), "defaults", name) from error
        graph.defaults[name] = value


def _override(document: Document, name: str, value: Any) -> Document:
    """Lays one value over a document, and says so where its line would be told."""
    key, _, rest = name.partition(".")
    path = [key] if not rest else [key, rest] if key == "defaults" else name.split(".")
    data = dict(document.data)
    inner: dict[str, Any] = data
    for part in path[:-1]:
        inner[part] = dict(inner[part]) if isinstance(inner.get(part), Mapping) else {}
        inner = inner[part]
    if isinstance(value, Mapping) and isinstance(inner.get(path[-1]), Mapping):
        value = {**inner[path[-1]], **value}
    inner[path[-1]] = value
    told = f"override {name!r}"
    places: dict[tuple[str | int, ...], str] = dict.fromkeys(
        (tuple(path[:end]) for end in range(1, len(path))), told
    )
    return Document(data, {**places, **document.places, tuple(path): told}, document.source)
