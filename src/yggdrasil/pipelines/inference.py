"""The pipeline that generates."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self, overload

import torch
from torch import nn

from yggdrasil.core.cache import CacheInfo, ValueCache
from yggdrasil.core.executor import Observer
from yggdrasil.core.facts import declined
from yggdrasil.core.graph import ComputeGraph
from yggdrasil.core.plan import Plan
from yggdrasil.core.runtime import Runtime
from yggdrasil.core.tasks import Task, choose_task, read_tasks
from yggdrasil.core.templates import resolve_template
from yggdrasil.hub.families import template_for
from yggdrasil.hub.library import Library, ObjectLibrary
from yggdrasil.hub.locate import locate, locate_checkpoint
from yggdrasil.hub.zoo import fallback
from yggdrasil.pipelines.callbacks import StepCallback
from yggdrasil.pipelines.components import blocks_of, check_files, fill, load_for
from yggdrasil.pipelines.metadata import describe_call
from yggdrasil.pipelines.models import (
    graph_of,
    use_own_solver,
    use_solver,
)
from yggdrasil.pipelines.notices import warn_of_left_out, warn_of_unread
from yggdrasil.pipelines.opening import Options, overlay, sort_options
from yggdrasil.pipelines.progress import ProgressBar
from yggdrasil.pipelines.result import GenerationResult
from yggdrasil.pipelines.saving import save_pipeline
from yggdrasil.pipelines.seeds import make_generators

__all__ = ["InferencePipeline"]

_DEFAULT_CALLBACK_INPUTS = ("latents",)


class InferencePipeline:
    """Runs a graph to make pictures: one class for one graph or many stages.

    Values are kept between calls (a second call with another seed does not encode the prompt
    again), weights are loaded on first use, and the graph may be edited at any time.

    Args:
        graph: The graph to run; shared, not copied.
        task: Which of the graph's tasks calls are for; chosen by the arguments of each call unless
            given.
        library: The model that fills components whose nodes name none.
        cache_limit: Most bytes of values to keep between calls; 0 keeps none.

    Raises:
        UnknownInputError: The graph has no such task.
    """

    def __init__(
        self,
        graph: ComputeGraph,
        *,
        task: str | None = None,
        library: Library | None = None,
        cache_limit: int = 512 * 2**20,
    ) -> None:
        if task is not None:
            choose_task(graph.tasks, task, {})
        self.graph = graph
        self.task = task
        self._library = library
        self._runtime = Runtime(graph, ValueCache(cache_limit) if cache_limit else None)
        self._filled_version = -1
        self._placement: tuple[torch.device | None, torch.dtype | None] = (None, None)
        self._bar: dict[str, Any] = {}
        self._fill()

    # -- ways to make one ------------------------------------------------------------------------

    @classmethod
    def from_graph(cls, graph: ComputeGraph, **options: Any) -> Self:
        """Makes a pipeline of a graph; options as for the constructor."""
        return cls(graph, **options)

    @classmethod
    def from_template(
        cls,
        name: str,
        *,
        pretrained: str | os.PathLike[str] | None = None,
        solver: str | None = None,
        torch_dtype: torch.dtype | None = None,
        **options: Any,
    ) -> Self:
        """Makes a pipeline of a family, or of one of its tasks.

        Args:
            name: A template (``sd15``), whose task each call chooses by its arguments, or a task
                (``sd15_img2img``).
            pretrained: As for ``from_pretrained``; the model in the box with a notice unless given.
            solver: A solver in place of the model's own, such as ``solver/euler``.
            torch_dtype: Of the weights; float32 unless given.
            **options: As for ``from_pretrained``.

        Raises:
            RegistryError: There is no such template or solver.
            ModelError: The model is not there, or its files are missing or damaged.
        """
        graph, task = resolve_template(name)
        given = sort_options(options, cls.__init__)
        model = locate(pretrained, **given.where) if pretrained is not None else fallback(name)
        return cls._open(graph, task, model, solver, torch_dtype, given)

    @classmethod
    def from_pretrained(
        cls,
        model: str | os.PathLike[str],
        *,
        task: str | None = None,
        solver: str | None = None,
        torch_dtype: torch.dtype | None = None,
        revision: str | None = None,
        variant: str | None = None,
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
            torch_dtype: Of the weights; float32 unless given.
            revision: A branch, tag or commit on the hub.
            variant: A variant of the weights, such as ``fp16``.
            **options: As for the constructor; ``subfolder``, ``token``, ``cache_dir`` and
                ``local_files_only`` as for ``hub.locate``; and components by name in the place of
                the model's, such as ``vae=...`` or ``safety_checker=None``.

        Raises:
            ModelError: The model is not there, damaged, or of a family without a template.
            ConfigError: An option is unknown.
        """
        given = sort_options(options, cls.__init__)
        library = locate(model, revision=revision, variant=variant, **given.where)
        return cls._open(graph_of(library), task, library, solver, torch_dtype, given)

    @classmethod
    def from_single_file(
        cls,
        file: str | os.PathLike[str],
        *,
        config: str | os.PathLike[str] | None = None,
        prediction_type: str | None = None,
        task: str | None = None,
        solver: str | None = None,
        torch_dtype: torch.dtype | None = None,
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
            torch_dtype: As for ``from_pretrained``.
            **options: As for ``from_pretrained``.

        Raises:
            ModelError: The file is missing, damaged, pickled, or of a family that is not known.
            ConfigError: An option is unknown.
        """
        given = sort_options(options, cls.__init__)
        library = locate_checkpoint(
            file, config=config, prediction_type=prediction_type, **given.where
        )
        return cls._open(graph_of(library), task, library, solver, torch_dtype, given)

    @classmethod
    def from_diffusers(cls, pipe: Any, **options: Any) -> Self:
        """Makes a pipeline of a Diffusers pipeline; models are shared, nothing is copied.

        Args:
            pipe: A pipeline object of a family that has a template.
            **options: As for the constructor; the task is that of the pipeline's class.

        Raises:
            ModelError: The family has no template.
        """
        name = type(pipe).__name__
        template, task = template_for(name, f"the object {name}")
        graph, _ = resolve_template(template)
        library = ObjectLibrary(dict(pipe.components), name)
        given = sort_options(options, cls.__init__)
        return cls._open(graph, given.pipeline.pop("task", task), library, None, None, given)

    @classmethod
    def _open(
        cls,
        graph: ComputeGraph,
        task: str | None,
        model: Library,
        solver: str | None,
        dtype: torch.dtype | None,
        given: Options,
    ) -> Self:
        library = overlay(model, graph, given)
        if solver is not None:
            use_solver(graph, solver)
        elif model.graph_file is None or "scheduler" in given.components:
            use_own_solver(graph, library)  # a graph that was saved has its own
        pipeline = cls(graph, task=task, library=library, **given.pipeline)
        check_files(graph)
        warn_of_left_out(graph, library)
        return pipeline if dtype is None else pipeline.to(dtype=dtype)

    # -- use -------------------------------------------------------------------------------------

    @overload
    def __call__(
        self,
        prompt: str | Sequence[str] | None = ...,
        *,
        return_dict: Literal[True] = ...,
        **arguments: Any,
    ) -> GenerationResult: ...
    @overload
    def __call__(
        self,
        prompt: str | Sequence[str] | None = ...,
        *,
        return_dict: Literal[False],
        **arguments: Any,
    ) -> tuple[Any, list[bool] | None]: ...
    def __call__(
        self,
        prompt: str | Sequence[str] | None = None,
        *,
        seed: int | Sequence[int] | None = None,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
        callback_on_step_end: Callable[..., Mapping[str, Any] | None] | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = _DEFAULT_CALLBACK_INPUTS,
        observers: Sequence[Observer] = (),
        cancelled: Callable[[], bool] | None = None,
        **arguments: Any,
    ) -> GenerationResult | tuple[Any, list[bool] | None]:
        """Makes pictures.

        Takes the keyword arguments of the Diffusers pipeline of the task, and those below.

        Args:
            prompt: What the pictures are to show.
            seed: A number for the batch, or one for each picture, in place of ``generator``.
            generator: PyTorch generators, as Diffusers takes them.
            output_type: ``pil``, ``np``, ``pt`` or ``latent``.
            return_dict: False gives ``(images, flags of the safety checker)``, as Diffusers does.
            callback_on_step_end: Called after each step; see ``pipelines.callbacks``.
            callback_on_step_end_tensor_inputs: The values that it gets.
            observers: Further listeners to calls and steps.
            cancelled: Asked between steps; true ends the run with ``Cancelled``.
            **arguments: The task's arguments, or inputs of the graph as ``node.op.port``.

        Raises:
            UnknownInputError: An argument that no node takes, with the nearest name.
            MissingInputError: A required argument is missing.
            InputError: A value that cannot be right.
        """
        call = {"prompt": prompt, "generator": make_generators(seed, generator), **arguments}
        task, inputs, wanted = self._prepare(call, output_type)
        plan = self._runtime.plan(inputs, wanted)
        warn_of_unread(call, task, plan)
        listeners: list[Observer] = [*observers]
        if callback_on_step_end is not None:
            names = tuple(callback_on_step_end_tensor_inputs)
            callback = StepCallback(callback_on_step_end, self, names)
            callback.check(plan)
            listeners.insert(0, callback)
        load_for(plan)
        with ProgressBar(**self._bar) as bar:
            outputs = self._runtime.execute(
                plan,
                inputs,
                observers=[*listeners, bar],
                changes_values=bool(listeners),  # each of them may end a loop
                cancelled=cancelled,
            )
        latents = outputs.get("latents")
        images = latents if output_type == "latent" else outputs.get("images")
        if not return_dict:
            return images, outputs.get("nsfw_content_detected")
        metadata = describe_call(self.graph, task, call, seed=seed, library=self._library)
        return GenerationResult(images=images, latents=latents, metadata=metadata, outputs=outputs)

    def plan(
        self,
        prompt: str | Sequence[str] | None = None,
        *,
        output_type: str = "pil",
        **arguments: Any,
    ) -> Plan:
        """Gives the plan of a call without running it; print it to see what would run.

        Args:
            prompt: As in a call; only whether it is given matters.
            output_type: As in a call.
            **arguments: As in a call.
        """
        seed = arguments.pop("seed", None)
        generator = make_generators(seed, arguments.pop("generator", None))
        call = {"prompt": prompt, "generator": generator, **arguments}
        _, inputs, wanted = self._prepare(call, output_type)
        return self._runtime.plan(inputs, wanted)

    def to(
        self,
        device: torch.device | str | torch.dtype | None = None,
        dtype: torch.dtype | None = None,
    ) -> Self:
        """Moves the models; those still to be loaded follow.

        Args:
            device: Such as ``cuda``; a dtype is taken for the second argument, as Diffusers does.
            dtype: Such as ``torch.bfloat16``.
        """
        if isinstance(device, torch.dtype):
            device, dtype = None, device
        where = torch.device(device) if device is not None else None
        self._placement = (where or self._placement[0], dtype or self._placement[1])
        self._fill()
        for _, block in blocks_of(self.graph):
            block.place(*self._placement)
        return self

    def save_pretrained(self, folder: str | os.PathLike[str]) -> Path:
        """Saves graph and components; Diffusers loads the components, and often the whole.

        Args:
            folder: Made if it does not exist.

        Returns:
            The folder.
        """
        self._fill()
        return save_pipeline(self.graph, self._library, Path(folder))

    @property
    def components(self) -> dict[str, Any]:
        """The models, tokenizers and schedulers by name, loaded if they were not."""
        self._fill()
        return {
            name: getattr(block, name)
            for _, block in blocks_of(self.graph)
            for name in block.slots()
            if name in block.sources
        }

    def modules(self) -> dict[str, nn.Module]:
        """The components that have weights, by name."""
        return {k: v for k, v in self.components.items() if isinstance(v, nn.Module)}

    def cache_info(self) -> CacheInfo | None:
        """Gives the state of the cache of values, if there is one."""
        return None if self._runtime.cache is None else self._runtime.cache.info()

    def set_progress_bar_config(self, **options: Any) -> None:
        """Sets options of the progress bar, such as ``disable=True``, as Diffusers does."""
        self._bar = options

    def __repr__(self) -> str:
        """Shows template, task and model."""
        where = self._library.describe() if self._library is not None else "no model"
        return f"InferencePipeline({self.graph.name!r}, task={self.task!r}, from {where})"

    # -- inside ----------------------------------------------------------------------------------

    def _fill(self) -> None:
        """Gives nodes that were added or replaced their components and their place."""
        if self._filled_version == self.graph.version:
            return
        fill(self.graph, self._library)
        if self._placement != (None, None):
            for _, block in blocks_of(self.graph):
                block.place(*self._placement)
        self._filled_version = self.graph.version

    def _prepare(
        self, call: Mapping[str, Any], output_type: str
    ) -> tuple[Task | None, dict[str, Any], list[str]]:
        """Gives the task of a call, the graph's inputs, and the outputs wanted."""
        self._fill()
        task = choose_task(self.graph.tasks, self.task, call)
        inputs = dict(call) if task is None else self._bind(task, call)
        wiring = self._runtime.wiring()
        decoded = {"images", "nsfw_content_detected"} if output_type == "latent" else set()
        wanted = [
            name
            for name in self.graph.outputs
            if name not in decoded and not declined(wiring, wiring.outputs[name].vertex)
        ]
        if "images" in wanted:
            inputs.update(self._known({"output_type": output_type}))
        if isinstance(call["generator"], list):
            inputs.update(self._known({"one_by_one": True}))
        return task, inputs, wanted

    def _bind(self, task: Task, call: Mapping[str, Any]) -> dict[str, Any]:
        others = read_tasks(self.graph.tasks).values()
        # What the graph's owner set goes before what the task would take for granted.
        owned = {port for node in self.graph.nodes.values() for port in node.inputs}
        known = set(self._runtime.wiring().names) - owned - self.graph.defaults.keys()
        return task.bind(call, others=others, known=known)

    def _known(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Keeps the inputs that the graph has."""
        names = self._runtime.wiring().names
        return {name: value for name, value in inputs.items() if name in names}
