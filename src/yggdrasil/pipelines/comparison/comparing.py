"""Running both sides and comparing what they give."""

from __future__ import annotations

import functools
import importlib.metadata
import platform
from collections.abc import Callable

import torch

import yggdrasil
from yggdrasil.core.errors import ExecutionError, InputError
from yggdrasil.hub.loading import settle
from yggdrasil.pipelines.comparison import ours, theirs
from yggdrasil.pipelines.comparison.figures import Difference, Likeness, psnr, ssim
from yggdrasil.pipelines.comparison.job import Job
from yggdrasil.pipelines.comparison.outputs import LATENTS, PICTURES, Outputs, first_picture
from yggdrasil.pipelines.comparison.peak import peak_of
from yggdrasil.pipelines.comparison.request import Request
from yggdrasil.pipelines.comparison.result import Comparison, Memory
from yggdrasil.pipelines.comparison.timing import time_in_turn

__all__ = ["compare"]


def compare(
    request: Request,
    *,
    separate: bool = False,
    pairs: int = 5,
    memory: bool = True,
    tolerance: float = 0.0,
    tell: Callable[[str], None] | None = None,
) -> Comparison:
    """Makes a call with YggDrasil and with Diffusers, and compares what they give and cost.

    Args:
        request: The model and the call.
        separate: Loads the model twice, each side by itself; else once by Diffusers, and
            YggDrasil runs on the same modules.
        pairs: How often both are timed, in turn.
        memory: Whether to measure memory, for which each side runs once more in a new process.
        tolerance: The largest difference that is let pass.
        tell: Is told what happens now.

    Raises:
        ModelError: The model is not there or damaged, or Diffusers has no pipeline for the task.
        InputError: A value cannot be right.
    """
    if pairs < 1:
        raise InputError(f"pairs is {pairs}: give at least 1.")
    if not tolerance >= 0.0:
        raise InputError(f"tolerance is {tolerance}: give 0, or how much may differ.")
    tell = tell or _say_nothing
    job = ours.find_out(request)
    tell("loading")
    their_pipe = theirs.open_theirs(job)
    modules = theirs.models(their_pipe)
    for module in modules.values():
        settle(module)  # where YggDrasil puts its own, else equal weights give other last bits
    our_pipe = ours.open_ours(job, None if separate else modules)
    with torch.random.fork_rng():  # which both sides seed, since some draws are from there
        # First, since it says best what is wrong with a call.
        tell("YggDrasil's result")
        our_outputs = ours.outcome(our_pipe, job)
        tell("Diffusers' result")
        their_outputs = theirs.outcome(their_pipe, job)
        likeness = _likeness(our_outputs, their_outputs)
        tell(f"timing {pairs} pairs")
        wall, processor = time_in_turn(
            functools.partial(ours.call, our_pipe, job),
            functools.partial(theirs.call, their_pipe, job),
            pairs,
            device=request.device,
        )
    return Comparison(
        job=job,
        shared=not separate,
        likeness=likeness,
        tolerance=tolerance,
        wall=wall,
        processor=processor,
        memory=_memory(job, tell) if memory else None,
        versions=_versions(request.device),
        ours=first_picture(our_outputs),
        theirs=first_picture(their_outputs),
    )


def _likeness(mine: Outputs, other: Outputs) -> Likeness:
    """Compares what both sides give under the same names.

    Raises:
        ExecutionError: YggDrasil does not give what Diffusers gives, or in another shape.
    """
    names = [name for name in other if name in mine]
    lacking = [name for name in other if name not in mine and name != LATENTS]
    if lacking or not names:
        raise ExecutionError(
            f"Diffusers gave {', '.join(other) or 'nothing that is numbers'} and YggDrasil "
            f"{', '.join(mine) or 'nothing'}, so {', '.join(lacking) or 'nothing'} cannot be "
            "compared."
        )
    for name in names:
        if mine[name].shape != other[name].shape:
            raise ExecutionError(
                f"YggDrasil gave {name} of the shape {list(mine[name].shape)} and Diffusers of "
                f"{list(other[name].shape)}, which cannot be compared."
            )
    pictures = PICTURES in names
    one, two = first_picture(mine), first_picture(other)
    return Likeness(
        parts={name: Difference.of(mine[name], other[name]) for name in names},
        psnr=psnr(mine[PICTURES], other[PICTURES]) if pictures else None,
        ssim=None if not pictures or one is None or two is None else ssim(one, two),
    )


def _memory(job: Job, tell: Callable[[str], None]) -> Memory:
    tell("YggDrasil's memory")
    mine = peak_of("ours", job)
    tell("Diffusers' memory")
    return Memory(ours=mine, theirs=peak_of("theirs", job))


def _versions(device: str) -> dict[str, str]:
    where = torch.device(device)
    named = torch.cuda.get_device_name(where) if where.type == "cuda" else platform.processor()
    return {
        "yggdrasil": yggdrasil.__version__,
        "diffusers": importlib.metadata.version("diffusers"),
        "transformers": importlib.metadata.version("transformers"),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "device": f"{device} {named}".strip(),
        "threads": str(torch.get_num_threads()),
    }


def _say_nothing(_: str) -> None:
    """Is told and does nothing."""
