"""Measures YggDrasil against Diffusers, and the engine by itself.

    python -m benchmarks                    # all of it: a quarter of an hour on a quiet machine
    python -m benchmarks --only engine      # one part; the other figures stay
    python -m benchmarks --page             # only the page and the plots, from the figures there

Writes ``docs/benchmarks.json`` and, from it alone, ``docs/benchmarks.md`` and the plots.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from rich.console import Console

import yggdrasil
from benchmarks.engine import SIZES, measure_engine
from benchmarks.pipelines import SCHEDULERS, measure_pipelines
from benchmarks.plots import draw
from benchmarks.processes import WIDTHS, measure_imports, measure_memory
from benchmarks.report import page

_DOCS = Path(__file__).parents[1] / "docs"
_PARTS: dict[str, Callable[[argparse.Namespace, Callable[[str], None]], Any]] = {
    "pipelines": lambda options, tell: measure_pipelines(
        options.pairs, tuple(options.schedulers), tell
    ),
    "engine": lambda options, tell: measure_engine(tuple(options.sizes), tell),
    "memory": lambda options, tell: measure_memory(options.processes, tell, tuple(options.widths)),
    "imports": lambda options, tell: measure_imports(options.processes, tell),
}


def main(arguments: list[str] | None = None) -> None:
    """Measures, writes, and prints the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--only", nargs="*", choices=_PARTS, help="parts to measure")
    parser.add_argument("--page", action="store_true", help="measure nothing")
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--processes", type=int, default=7)
    parser.add_argument("--schedulers", nargs="*", default=SCHEDULERS)
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES)
    parser.add_argument("--widths", type=int, nargs="*", default=WIDTHS)
    parser.add_argument("--folder", type=Path, default=_DOCS, help="where to write")
    options = parser.parse_args(arguments)
    path: Path = options.folder / "benchmarks.json"
    figures = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    console = Console()
    measured = () if options.page else options.only or _PARTS
    lacking = [name for name in _PARTS if name not in figures and name not in measured]
    if lacking:
        parser.error(f"{path} has no figures of {', '.join(lacking)}: measure those too")
    if not options.page:
        with console.status("") as status:
            for name in options.only or _PARTS:
                figures[name] = _PARTS[name](
                    options, lambda what, name=name: status.update(f"{name}: {what}")
                )
        figures |= _conditions(options)
        path.write_text(f"{json.dumps(figures, indent=1)}\n", encoding="utf-8")
    (options.folder / "benchmarks.md").write_text(page(figures), encoding="utf-8")
    draw(figures, options.folder)
    console.print(page(figures), markup=False, highlight=False)


def _conditions(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "pairs": options.pairs,
        "load": os.getloadavg()[0],
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors",
        "versions": {
            "YggDrasil": yggdrasil.__version__,
            "Diffusers": diffusers.__version__,
            "transformers": transformers.__version__,
            "PyTorch": torch.__version__,
            "Python": platform.python_version(),
        },
    }


if __name__ == "__main__":
    main()
