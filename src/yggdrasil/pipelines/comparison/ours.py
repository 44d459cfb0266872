"""The side of YggDrasil."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Mapping
from typing import Any

from torch import nn

from yggdrasil.blocks.pictures import default_size
from yggdrasil.core.errors import InputError, ModelError
from yggdrasil.core.graph import ComputeGraph
from yggdrasil.core.tasks import Task, choose_task, read_tasks
from yggdrasil.hub.checkpoint import is_checkpoint
from yggdrasil.hub.library import FolderLibrary
from yggdrasil.hub.locate import locate
from yggdrasil.pipelines.comparison import arguments
from yggdrasil.pipelines.comparison.job import Job
from yggdrasil.pipelines.comparison.outputs import LATENTS, Outputs, arrays
from yggdrasil.pipelines.comparison.request import Request
from yggdrasil.pipelines.components import blocks_of
from yggdrasil.pipelines.inference import InferencePipeline
from yggdrasil.pipelines.opaque import whole_block
from yggdrasil.pipelines.sharing import brought_by

__all__ = ["call", "find_out", "open_ours", "outcome"]

# Between calls nothing is kept: Diffusers keeps nothing either.
_KEPT = 0

_USUAL = (512, 512)
"""Height and width of what is drawn for a model that says nothing of its size."""
_FORM = "np"
_MADE_OF = ("image", "mask_image", "control_image")
_SETTINGS = {"add_watermarker": False}
"""What Diffusers does to pictures of its own accord, where a package is installed, and no graph."""


def find_out(request: Request) -> Job:
    """Looks a request's model up and checks the call, before any weights are loaded.

    Of a model on the hub, the files that the graph needs are fetched; both sides then read them.

    Raises:
        ModelError: The model is not there or damaged, or Diffusers has no pipeline for the task.
        YggdrasilError: As a call of ``InferencePipeline``, for values that cannot be right.
    """
    library = None if is_checkpoint(request.model) else locate(request.model)
    if not isinstance(library, FolderLibrary):
        raise ModelError(
            f"{request.model} is one file, and both sides are to read the same folder: save it as "
            f"one with InferencePipeline.from_single_file({request.model!r})"
            ".save_pretrained('folder'), and compare that."
        )
    pipe = InferencePipeline.from_pretrained(
        library.describe(), task=request.task, solver=request.solver
    )
    said = arguments.said(request)
    task = _task(pipe, said, library.pipeline_class())
    if task is None or task.diffusers is None:
        raise ModelError(
            f"{request.model} has a graph whose calls stand for no pipeline of Diffusers, so there "
            "is nothing to compare it with."
        )
    cls = _diffusers_class(task.diffusers)
    takes = inspect.signature(cls.__call__).parameters
    form = takes["output_type"].default if "output_type" in takes else None
    names = sorted(library.names())
    job = Job(
        request=request,
        folder=str(library.root),
        lacking=tuple(name for name in names if not (library.root / name).is_dir()),
        task=task.name,
        pipeline=task.diffusers,
        call=arguments.needed(said, task, _pictures(pipe.graph, task), _usual_size(pipe.graph)),
        seeded="generator" in takes,
        # Of what is no picture the form is the pipeline's own.
        output_type=_FORM if form == "pil" else None,
        settings={k: v for k, v in _SETTINGS.items() if k in inspect.signature(cls).parameters},
        scheduler=None if request.solver is None else _scheduler(pipe, request.solver),
    )
    pipe.task = task.name
    pipe.plan(**job.arguments())
    return job


def open_ours(job: Job, components: Mapping[str, nn.Module] | None = None) -> InferencePipeline:
    """Makes the pipeline of a job; weights that are not given are loaded by the first call.

    Args:
        job: What is to be made.
        components: Models in the place of the folder's, by name.
    """
    request = job.request
    given: dict[str, Any] = dict(components or {})
    pipe = InferencePipeline.from_pretrained(
        job.folder,
        task=job.task,
        solver=request.solver,
        torch_dtype=request.torch_dtype,
        cache_limit=_KEPT,
        **given,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe.to(request.device)


def call(pipe: InferencePipeline, job: Job, further: int = 0) -> None:
    """Makes the result of a job and throws it away.

    Args:
        pipe: As ``open_ours`` gives it.
        job: What to make.
        further: Added to the seed.
    """
    pipe(**job.arguments(further))


def outcome(pipe: InferencePipeline, job: Job) -> Outputs:
    """Makes the result of a job.

    Args:
        pipe: As ``open_ours`` gives it.
        job: What to make.

    Returns:
        The graph's outputs by Diffusers' names for them; ``latents`` after the last step, where the
        graph gives them, and ``pictures`` ``b h w c`` in [0, 1].
    """
    result = pipe(**job.arguments())
    return arrays({LATENTS: result.latents, **result.outputs})


def _task(pipe: InferencePipeline, said: Mapping[str, Any], pipeline: str) -> Task | None:
    """Gives the task of a call: by name, the model's own where it takes all, or by arguments."""
    tasks = read_tasks(pipe.graph.tasks)
    if pipe.task is not None:
        return tasks[pipe.task]
    own = next((task for task in tasks.values() if task.diffusers == pipeline), None)
    if own is not None and said.keys() <= {*own.takes, "height", "width"}:
        return own
    return choose_task(pipe.graph.tasks, None, said)


def _pictures(graph: ComputeGraph, task: Task) -> dict[str, int]:
    """Gives the arguments that are pictures, and without which a task cannot be run: how many."""
    if whole_block(graph) is not None:
        # A pipeline that Diffusers calls without one it needs says so only when it is run.
        return {name: 1 for name in task.takes if name in _MADE_OF}
    read = Counter(name for _, block in blocks_of(graph) for name in brought_by(type(block)))
    return {name: read.get(task.arguments.get(name, name), 1) for name in task.requires}


def _usual_size(graph: ComputeGraph) -> tuple[int, int]:
    """Gives height and width in pixels at which a model makes pictures."""
    specs: dict[str, Any] = {}
    for name, node in graph.nodes.items():
        block: Any = node.block
        if block is not None and graph.role(name) in ("backbone", "codec"):
            specs[graph.role(name)] = block.spec()
    try:
        return default_size(specs["codec"], specs["backbone"])
    except (KeyError, InputError):
        return _USUAL


def _diffusers_class(name: str) -> Any:
    import diffusers  # noqa: PLC0415 - imports much, and the process of one side needs it not

    cls = getattr(diffusers, name, None)
    if cls is None:
        raise ModelError(f"The Diffusers that is installed has no {name} to compare with.")
    return cls


def _scheduler(pipe: InferencePipeline, solver: str) -> tuple[str, dict[str, Any]]:
    """Gives the scheduler of Diffusers that a solver stands for, on the model's configuration."""
    for _, block in blocks_of(pipe.graph):
        make = getattr(block, "make_scheduler", None)
        if make is not None:
            made = make()
            public = {k: v for k, v in made.config.items() if not k.startswith("_")}
            return type(made).__name__, public
    raise ModelError(f"{solver} stands for no scheduler of Diffusers to compare it with.")
