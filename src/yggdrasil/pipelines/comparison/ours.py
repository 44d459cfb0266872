"""The side of YggDrasil."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from yggdrasil.core.errors import ModelError
from yggdrasil.core.tasks import choose_task
from yggdrasil.hub.checkpoint import is_checkpoint
from yggdrasil.hub.library import FolderLibrary
from yggdrasil.hub.locate import locate
from yggdrasil.pipelines.comparison.job import Job
from yggdrasil.pipelines.comparison.request import Request
from yggdrasil.pipelines.components import blocks_of
from yggdrasil.pipelines.inference import InferencePipeline

__all__ = ["call", "find_out", "open_ours", "outcome"]

# Between calls nothing is kept: Diffusers keeps nothing either.
_KEPT = 0


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
    pipe = InferencePipeline.from_pretrained(library.describe(), solver=request.solver)
    arguments = request.arguments()
    pipe.plan(**arguments, generator=request.generator())
    task = choose_task(pipe.graph.tasks, None, arguments)
    if task is None or task.diffusers is None:
        raise ModelError(
            f"{request.model} has a graph whose calls stand for no pipeline of Diffusers, so there "
            "is nothing to compare it with."
        )
    names = sorted(library.names())
    return Job(
        request=request,
        folder=str(library.root),
        lacking=tuple(name for name in names if not (library.root / name).is_dir()),
        task=task.name,
        pipeline=task.diffusers,
        scheduler=None if request.solver is None else _scheduler(pipe, request.solver),
    )


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
    """Makes the picture of a job and throws it away.

    Args:
        pipe: As ``open_ours`` gives it.
        job: What to make.
        further: Added to the seed.
    """
    generator = job.request.generator(further)
    pipe(**job.request.arguments(), generator=generator, output_type="np")


def outcome(pipe: InferencePipeline, job: Job) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Makes the picture of a job.

    Args:
        pipe: As ``open_ours`` gives it.
        job: What to make.

    Returns:
        Latents ``b c h w``, and pictures ``b h w c`` in [0, 1].

    Raises:
        ModelError: The graph gives no latents.
    """
    generator = job.request.generator()
    result = pipe(**job.request.arguments(), generator=generator, output_type="np")
    if result.latents is None:
        raise ModelError(f"The graph of {job.request.model} exposes no latents to be compared.")
    return result.latents.float().cpu().numpy(), result.images


def _scheduler(pipe: InferencePipeline, solver: str) -> tuple[str, dict[str, Any]]:
    """Gives the scheduler of Diffusers that a solver stands for, on the model's configuration."""
    for _, block in blocks_of(pipe.graph):
        make = getattr(block, "make_scheduler", None)
        if make is not None:
            made = make()
            public = {k: v for k, v in made.config.items() if not k.startswith("_")}
            return type(made).__name__, public
    raise ModelError(f"{solver} stands for no scheduler of Diffusers to compare it with.")
