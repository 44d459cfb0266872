"""The side of Diffusers. Nothing of YggDrasil's engine is imported here."""

from __future__ import annotations

import warnings
from typing import Any

import diffusers
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from yggdrasil.pipelines.comparison.job import Job

__all__ = ["call", "models", "open_theirs", "outcome"]


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
    """Makes the picture of a job and throws it away.

    Args:
        pipe: As ``open_theirs`` gives it.
        job: What to make.
        further: Added to the seed.
    """
    generator = job.request.generator(further)
    pipe(**job.request.arguments(), generator=generator, output_type="np")


def outcome(pipe: Any, job: Job) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Makes the picture of a job.

    Args:
        pipe: As ``open_theirs`` gives it.
        job: What to make.

    Returns:
        Latents ``b c h w``, and pictures ``b h w c`` in [0, 1].
    """
    seen: list[torch.Tensor] = []

    def remember(_: Any, __: int, ___: Any, values: dict[str, Any]) -> dict[str, Any]:
        seen[:] = [values["latents"]]
        return {}

    pictures = pipe(
        **job.request.arguments(),
        generator=job.request.generator(),
        output_type="np",
        callback_on_step_end=remember,
    ).images
    return seen[0].float().cpu().numpy(), pictures
