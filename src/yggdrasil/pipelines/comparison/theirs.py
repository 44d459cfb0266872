"""The side of Diffusers. Nothing of YggDrasil's engine is imported here."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import diffusers
import torch
from torch import nn

from yggdrasil.pipelines.comparison.job import Job
from yggdrasil.pipelines.comparison.outputs import LATENTS, Outputs, arrays

__all__ = ["call", "models", "open_theirs", "outcome"]

_CALLBACK = "callback_on_step_end"


def open_theirs(job: Job) -> Any:
    """Loads the Diffusers pipeline of a job."""
    request = job.request
    cls = getattr(diffusers, job.pipeline)
    with warnings.catch_warnings():
        # Its new name, dtype, would be passed over by the older versions that are allowed.
        warnings.filterwarnings("ignore", "`torch_dtype` is deprecated", FutureWarning)
        pipe = cls.from_pretrained(
            job.folder,
            torch_dtype=request.torch_dtype,
            use_safetensors=True,
            **dict.fromkeys(job.lacking),
            **job.settings,
        )
    if job.scheduler is not None:
        name, config = job.scheduler
        pipe.scheduler = getattr(diffusers, name).from_config(dict(config))
    pipe.set_progress_bar_config(disable=True)
    return pipe.to(request.device)


def models(pipe: Any) -> dict[str, nn.Module]:
    """Gives the models of a Diffusers pipeline by name."""
    parts = pipe.components.items()
    return {name: part for name, part in parts if isinstance(part, nn.Module)}


def call(pipe: Any, job: Job, further: int = 0) -> None:
    """Makes the result of a job and throws it away.

    Args:
        pipe: As ``open_theirs`` gives it.
        job: What to make.
        further: Added to the seed.
    """
    pipe(**job.arguments(further))


def outcome(pipe: Any, job: Job) -> Outputs:
    """Makes the result of a job.

    Args:
        pipe: As ``open_theirs`` gives it.
        job: What to make.

    Returns:
        What the call gives back by name, pictures ``b h w c`` in [0, 1]; and ``latents`` after the
        last step, where the pipeline shows them.
    """
    seen: dict[str, torch.Tensor] = {}

    def remember(_: Any, __: int, ___: Any, values: dict[str, Any]) -> dict[str, Any]:
        seen[LATENTS] = values[LATENTS]
        return {}

    arguments = job.arguments()
    if _CALLBACK in inspect.signature(type(pipe).__call__).parameters:
        arguments[_CALLBACK] = remember
    result = pipe(**arguments)
    return arrays({**seen, **result})
