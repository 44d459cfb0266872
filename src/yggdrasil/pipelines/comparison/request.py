"""What is to be compared, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from yggdrasil.core.errors import InputError

__all__ = ["Request"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A model and one call of it; text and numbers alone, so that other processes can be told.

    What is None is what the model's pipeline has for itself, and what it does not take is left out.

    Attributes:
        model: Zoo name, folder or hub id.
        prompt: What to show.
        negative: What not to show.
        steps: Denoising steps; 20 if None, or as many as the pipeline takes by itself if those are
            fewer.
        guidance_scale: As in a call.
        seed: Of the noise.
        image: Path of a picture to start from.
        mask: Path of a picture that is white where to paint anew.
        strength: How much to change the picture.
        width: In pixels.
        height: In pixels.
        further: Other arguments of the call, as ``name=value``: JSON or a text, and ``@file`` for a
            picture or a tensor.
        task: A task of the model's graph; told by the model and the arguments if None.
        solver: In place of the model's own, such as ``solver/euler``.
        dtype: Of the weights, by PyTorch's name.
        device: Where to run.
    """

    model: str
    prompt: str | None = None
    negative: str = ""
    steps: int | None = None
    guidance_scale: float | None = None
    seed: int = 0
    image: str | None = None
    mask: str | None = None
    strength: float | None = None
    width: int | None = None
    height: int | None = None
    further: tuple[str, ...] = ()
    task: str | None = None
    solver: str | None = None
    dtype: str = "float32"
    device: str = "cpu"

    def __post_init__(self) -> None:
        """Refuses a dtype or a device that PyTorch does not know.

        Raises:
            InputError: There is one.
        """
        if not isinstance(getattr(torch, self.dtype, None), torch.dtype):
            raise InputError(
                f"dtype is {self.dtype!r}: give one by PyTorch's name, such as float32 or bfloat16."
            )
        try:
            torch.device(self.device)
        except RuntimeError as error:
            raise InputError(
                f"device is {self.device!r}: give one by PyTorch's name, such as cpu or cuda:0."
            ) from error

    @property
    def torch_dtype(self) -> torch.dtype:
        """The dtype itself."""
        dtype: torch.dtype = getattr(torch, self.dtype)
        return dtype

    def said(self) -> dict[str, Any]:
        """Gives the arguments that were asked for, by Diffusers' names; see ``arguments.made``."""
        call = {
            "prompt": self.prompt,
            "negative_prompt": self.negative or None,
            "num_inference_steps": self.steps,
            "guidance_scale": self.guidance_scale,
            "image": self.image and {"file": self.image},
            "mask_image": self.mask and {"file": self.mask},
            "strength": self.strength,
            "width": self.width,
            "height": self.height,
        }
        return {name: value for name, value in call.items() if value is not None}
