"""The arguments of the call that is compared: those asked for, and what the model needs besides."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, UnidentifiedImageError
from safetensors.torch import load_file

from yggdrasil.core.errors import InputError
from yggdrasil.core.tasks import Task
from yggdrasil.pipelines.comparison.request import Request
from yggdrasil.pipelines.typed import plain_value, split_input

__all__ = ["PROMPT", "made", "needed", "said"]

PROMPT = "a large red circle on a blue background"
"""The prompt of a model that takes one and was given none."""

_STEPS = 20
_MASKS = "mask"


def said(request: Request) -> dict[str, Any]:
    """Gives the arguments that were asked for as plain data, by Diffusers' names.

    Args:
        request: The model and the call.

    Raises:
        InputError: One is no ``name=value``, or is given twice.
    """
    call = request.said()
    for text in request.further:
        name, value = split_input(text)
        if name in call:
            raise InputError(f"{name!r} is given twice: give it once.")
        file = value.startswith("@")
        call[name] = {"file": value.removeprefix("@")} if file else plain_value(value)
    return call


def needed(
    call: Mapping[str, Any], task: Task, pictures: Mapping[str, int], usual: tuple[int, int]
) -> dict[str, Any]:
    """Adds what a task needs and a call has not: a prompt, few steps, pictures that are drawn.

    Args:
        call: What was asked for.
        task: What it is for.
        pictures: How many there must be of each argument without which it cannot be run.
        usual: Height and width in pixels at which the model makes pictures.

    Returns:
        The arguments, as plain data.
    """
    whole = dict(call)
    if "prompt" in task.takes and "prompt_embeds" not in call:
        whole.setdefault("prompt", PROMPT)
    if "num_inference_steps" in task.takes and not {"timesteps", "sigmas"} & call.keys():
        usual_steps = task.defaults.get("num_inference_steps") or _STEPS
        whole.setdefault("num_inference_steps", min(_STEPS, usual_steps))
    drawn = {name: count for name, count in pictures.items() if name not in call}
    size = [call.get("height") or usual[0], call.get("width") or usual[1]]
    for name, count in drawn.items():
        kind = _MASKS if _MASKS in name else "picture"
        whole[name] = {"drawn": kind, "size": size, "count": count}
    if drawn:  # which then say the size, where nothing else can
        for name in ("height", "width"):
            if name not in task.takes:
                whole.pop(name, None)
    return whole


def made(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Makes arguments of their plain form: files are read, and pictures drawn.

    Args:
        plain: By name: a number or text, ``{file: path}``, or ``{drawn: picture, size: [h, w],
            count: 1}``, of which several are a list.

    Raises:
        InputError: A file cannot be read.
    """
    return {name: _value(value) for name, value in plain.items()}


def _value(plain: Any) -> Any:
    if not isinstance(plain, Mapping):
        return plain
    if "file" in plain:
        return _read(Path(plain["file"]))
    if "drawn" in plain:
        draw = _drawn_mask if plain["drawn"] == _MASKS else _drawn_picture
        several = [draw(*plain["size"]) for _ in range(plain["count"])]
        return several if len(several) > 1 else several[0]
    return dict(plain)


def _read(path: Path) -> Any:
    try:
        if path.suffix == ".safetensors":
            (tensor,) = load_file(path).values()
            return torch.Tensor(tensor)
        with Image.open(path) as picture:
            return picture.convert("RGB")
    except (OSError, UnidentifiedImageError, ValueError) as error:
        kind = "one tensor" if path.suffix == ".safetensors" else "a picture"
        raise InputError(f"{path} cannot be read as {kind}: {error}") from error


def _drawn_picture(height: int, width: int) -> Image.Image:
    """Draws colours that run into each other, and a disc with an edge."""
    rows, columns = np.mgrid[0:height, 0:width]
    red, green = 255 * columns / max(width - 1, 1), 255 * rows / max(height - 1, 1)
    colours = np.stack([red, green, 255 - (red + green) / 2], axis=-1)
    picture = Image.fromarray(colours.astype(np.uint8))
    box = (width // 4, height // 4, 3 * width // 4, 3 * height // 4)
    ImageDraw.Draw(picture).ellipse(box, fill=(240, 200, 40), outline=(20, 20, 20))
    return picture


def _drawn_mask(height: int, width: int) -> Image.Image:
    """Draws a white square in the middle of black."""
    mask = Image.new("L", (width, height), 0)
    box = (width // 4, height // 4, 3 * width // 4, 3 * height // 4)
    ImageDraw.Draw(mask).rectangle(box, fill=255)
    return mask
