"""Pictures and masks for calls."""

from __future__ import annotations

import numpy as np
from PIL import Image


def picture(width=64, height=64, seed=7):
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def mask(width=64, height=64, box=(8, 16, 32, 56)):
    made = Image.new("L", (width, height), 0)
    made.paste(255, box)
    return made
