"""What is to be compared, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image, UnidentifiedImageError

from yggdrasil.core.errors import InputError

__all__ = ["Request"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A model and one call of it; text and numbers alone, so that other processes can be told.

    Attributes:
        model: Zoo name, folder or hub id.
        prompt: What to show.
        negative: What not to show.
        steps: Denoising steps.
        guidance_scale: As in a call; the pipelines' own if None.
        seed: Of the noise.
        image: Path of a picture to start from.
        mask: Path of a picture that is white where to paint anew.
        strength: How much to change the picture.
        width: In pixels.
        height: In pixels.
        solver: In place of the model's own, such as ``solver/euler``.
        dtype: Of the weights, by PyTorch's name.
        device: Where to run.
    """

    model: str
    prompt: str
    negative: str = ""
    steps: int = 20
    guidance_scale: float | None = None
    seed: int = 0
    image: str | None = None
    mask: str | None = None
    strength: float | None = None
    width: int | None = None
    height: int | None = None
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

    def arguments(self) -> dict[str, Any]:
        """Gives the arguments of the call but for its generator; those not given are left out.

        Raises:
            InputError: A picture cannot be read.
        """
        call = {
            "prompt": self.prompt,
            "negative_prompt": self.negative or None,
            "num_inference_steps": self.steps,
            "guidance_scale": self.guidance_scale,
            "image": _read(self.image),
            "mask_image": _read(self.mask),
            "strength": self.strength,
            "width": self.width,
            "height": self.height,
        }
        return {name: value for name, value in call.items() if value is not None}

    def generator(self, further: int = 0) -> torch.Generator:
        """Makes the call's generator.

        Args:
            further: Added to the seed, for repetitions.
        """
        return torch.Generator("cpu").manual_seed(self.seed + further)


def _read(path: str | None) -> Image.Image | None:
    if path is None:
        return None
    try:
        with Image.open(Path(path)) as picture:
            return picture.convert("RGB")
    except (OSError, UnidentifiedImageError) as error:
        raise InputError(f"{path} cannot be read as a picture: {error}") from error
