"""The pipeline that generates."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self, overload

import torch
from torch import nn

from yggdrasil.core.cache import ValueCache
from yggdrasil.core.dtypes import DTYPES, dtype_of
from yggdrasil.core.executor import Observer
from yggdrasil.core.facts import declined
from yggdrasil.core.graph import ComputeGraph
from yggdrasil.core.plan import Plan
from yggdrasil.core.runtime import Runtime
from yggdrasil.core.tasks import Task, choose_task
from yggdrasil.hub.library import Library
from yggdrasil.pipelines.callbacks import StepCallback
from yggdrasil.pipelines.calls import bind_call
from yggdrasil.pipelines.components import blocks_of, fill, load_for
from yggdrasil.pipelines.live.ending import Ending
from yggdrasil.pipelines.live.preparing import as_previews, prepared
from yggdrasil.pipelines.live.preview import Preview, PreviewFrame
from yggdrasil.pipelines.loras import PipelineLoras
from yggdrasil.pipelines.makers import PipelineMakers
from yggdrasil.pipelines.metadata import describe_call
from yggdrasil.pipelines.notices import refuse_twice, warn_of_unread
from yggdrasil.pipelines.opaque import check_company, keep_none, whole_block
from yggdrasil.pipelines.parts import PipelineParts
from yggdrasil.pipelines.placement.devices import checked_device
from yggdrasil.pipelines.placement.inputs import brought
from yggdrasil.pipelines.placement.memory import PipelineMemory
from yggdrasil.pipelines.placement.placing import Place, place_blocks
from yggdrasil.pipelines.placement.treatments import Treatments
from yggdrasil.pipelines.profiling.profile import measured
from yggdrasil.pipelines.progress import ProgressBar
from yggdrasil.pipelines.result import GenerationResult
from yggdrasil.pipelines.saving import save_pipeline
from yggdrasil.pipelines.seeds import make_generators
from yggdrasil.pipelines.views import PipelineViews
from yggdrasil.pipelines.workflows.origin import Declaration, Origin

__all__ = ["InferencePipeline"]

_DEFAULT_CALLBACK_INPUTS = ("latents",)
_SHOWN = ("images", "frames", "video", "audios", "audio")
"""Outputs that come in the form that ``output_type`` says; the first that a graph has."""


class InferencePipeline(
    PipelineParts, PipelineMakers, PipelineViews, PipelineLoras, PipelineMemory
):
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
        self._placement: Place = (None, None)
        self._treatments = Treatments()
        self._bar: dict[str, Any] = {}
        self._declaration: Declaration | None = None
        self._profile = None
        self._fill()

    # -- ways to make one ------------------------------------------------------------------------

    @classmethod
    def from_graph(cls, graph: ComputeGraph, **options: Any) -> Self:
        """Makes a pipeline of a graph; options as for the constructor."""
        return cls(graph, **options)

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
    ) -> tuple[Any, ...]: ...
    def __call__(
        self,
        prompt: str | Sequence[str] | None = None,
        *,
        seed: int | Sequence[int] | None = None,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        output_type: str | None = None,
        return_dict: bool = True,
        callback_on_step_end: Callable[..., Mapping[str, Any] | None] | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = _DEFAULT_CALLBACK_INPUTS,
        observers: Sequence[Observer] = (),
        preview: Preview | Callable[[PreviewFrame], object] | None = None,
        cancelled: Callable[[], bool] | None = None,
        **arguments: Any,
    ) -> GenerationResult | tuple[Any, ...]:
        """Makes pictures.

        Takes the keyword arguments of the Diffusers pipeline of the task, and those below.

        Args:
            prompt: What the pictures are to show.
            seed: A number for the batch, or one for each picture, in place of ``generator``.
            generator: PyTorch generators, as Diffusers takes them.
            output_type: ``pil``, ``np``, ``pt`` or ``latent``; ``pil`` unless given, and of a
                Diffusers pipeline that runs as one block what that has.
            return_dict: False gives ``(images, flags of the safety checker)``, as Diffusers does;
                of a Diffusers pipeline that runs as one block all that it gives back.
            callback_on_step_end: Called after each step; see ``pipelines.callbacks``.
            callback_on_step_end_tensor_inputs: The values that it gets.
            observers: Further listeners to calls and steps, such as a ``StopOnInterrupt``.
            preview: A function that is shown what the run has so far every few steps, or a
                ``Preview``.
            cancelled: Asked between steps; true ends the run with ``Cancelled``.
            **arguments: The task's arguments, or inputs of the graph as ``node.op.port``.

        Raises:
            UnknownInputError: An argument that no node takes, with the nearest name.
            MissingInputError: A required argument is missing.
            InputError: A value that cannot be right.
            KeyboardInterrupt: Ctrl-C, wherever the run is; see ``StopOnInterrupt``.
        """
        previews = as_previews(preview)
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
        given = {"prompt": prompt, "seed": seed, "generator": generator, **arguments}
        plan = prepared(plan, self.graph, [*listeners, *previews])
        ending = Ending()
        with measured(self._profile, plan), ProgressBar(**self._bar) as bar:
            load_for(plan)
            self._treat()
            inputs = brought(plan, inputs)
            origin = self._take(given, listeners)
            outputs = self._runtime.execute(
                plan,
                inputs,
                observers=self._heard([*listeners, *previews], ending, bar),
                changes_values=bool(listeners),  # each of them may end a loop
                cancelled=cancelled,
                tracer=self._profile,
            )
        latents = outputs.get("latents")
        # A family may call latents what its codec is given, and not what its loop ends with.
        undecoded = outputs.get("undecoded", latents)
        images = outputs.get("images", undecoded if output_type == "latent" else None)
        if not return_dict:
            if whole_block(self.graph) is not None:
                return tuple(outputs.values())
            return images, outputs.get("nsfw_content_detected")
        metadata = describe_call(
            self.graph, task, call, seed=seed, library=self._library,
            stopped_after=ending.stopped_after,
        )  # fmt: skip
        origin.note_end(ending.stopped_after)
        return GenerationResult(
            images=images, latents=latents, metadata=metadata, outputs=outputs, origin=origin
        )

    def _heard(self, listeners: list[Observer], ending: Ending, bar: ProgressBar) -> list[Observer]:
        """Gives who is told of the steps: nobody, where nobody would do anything with it."""
        heard = [*listeners, ending] if listeners else []
        return heard if self._bar.get("disable") is True else [*heard, bar]

    def plan(
        self,
        prompt: str | Sequence[str] | None = None,
        *,
        output_type: str | None = None,
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
        dtype: torch.dtype | str | None = None,
    ) -> Self:
        """Moves the models; those still to be loaded follow.

        A node's own dtype, as ``graph.set_dtype`` gives it, stays.

        Args:
            device: Such as ``cuda``; a dtype is taken for the second argument, as Diffusers does.
            dtype: Such as ``torch.bfloat16``, or its name.

        Raises:
            ConfigError: This machine has no such device, it is no dtype of weights, or hooks move
                the models.
        """
        if isinstance(device, torch.dtype) or device in DTYPES:
            device, dtype = None, device
        dtype = None if dtype is None else dtype_of(dtype, "dtype")
        where = checked_device(device) if device is not None else None
        self._refuse_hooked(where, dtype)
        self._placement = (where or self._placement[0], dtype or self._placement[1])
        self._fill()
        place_blocks(self.graph, self._placement, anew=True)
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
        held = {
            slot.folder: getattr(block, name)
            for _, block in blocks_of(self.graph)
            for name, slot in block.slots().items()
            if name in block.sources
        }
        self._treat()
        return held

    def modules(self) -> dict[str, nn.Module]:
        """The components that have weights, by name."""
        return {k: v for k, v in self.components.items() if isinstance(v, nn.Module)}

    def set_progress_bar_config(self, **options: Any) -> None:
        """Sets options of the progress bar, such as ``disable=True``, as Diffusers does."""
        self._bar = options

    # -- inside ----------------------------------------------------------------------------------

    def _fill(self) -> None:
        """Gives nodes that were added or replaced their components and their place."""
        if self._filled_version == self.graph.version:
            return
        check_company(self.graph)
        fill(self.graph, self._library)
        place_blocks(self.graph, self._placement, anew=False)
        self._filled_version = self.graph.version

    def _prepare(
        self, call: Mapping[str, Any], output_type: str | None
    ) -> tuple[Task | None, dict[str, Any], list[str]]:
        """Gives the task of a call, the graph's inputs, and the outputs wanted."""
        self._fill()
        wiring = self._runtime.wiring()
        call = keep_none(self.graph, call)
        if whole_block(self.graph) is None:  # which looks itself
            refuse_twice(call)
        task, inputs = bind_call(self.graph, wiring, self.task, call)
        # Where a graph gives latents too, pictures are what is decoded of them.
        unasked = {"undecoded"}
        if output_type == "latent" and "latents" in self.graph.outputs:
            unasked = {"images", "nsfw_content_detected"}
        wanted = [
            name
            for name in self.graph.outputs
            if name not in unasked and not declined(wiring, wiring.outputs[name].vertex)
        ]
        shown = next((name for name in _SHOWN if name in wanted), None)
        if shown is not None:
            # Of stages the one that gives the result; what goes from stage to stage is PIL.
            vertex = wiring.outputs[shown].vertex
            stage, dot, _ = vertex.node.rpartition(".")
            form = output_type or (None if wiring.spec(vertex).opaque else "pil")
            if form is not None:
                inputs.update(self._known({f"{stage}{dot}output_type": form}))
        if isinstance(call["generator"], list):
            inputs.update(self._known({"one_by_one": True}))
        return task, inputs, wanted

    def _take(self, given: Mapping[str, Any], listeners: Sequence[Observer]) -> Origin:
        """Takes down what a call is about to be made with."""
        self._declaration = Declaration.of(self.graph, self._library, self._declaration)
        watched = tuple(
            type(each).__name__ for each in listeners if not getattr(each, "harmless", False)
        )
        return Origin.take(
            self._declaration, given, task=self.task, placement=self._placement,
            memory=self._treatments.said(), watched=watched,
        )  # fmt: skip

    def _known(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Keeps the inputs that the graph has."""
        names = self._runtime.wiring().names
        return {name: value for name, value in inputs.items() if name in names}
