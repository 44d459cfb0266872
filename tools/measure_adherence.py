"""Measures how often a model of the shapes world paints what it was asked for.

python tools/measure_adherence.py                  # the model in the box
python tools/measure_adherence.py runs/shapes/shapes --json adherence.json
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from yggdrasil import InferencePipeline
from yggdrasil.training.datasets.shapes.adherence import (
    GUIDANCE_SCALE,
    STEPS,
    Adherence,
    measure_adherence,
)

# What is asked: how many prompts, whether of combinations kept out, whether of two objects. There
# are about 270 scenes of combinations kept out, and at most half of them are asked for.
SETS: dict[str, tuple[int, bool, bool]] = {
    "one object, seen": (200, False, False),
    "one object, kept out": (120, True, False),
    "two objects, seen": (100, False, True),
}


def measure(
    model: str, *, steps: int = STEPS, guidance_scale: float = GUIDANCE_SCALE
) -> dict[str, Adherence]:
    """Paints and checks every set; the seed of a picture is its place in its batch.

    Args:
        model: Zoo name or folder.
        steps: Denoising steps.
        guidance_scale: How far guidance goes.
    """
    pipe = InferencePipeline.from_pretrained(model, cache_limit=0)
    pipe.set_progress_bar_config(disable=True)

    def paint(prompts: Sequence[str]) -> list[Any]:
        seeds = list(range(len(prompts)))
        result = pipe(prompts, seed=seeds, num_inference_steps=steps, guidance_scale=guidance_scale)
        return list(result.images)

    return {
        name: measure_adherence(paint, count, kept_out=kept_out, two_objects=two_objects)
        for name, (count, kept_out, two_objects) in SETS.items()
    }


def main() -> None:
    """Prints the figures and, if asked, writes them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", nargs="?", default="zoo/shapes")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--guidance-scale", type=float, default=GUIDANCE_SCALE)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    start = time.perf_counter()
    found = measure(options.model, steps=options.steps, guidance_scale=options.guidance_scale)
    for name, adherence in found.items():
        print(f"{name}: {adherence}")
    print(f"{time.perf_counter() - start:.0f} s")
    if options.json:
        figures = {name: asdict(adherence) for name, adherence in found.items()}
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
