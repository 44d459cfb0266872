"""``yggdrasil compare``."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from yggdrasil.cli.output import note, print_json, print_line, print_table
from yggdrasil.cli.quiet import quiet_libraries
from yggdrasil.hub.zoo import suggested
from yggdrasil.pipelines.comparison.comparing import compare
from yggdrasil.pipelines.comparison.page import write_page
from yggdrasil.pipelines.comparison.pictures import write_pictures
from yggdrasil.pipelines.comparison.request import Request
from yggdrasil.pipelines.comparison.result import Comparison
from yggdrasil.pipelines.comparison.timing import PairedTimes

__all__ = ["DIFFERS", "CompareOptions", "run"]

DIFFERS = 3
"""The exit code where the difference is above the tolerance; the others are in ``failing``."""


@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """What is done with a comparison; see ``yggdrasil compare --help``."""

    output: Path
    html: Path | None
    json: bool
    tolerance: float
    separate: bool
    pairs: int
    memory: bool


@quiet_libraries()
def run(options: CompareOptions, **call: Any) -> None:
    """Compares, writes pictures and page, prints what was found.

    Args:
        options: What to do with it.
        **call: The fields of a ``Request``.

    Raises:
        SystemExit: The difference is above the tolerance.
    """
    if call["guidance_scale"] is None:
        call |= suggested(call["model"])
    request = Request(**call)
    with Console(stderr=True).status("looking the model up") as status:
        comparison = compare(
            request,
            separate=options.separate,
            pairs=options.pairs,
            memory=options.memory,
            tolerance=options.tolerance,
            tell=status.update,
        )
    written = write_pictures(comparison, options.output)
    if options.html is not None:
        write_page(comparison, options.html)
        written.append(options.html)
    if comparison.job.drawn:
        note(
            f"{', '.join(comparison.job.drawn)}: drawn, since the model needs it. Give your own "
            "with --image, --mask, or -a name=@file."
        )
    if options.json:
        print_json(comparison.as_plain())
    else:
        _show(comparison, written)
    if not comparison.passed:
        sys.exit(DIFFERS)


def _show(comparison: Comparison, written: list[Path]) -> None:
    job, likeness = comparison.job, comparison.likeness.as_text()
    verdict, reason = comparison.verdict()
    colour = "green" if comparison.passed else "red"
    print_line(f"{escape(job.request.model)}, {job.task}: [bold {colour}]{verdict}[/] {reason}")
    figures = Table(*likeness, box=SIMPLE_HEAD, pad_edge=False)
    figures.add_row(*likeness.values())
    print_table(figures)
    print_table(_costs(comparison))
    for path in written:
        print_line(escape(str(path)))


def _costs(comparison: Comparison) -> Table:
    versions = comparison.versions
    table = Table("of a call", box=SIMPLE_HEAD, pad_edge=False)
    for name in ("YggDrasil", "Diffusers"):
        table.add_column(f"{name} {versions[name.lower()]}", justify="right")
    table.add_column("ratio", justify="right")
    table.add_row("time, s", *_times(comparison.wall))
    table.add_row("processor time, s", *_times(comparison.processor))
    if comparison.memory is not None:
        held = comparison.memory
        table.add_row(
            "peak memory, MiB",
            f"{held.ours / 2**20:.0f}",
            f"{held.theirs / 2**20:.0f}",
            f"{held.ratio:.3f}",
        )
    return table


def _times(times: PairedTimes) -> tuple[str, str, str]:
    ratio = times.ratio
    return (
        f"{times.ours.median:.3f}",
        f"{times.theirs.median:.3f}",
        f"{ratio.median:.3f} ({ratio.low:.3f} to {ratio.high:.3f})",
    )
