"""``yggdrasil compare``."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

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
"""The exit code where the difference is above the tolerance: 1 is a failure, 2 wrong usage."""


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
    if options.json:
        print(json.dumps(comparison.as_plain(), indent=2))  # noqa: T201 - as it is, for programs
    else:
        console = Console()
        console.print(_table(comparison))
        for path in written:
            console.print(escape(str(path)), highlight=False, soft_wrap=True)
    if not comparison.passed:
        sys.exit(DIFFERS)


def _table(comparison: Comparison) -> Table:
    versions = comparison.versions
    title = f"{comparison.job.request.model}: {comparison.job.pipeline}"
    verdict = "[green]within[/]" if comparison.passed else "[bold red]above[/]"
    table = Table(title=escape(title), caption=f"{verdict} the tolerance of {comparison.tolerance}")
    for column in ("", f"YggDrasil {versions['yggdrasil']}", f"Diffusers {versions['diffusers']}"):
        table.add_column(escape(column), justify="right" if column else "left")
    table.add_column("difference or ratio", justify="right")
    for name, text in comparison.likeness.as_text().items():
        table.add_row(name, "", "", text)
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
