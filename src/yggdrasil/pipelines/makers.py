"""Generating pipelines made of files and of other pipelines, and written as workflows."""

from __future__ import annotations

import contextlib
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

import torch

from yggdrasil.core.errors import MissingInputError
from yggdrasil.core.graph import ComputeGraph
from yggdrasil.core.plan import Plan
from yggdrasil.hub.library import Library
from yggdrasil.pipelines.combining import Stages, combine
from yggdrasil.pipelines.components import check_files
from yggdrasil.pipelines.configs import InferenceConfig, make_graph, read_config
from yggdrasil.pipelines.notices import warn_of_left_out
from yggdrasil.pipelines.workflows.files import open_workflow_file, write_workflow
from yggdrasil.pipelines.workflows.opening import Opened, Opening

__all__ = ["PipelineMakers", "make_pipeline"]

P = TypeVar("P", bound="PipelineMakers")


class PipelineMakers(ABC):
    """The ways to make a pipeline that begin with a file or with pipelines."""

    graph: ComputeGraph
    task: str | None
    _library: Library | None
    _placement: tuple[torch.device | None, torch.dtype | None]

    @classmethod
    @abstractmethod
    def from_graph(cls, graph: ComputeGraph, **options: Any) -> Self:
        """Makes a pipeline of a graph."""

    @abstractmethod
    def to(
        self,
        device: torch.device | str | torch.dtype | None = None,
        dtype: torch.dtype | None = None,
    ) -> Self:
        """Moves the models."""

    @abstractmethod
    def plan(self, prompt: str | Sequence[str] | None = None, **arguments: Any) -> Plan:
        """Gives the plan of a call."""

    @classmethod
    def from_workflow(
        cls,
        path: str | os.PathLike[str],
        *,
        model: str | os.PathLike[str] | None = None,
        device: str | None = None,
        allow_download: bool = False,
    ) -> Self:
        """Makes the pipeline that a workflow was saved from; ``Runner`` calls it as well.

        Args:
            path: What ``save_workflow`` wrote.
            model: A model in place of the one that it names.
            device: A device in place of the one that it ran on.
            allow_download: Whether a model that is not on this machine may be fetched from the hub.

        Raises:
            GraphFileError: The file cannot be read, with the line.
            ModelError: A model is not on this machine.
        """
        opening = Opening(
            model=None if model is None else os.fspath(model),
            device=device,
            allow_download=allow_download,
        )
        return make_pipeline(cls, open_workflow_file(Path(path), opening))

    @classmethod
    def from_config(
        cls, source: str | os.PathLike[str] | Mapping[str, Any], **overrides: Any
    ) -> Self:
        """Makes a pipeline of a configuration; ``InferenceConfig`` lists its keys.

        Args:
            source: A YAML file, its text, or a mapping.
            **overrides: Laid over it, with dots into mappings:
                ``**{"nodes.solver.use_karras_sigmas": True}``.

        Raises:
            GraphFileError: A key or value is wrong; with file and line, or the override.
            ModelError: The model is not there, or its files are missing or damaged.
            RegistryError: There is no such template, solver or block.
        """
        config, document = read_config(source, InferenceConfig, overrides)
        graph, task, library = make_graph(config, document, in_the_box=True)
        limit = {} if config.cache_limit is None else {"cache_limit": config.cache_limit}
        pipeline = cls.from_graph(graph, task=config.task or task, library=library, **limit)
        check_files(graph)
        if library is not None:
            warn_of_left_out(graph, library)
        return pipeline.to(config.device, config.torch_dtype)

    @classmethod
    def from_combined(
        cls, stages: Stages, *, links: Mapping[str, str] | None = None, **options: Any
    ) -> Self:
        """Makes one pipeline whose stages are graphs or pipelines; modules are shared.

        An argument of a call goes to every stage whose task takes it and has it from no other
        stage; ``stage={...}`` is for one stage alone. Each stage has the defaults of its task.

        Args:
            stages: By name; an input takes the output of the same name and kind that exactly one
                other stage gives. Or a list, an explicit order: it takes that of the nearest stage
                before it.
            links: Further edges: by input, ``refiner.init_image``, the output, ``base.images``.
            **options: As for the constructor.

        Raises:
            ConnectError: A link names what is not there, or what does not fit.
        """
        return cls.from_graph(combine(stages, links or {}), **options)

    def save_workflow(
        self,
        path: str | os.PathLike[str],
        prompt: str | Sequence[str] | None = None,
        **arguments: Any,
    ) -> Path:
        """Saves the graph with the arguments of a call; ``Runner.execute`` makes it.

        Models are named; weights that no file holds as they are now (handed in, trained) are
        written into ``<stem>.files`` beside it, as are pictures and tensors among the arguments.

        Args:
            path: Ends in ``.yaml``.
            prompt: As in a call.
            **arguments: As in a call; what is missing can be given when it is run.

        Returns:
            The path.

        Raises:
            InputError: An argument cannot be right, or no file holds it.
            GraphFileError: The graph holds what a file cannot name.
        """
        with contextlib.suppress(MissingInputError):
            self.plan(prompt, **arguments)
        return write_workflow(
            Path(path),
            self.graph,
            {"prompt": prompt, **arguments},
            task=self.task,
            library=self._library,
            placement=self._placement,
        )


def make_pipeline(cls: type[P], opened: Opened) -> P:
    """Makes the pipeline of a workflow whose parts were found.

    Args:
        cls: Of the pipeline.
        opened: The workflow.
    """
    pipeline = cls.from_graph(opened.graph, task=opened.workflow.task, library=opened.library)
    check_files(opened.graph)
    return pipeline.to(opened.device, opened.dtype)
