"""A profile as a table."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from html import escape
from itertools import groupby

from rich.console import Console
from rich.table import Table

from yggdrasil.pipelines.inline import image_tag
from yggdrasil.pipelines.profiling.flame import to_flame
from yggdrasil.pipelines.profiling.record import ProfileReport, VertexTime
from yggdrasil.pipelines.units import in_bytes, in_seconds

__all__ = ["to_html", "to_table", "to_text"]

_COLUMNS = ("vertex", "block", "calls", "total", "each", "share", "results", "peak")
_WORDS = 2  # the first columns are words, the others numbers


def to_table(report: ProfileReport) -> Table:
    """Gives the table for a terminal."""
    # One space between columns: with two, the widest figures do not fit a hundred characters.
    table = Table(
        title=_title(report),
        title_justify="left",
        box=None,
        header_style="bold",
        padding=(0, 1, 0, 0),
    )
    for place, name in enumerate(_COLUMNS):
        if place < _WORDS:
            table.add_column(name, no_wrap=place == 0, overflow="fold")
        else:
            table.add_column(name, justify="right", no_wrap=True)
    for row in _rows(report):
        table.add_row(*row)
    return table


def to_text(report: ProfileReport) -> str:
    """Gives the table as text, as wide as it needs."""
    console = Console(file=io.StringIO(), width=200, color_system=None)
    with console.capture() as captured:
        console.print(to_table(report))
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def to_html(report: ProfileReport) -> str:
    """Gives flame picture and table for a notebook."""
    head = "".join(f"<th>{escape(name)}</th>" for name in _COLUMNS)
    body = "".join(
        f"<tr>{''.join(f'<td>{_cell(cell)}</td>' for cell in row)}</tr>" for row in _rows(report)
    )
    return (
        f"{image_tag(to_flame(report), 'flame picture')}"
        f"<table><caption>{escape(_title(report))}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def _cell(text: str) -> str:
    inner = text.lstrip()
    return "&emsp;" * (len(text) > len(inner)) + escape(inner)


def _title(report: ProfileReport) -> str:
    runs = "1 run" if report.runs == 1 else f"{report.runs} runs"
    return f"{report.graph}: {runs}, {in_seconds(report.seconds)}"


def _rows(report: ProfileReport) -> Iterator[tuple[str, ...]]:
    """Gives the rows: vertices as they ran, those of a loop below their sum."""
    for loop, group in groupby(report.vertices, key=lambda each: each.loop):
        vertices = list(group)
        if loop is not None:
            yield _sum_of(loop, vertices, report)
        for each in vertices:
            yield _row(each, report)
    if report.vertices:
        yield (
            "outside ops", "", "", in_seconds(report.outside), "",
            _share(report.outside, report), "", "",
        )  # fmt: skip


def _sum_of(loop: str, vertices: Sequence[VertexTime], report: ProfileReport) -> tuple[str, ...]:
    seconds = sum(each.seconds for each in vertices)
    return (loop, "", "", in_seconds(seconds), "", _share(seconds, report), "", "")


def _row(each: VertexTime, report: ProfileReport) -> tuple[str, ...]:
    indent = "  " if each.loop else ""
    name = f"{indent}{each.vertex}"
    if not each.calls:
        return (name, each.type_name, "kept", "", "", "", "", "")
    return (
        name,
        each.type_name,
        str(each.calls),
        in_seconds(each.seconds),
        in_seconds(each.seconds / each.calls),
        _share(each.seconds, report),
        in_bytes(each.held) if each.held else "",
        in_bytes(each.peak) if each.peak else "",  # coarse meters often see nothing
    )


def _share(seconds: float, report: ProfileReport) -> str:
    return f"{100 * seconds / report.seconds:.1f} %" if report.seconds else ""
