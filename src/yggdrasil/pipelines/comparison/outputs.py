"""What a call gives, as arrays by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

__all__ = ["LATENTS", "PICTURES", "Outputs", "arrays", "first_picture"]

Outputs = dict[str, NDArray[np.floating]]

LATENTS, PICTURES = "latents", "pictures"
_NAMES = {"images": PICTURES}
_SEEN = (PICTURES, "frames", "videos", "video", "prediction")
"""Outputs that people look at; the first of them that there is."""


def arrays(fields: Mapping[str, Any]) -> Outputs:
    """Gives what a call gave as arrays; flags, texts and what is None are left out.

    Args:
        fields: By the name of the output: tensors, arrays, PIL pictures, or lists of such.
    """
    found = {_NAMES.get(name, name): _array(value) for name, value in fields.items()}
    return {name: value for name, value in found.items() if value is not None}


def first_picture(outputs: Outputs) -> NDArray[np.floating] | None:
    """Gives the first picture ``h w 3`` in [0, 1], of a film the first frame; None without one.

    Args:
        outputs: As ``arrays`` gives them.
    """
    for name in _SEEN:
        value = outputs.get(name)
        while value is not None and value.ndim > 3:
            value = value[0]
        if value is not None and value.ndim == 3 and value.shape[-1] in (1, 3):
            return np.clip(np.broadcast_to(value, (*value.shape[:2], 3)), 0.0, 1.0)
    return None


def _array(value: Any) -> NDArray[np.floating] | None:
    if isinstance(value, torch.Tensor):
        value = value.detach().float().cpu().numpy()
    elif isinstance(value, Image.Image):
        return np.asarray(value.convert("RGB"), np.float32) / 255
    elif isinstance(value, list | tuple):
        parts = [_array(each) for each in value]
        there = [each for each in parts if each is not None]
        return np.stack(there) if there and len(there) == len(parts) else None
    is_numbers = isinstance(value, np.ndarray) and np.issubdtype(value.dtype, np.floating)
    return value if is_numbers else None
