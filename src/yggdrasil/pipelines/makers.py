"""The ways to make a generating pipeline, and to write one as a workflow."""

from __future__ import annotations

import contextlib
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import torch

from yggdrasil.blocks.configuration import constructor_defaults
from yggdrasil.core.dtypes import dtype_of
from yggdrasil.core.errors import MissingInputError
from yggdrasil.core.graph import ComputeGraph
from yggdrasil.core.plan import Plan
from yggdrasil.core.templates import resolve_template
from yggdrasil.hub.families import check_family, has_template, template_for
from yggdrasil.hub.library import Library, ObjectLibrary
from yggdrasil.hub.locate import locate, locate_checkpoint
from yggdrasil.hub.several import split_components
from yggdrasil.hub.zoo import fallback
from yggdrasil.pipelines.combining import Stages, combine
from yggdrasil.pipelines.components import check_files, check_whole
from yggdrasil.pipelines.extending import with_place_for
from yggdrasil.pipelines.models import (
    graph_of,
    own_task,
    use_own_solver,
    use_settings,
    use_several,
    use_solver,
)
from yggdrasil.pipelines.notices import warn_of_left_out
from yggdrasil.pipelines.opaque import graph_of_handed
from yggdrasil.pipelines.opening import (
    Options,
    one_dtype,
    overlay,
    refuse_code_options,
    sort_options,
)
from yggdrasil.pipelines.placement.placing import DtypeArgument, set_dtypes
from yggdrasil.pipelines.placement.remembered import restore
from yggdrasil.pipelines.placement.treatments import Treatments

if TYPE_CHECKING:
    from yggdrasil.pipelines.workflows.opening import Opened

# Files are checked by pydantic, which takes megabytes: what reads and writes them is imported where
# it is called, so that a process that makes pictures of a model takes no more than Diffusers' does.

__all__ = ["PipelineMakers", "make_pipeline"]

P = TypeVar("P", bound="PipelineMakers")


class PipelineMakers(ABC):
    """The ways to make a pipeline of a model, a family, a file, or other pipelines."""

    graph: ComputeGraph
    task: str | None
    _library: Library | None
    _placement: tuple[torch.device | None, torch.dtype | None]
    _treatments: Treatments

    @classmethod
    @abstractmethod
    def from_graph(cls, graph: ComputeGraph, **options: Any) -> Self:
        """Makes a pipeline of a graph."""

    @abstractmethod
    def to(
        self,
        device: torch.device | str | torch.dtype | None = None,
        dtype: torch.dtype | str | None = None,
    ) -> Self:
        """Moves the models."""

    @abstractmethod
    def plan(self, prompt: str | Sequence[str] | None = None, **arguments: Any) -> Plan:
        """Gives the plan of a call."""

    @classmethod
    def from_template(
        cls,
        name: str,
        *,
        pretrained: str | os.PathLike[str] | None = None,
        solver: str | None = None,
        dtype: DtypeArgument = None,
        **options: Any,
    ) -> Self:
        """Makes a pipeline of a family, or of one of its tasks.

        Args:
            name: A template (``sd15``), whose task each call chooses by its arguments, or a task
                (``sd15_img2img``).
            pretrained: As for ``from_pretrained``; the model in the box with a notice unless given.
            solver: A solver in place of the model's own, such as ``solver/euler``.
            dtype: Of the weights, or by component with ``default`` for the others; float32
                unless given. ``torch_dtype`` says the same.
            **options: As for ``from_pretrained``.

        Raises:
            RegistryError: There is no such template or solver.
            ModelError: The model is not there, of another family, or its files are missing or
                damaged.
        """
        graph, task = resolve_template(name)
        dtype = one_dtype(dtype, options)
        given = sort_options(options, cls.__init__)
        model = locate(pretrained, **given.where) if pretrained is not None else fallback(name)
        if model.graph_file is None:  # a pipeline that was saved may be of any graph
            check_family(graph.name, model.pipeline_class(), model.describe())
        return cls._open(graph, task, model, solver, dtype, given)

    @classmethod
    def from_pretrained(
        cls,
        model: str | os.PathLike[str],
        *,
        task: str | None = None,
        solver: str | None = None,
        dtype: DtypeArgument = None,
        revision: str | None = None,
        variant: str | None = None,
        opaque: bool = False,
        **options: Any,
    ) -> Self:
        """Makes a pipeline of a model, whose family is read off its ``model_index.json``.

        Of a model on the hub, those files are fetched that the graph needs.

        Args:
            model: Zoo name, folder in Diffusers' layout or that ``save_pretrained`` wrote, hub id
                (``organisation/name``, if need be with ``@revision``), or what
                ``from_single_file`` takes.
            task: A task in place of choosing by each call's arguments.
            solver: A solver in place of the model's own, such as ``solver/euler``.
            dtype: Of the weights, or by component with ``default`` for the others; float32
                unless given. ``torch_dtype`` says the same.
            revision: A branch, tag or commit on the hub.
            variant: A variant of the weights, such as ``fp16``.
            opaque: Whether to run the model's own Diffusers pipeline whole, as one block, although
                its family has a template; without a template it is always run so.
            **options: As for the constructor; ``subfolder``, ``token``, ``cache_dir`` and
                ``local_files_only`` as for ``hub.locate``; and components by name in the place of
                the model's, such as ``vae=...`` or ``safety_checker=None``, or beside them:
                ``controlnet=...``, one or a list, where a template of the family holds such.

        Raises:
            ModelError: The model is not there, damaged, or no pipeline that could be run.
            ConfigError: An option is unknown.
        """
        dtype = one_dtype(dtype, options)
        refuse_code_options(options)
        given = sort_options(options, cls.__init__)
        library = locate(model, revision=revision, variant=variant, **given.where)
        graph = graph_of(library, opaque=opaque)
        return cls._open(graph, task, library, solver, dtype, given)

    @classmethod
    def from_single_file(
        cls,
        file: str | os.PathLike[str],
        *,
        config: str | os.PathLike[str] | None = None,
        prediction_type: str | None = None,
        task: str | None = None,
        solver: str | None = None,
        dtype: DtypeArgument = None,
        **options: Any,
    ) -> Self:
        """Makes a pipeline of a whole model in one safetensors file.

        Args:
            file: Its path, or its address on the hub.
            config: Folder or hub id of a model of the same family, for configurations and
                tokenizer; the family is recognised by the file's tensors unless given.
            prediction_type: What the model predicts, such as ``v_prediction``; what the file or
                its family says unless given.
            task: As for ``from_pretrained``.
            solver: As for ``from_pretrained``.
            dtype: As for ``from_pretrained``.
            **options: As for ``from_pretrained``.

        Raises:
            ModelError: The file is missing, damaged, pickled, or of a family that is not known.
            ConfigError: An option is unknown.
        """
        dtype = one_dtype(dtype, options)
        given = sort_options(options, cls.__init__)
        library = locate_checkpoint(
            file, config=config, prediction_type=prediction_type, **given.where
        )
        return cls._open(graph_of(library), task, library, solver, dtype, given)

    @classmethod
    def from_diffusers(cls, pipe: Any, *, opaque: bool = False, **options: Any) -> Self:
        """Makes a pipeline of a Diffusers pipeline; models are shared, nothing is copied.

        Args:
            pipe: A pipeline object. Where its family has no template, or the class is one of your
                own, it is run whole, as one block.
            opaque: Whether to run it whole although its family has a template.
            **options: As for the constructor; the task is that of the pipeline's class.
        """
        name = type(pipe).__name__
        if opaque or not has_template(name):
            own = sort_options(options, cls.__init__)
            graph, held = graph_of_handed(pipe)
            return cls._open(graph, None, held, None, None, own, whole=False)
        template, task = template_for(name, f"the object {name}")
        graph, _ = resolve_template(template)
        # What a constructor is told it keeps, though not everything of it in the configuration.
        of_class: type = type(pipe)
        told = {key: vars(pipe).get(key) for key in constructor_defaults(of_class)}
        settings = {key: value for key, value in told.items() if isinstance(value, bool)}
        library = ObjectLibrary(
            split_components(pipe.components), name, {**settings, **pipe.config}
        )
        given = sort_options(options, cls.__init__)
        task = given.pipeline.pop("task", task)
        return cls._open(graph, task, library, None, None, given, whole=False)

    @classmethod
    def _open(
        cls,
        graph: ComputeGraph,
        task: str | None,
        model: Library,
        solver: str | None,
        dtype: DtypeArgument,
        given: Options,
        *,
        whole: bool = True,
    ) -> Self:
        graph = with_place_for(graph, model, given.components)
        library = overlay(model, graph, given)
        if solver is not None:
            use_solver(graph, solver)
        elif model.graph_file is None or "scheduler" in given.components:
            use_own_solver(graph, library)  # a graph that was saved has its own
        if model.graph_file is None:
            use_settings(graph, library)
            use_several(graph, library)
        if whole and task is None:
            task = own_task(graph, library)
        if isinstance(dtype, Mapping):
            dtype = set_dtypes(graph, dtype)
        pipeline = cls.from_graph(graph, task=task, library=library, **given.pipeline)
        if whole:
            check_whole(graph, library, given.components)
        check_files(graph)
        warn_of_left_out(graph, library)
        return pipeline if dtype is None else pipeline.to(dtype=dtype_of(dtype, "dtype"))

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
        from yggdrasil.pipelines.workflows.files import open_workflow_file  # noqa: PLC0415 - above
        from yggdrasil.pipelines.workflows.opening import Opening  # noqa: PLC0415 - above

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
        from yggdrasil.pipelines.configs import (  # noqa: PLC0415 - above
            InferenceConfig,
            make_graph,
            read_config,
        )

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
        from yggdrasil.pipelines.workflows.files import write_workflow  # noqa: PLC0415 - above

        with contextlib.suppress(MissingInputError):
            self.plan(prompt, **arguments)
        return write_workflow(
            Path(path),
            self.graph,
            {"prompt": prompt, **arguments},
            task=self.task,
            library=self._library,
            placement=self._placement,
            memory=self._treatments.said(),
        )


def make_pipeline(cls: type[P], opened: Opened) -> P:
    """Makes the pipeline of a workflow whose parts were found.

    Args:
        cls: Of the pipeline.
        opened: The workflow.
    """
    pipeline = cls.from_graph(opened.graph, task=opened.workflow.task, library=opened.library)
    check_files(opened.graph)
    pipeline.to(opened.device, opened.dtype)
    restore(pipeline, opened.workflow.memory)
    return pipeline
