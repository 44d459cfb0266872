"""Times YggDrasil and Diffusers on the same modules, in turn, in one process.

    python -m benchmarks

A tiny model, so that what is not the model shows: the time of a call with few and with many steps
gives what a step costs and what a call costs besides. CPU time of one thread, medians over pairs.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import diffusers
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from tests.tiny_models import tiny_pipeline
from yggdrasil import InferencePipeline

PAIRS = 30
FEW, MANY = 2, 42


def main() -> None:
    """Measures and prints a table."""
    torch.set_num_threads(1)
    theirs = tiny_pipeline("sd15")
    theirs.scheduler = diffusers.DDIMScheduler.from_config(theirs.scheduler.config)
    ours = InferencePipeline.from_diffusers(theirs, cache_limit=0)
    ours.set_progress_bar_config(disable=True)
    times: dict[tuple[str, int], list[float]] = {}
    for pair in track(range(-2, PAIRS), "pairs"):
        for steps in (FEW, MANY):
            for name, pipe in (("Diffusers", theirs), ("YggDrasil", ours)):
                seconds = timed(pipe, steps, pair)
                if pair >= 0:  # the first ones warm up
                    times.setdefault((name, steps), []).append(seconds)
    table = Table("", "step, ms", "call besides, ms", title="Stable Diffusion in miniature, DDIM")
    figures = {}
    for name in ("Diffusers", "YggDrasil"):
        few, many = (statistics.median(times[name, steps]) for steps in (FEW, MANY))
        step = (many - few) / (MANY - FEW)
        figures[name] = (step, few - FEW * step)
        table.add_row(name, f"{1e3 * step:.3f}", f"{1e3 * (few - FEW * step):.3f}")
    ratios = [
        y / d for y, d in zip(times["YggDrasil", MANY], times["Diffusers", MANY], strict=True)
    ]
    table.add_row("ratio of whole calls", f"{statistics.median(ratios):.3f}", "")
    Console().print(table)


def timed(pipe: Callable[..., object], steps: int, seed: int) -> float:
    """Gives the CPU seconds of one call."""
    generator = torch.Generator().manual_seed(abs(seed))
    start = time.process_time()
    pipe("a photo", num_inference_steps=steps, generator=generator, output_type="latent")
    return time.process_time() - start


if __name__ == "__main__":
    main()
