"""Models of full size with random weights: the numbers, time and memory of both sides.

    python -m benchmarks.full_size --device cuda         # XL, 3 and FLUX.1 at 1024 x 1024
    python -m benchmarks.full_size sdxl --size 128 --steps 2 --pairs 3 --device cpu
    python -m benchmarks.full_size --page                # only the page, from the figures there

No weights are read: the registered configurations say how large the models are, and both sides run
the same ones in turn. Writes ``docs/full_size.json`` and, from it alone, ``docs/full_size.md``;
what was measured of other models, or on other devices, stays.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from rich.console import Console
from torch import Tensor

from benchmarks.random_models import parameters_of, random_pipeline
from yggdrasil import InferencePipeline
from yggdrasil.hub.config_library import ConfigLibrary
from yggdrasil.pipelines.comparison.timing import time_in_turn

__all__ = ["main", "measure_full_size", "page"]

SETS = ("sdxl", "sd3", "flux_dev")
_DOCS = Path(__file__).parents[1] / "docs"
_HEADS = (
    "model", "parameters", "on", "call", "largest difference", "of another seed", "Diffusers",
    "time", "memory",
)  # fmt: skip
Outputs = dict[str, Tensor]


def main(arguments: list[str] | None = None) -> None:
    """Measures, writes, and prints the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.full_size")
    parser.add_argument("sets", nargs="*", default=SETS, help="registered configurations")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", default="bfloat16", choices=("bfloat16", "float16", "float32"))
    parser.add_argument("--size", type=int, default=1024, help="height and width, in pixels")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--without", nargs="*", default=(), help="components to leave out")
    parser.add_argument("--page", action="store_true", help="measure nothing")
    parser.add_argument("--folder", type=Path, default=_DOCS, help="where to write")
    options = parser.parse_args(arguments)
    path: Path = options.folder / "full_size.json"
    rows = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    console = Console()
    for name in () if options.page else options.sets:
        with console.status(name) as status:
            row = _row(name, options, lambda what, name=name: status.update(f"{name}: {what}"))
        rows[f"{name}, {row['device']}, {row['dtype']}"] = row
        path.write_text(f"{json.dumps(rows, indent=1)}\n", encoding="utf-8")
    (options.folder / "full_size.md").write_text(page(rows), encoding="utf-8")
    console.print(page(rows), markup=False, highlight=False)


def _row(name: str, options: argparse.Namespace, tell: Callable[[str], None]) -> dict[str, Any]:
    tell("weights are drawn")
    device, dtype = torch.device(options.device), getattr(torch, options.dtype)
    pipe = random_pipeline(ConfigLibrary.open(name), device, dtype, tuple(options.without))
    found = measure_full_size(pipe, options.size, options.steps, options.pairs, tell)
    is_cuda = device.type == "cuda"
    conditions = {
        "pipeline": type(pipe).__name__,
        "parameters": parameters_of(pipe),
        "without": list(options.without),
        "device": torch.cuda.get_device_name(device) if is_cuda else platform.machine(),
        "threads": None if is_cuda else torch.get_num_threads(),
        "dtype": options.dtype,
        "size": options.size,
        "steps": options.steps,
        "pairs": options.pairs,
        "versions": {
            "diffusers": diffusers.__version__,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
    }
    del pipe
    gc.collect()  # the next models may need the room
    if is_cuda:
        torch.cuda.empty_cache()
    return conditions | found


def measure_full_size(
    pipe: Any, size: int, steps: int, pairs: int, tell: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Compares the numbers of a call, its time, and its peak of memory on a GPU.

    YggDrasil keeps no values between calls here, as Diffusers does.

    Args:
        pipe: Of Diffusers. Its modules are shared.
        size: Height and width of the picture, in pixels.
        steps: How many.
        pairs: How often each side is timed, each time with another seed.
        tell: Is told what is measured now.

    Returns:
        ``differences``: the largest by output; ``another_seed``: what that changes, by output;
        ``seconds`` of both sides with their ratio; ``peak_bytes`` of both, None but on a GPU.

    Raises:
        ArithmeticError: Diffusers gives what is not finite.
        TypeError: YggDrasil gives another dtype.
    """
    ours = InferencePipeline.from_diffusers(pipe, cache_limit=0)
    ours.set_progress_bar_config(disable=True)
    device = pipe.transformer.device if hasattr(pipe, "transformer") else pipe.unet.device

    def call(seed: int) -> dict[str, Any]:
        return {
            "prompt": "a photo of a cat", "height": size, "width": size, "output_type": "pt",
            "num_inference_steps": steps, "generator": torch.Generator().manual_seed(seed),
        }  # fmt: skip

    tell("the numbers")
    theirs = _outputs_of_diffusers(pipe, call(0))
    made = ours(**call(0)).outputs
    other = ours(**call(1)).outputs
    for name, value in theirs.items():
        if not torch.isfinite(value).all():
            raise ArithmeticError(f"{name} of Diffusers are not finite.")
    peaks = None
    if device.type == "cuda":
        peaks = {"yggdrasil": _peak(ours, call(2)), "diffusers": _peak(pipe, call(2))}
    tell("the time")
    wall, processor = time_in_turn(
        lambda number: ours(**call(number)), lambda number: pipe(**call(number)), pairs,
        device=str(device),
    )  # fmt: skip
    return {
        "differences": {name: _difference(made[name], value) for name, value in theirs.items()},
        "another_seed": {name: _difference(other[name], value) for name, value in theirs.items()},
        # What else a machine does moves the wall clock more than the processor's.
        "seconds": asdict(wall if device.type == "cuda" else processor),
        "peak_bytes": peaks,
    }


def _outputs_of_diffusers(pipe: Any, call: Mapping[str, Any]) -> Outputs:
    seen: Outputs = {}

    def remember(_: Any, __: int, ___: Any, values: dict[str, Any]) -> dict[str, Any]:
        seen["latents"] = values["latents"]
        return {}

    images = pipe(**call, callback_on_step_end=remember).images
    return {**seen, "images": images}


def _peak(pipe: Callable[..., object], call: Mapping[str, Any]) -> int:
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    pipe(**call)
    return torch.cuda.max_memory_allocated()


def _difference(mine: Tensor, theirs: Tensor) -> float:
    if mine.dtype != theirs.dtype:
        raise TypeError(f"{mine.dtype} in the place of {theirs.dtype}.")
    return float((mine.double() - theirs.double()).abs().max())


def page(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Writes the page.

    Args:
        rows: As ``docs/full_size.json`` holds them.
    """
    lines = [
        "# Models of full size",
        "",
        "Generated by `python -m benchmarks.full_size`; do not edit (`--page` writes it anew from",
        "the figures in [full_size.json](full_size.json)). Models as large as the published ones,",
        "with random weights; both sides run the same modules in turn and keep nothing between",
        "calls. Time (on a CPU the processor's) and peak of memory are YggDrasil's to Diffusers':",
        "medians, in brackets their 95 % bootstrap intervals.",
        "",
        f"| {' | '.join(_HEADS)} |",
        f"|{'---|' * len(_HEADS)}",
        *(f"| {' | '.join(_cells(name, row))} |" for name, row in rows.items()),
    ]
    if not any(row["peak_bytes"] for row in rows.values()):
        lines += ["", "None of it was measured on a GPU yet."]
    return "\n".join(lines) + "\n"


def _cells(name: str, row: Mapping[str, Any]) -> Iterator[str]:
    taken, peaks = row["seconds"], row["peak_bytes"]
    without = f" without {', '.join(row['without'])}" if row["without"] else ""
    threads = f", threads: {row['threads']}" if row["threads"] else ""
    ratio = taken["ratio"]
    yield f"{name.partition(',')[0]}{without}"
    yield f"{row['parameters'] / 1e9:.2f} billion"
    yield f"{row['device']}{threads}, {row['dtype']}"
    yield f"{row['size']} x {row['size']}, {row['steps']} steps"
    yield ", ".join(f"{what} {value:.2g}" for what, value in row["differences"].items())
    yield ", ".join(f"{what} {value:.2g}" for what, value in row["another_seed"].items())
    yield f"{taken['theirs']['median']:.2f} s"
    yield f"{ratio['median']:.3f} ({ratio['low']:.3f} to {ratio['high']:.3f}, {row['pairs']} pairs)"
    yield f"{peaks['yggdrasil'] / peaks['diffusers']:.3f}" if peaks else "not measured"


if __name__ == "__main__":
    main()
