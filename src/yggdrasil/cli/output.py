"""Where commands write: results to standard output, everything else to standard error."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from rich.console import Console
from rich.table import Table

__all__ = ["note", "print_json", "print_line", "print_table", "table_width"]

_ENDLESS = 10_000


def print_line(markup: str) -> None:
    """Prints a line of a result, however long it is; markup is rich's.

    Args:
        markup: What was given by people must be escaped in it.
    """
    Console().print(markup, highlight=False, soft_wrap=True)


def print_table(table: Table, *, stderr: bool = False) -> None:
    """Prints a table: as wide as the terminal, or for other programs a line for each row.

    Args:
        table: The table.
        stderr: Whether it is no result of the command.
    """
    console = Console(stderr=stderr)
    console.width = table_width(console)
    if console.is_terminal:
        console.print(table, highlight=False)
        return
    with console.capture() as captured:
        console.print(table, highlight=False)
    lines = captured.get().splitlines()
    console.file.write("".join(f"{line.rstrip()}\n" for line in lines))


def table_width(console: Console | None = None) -> int:
    """Gives the width for tables: that of the terminal, and endless where there is none.

    Args:
        console: Where the table goes; standard output unless given.
    """
    console = console or Console()
    known = console.is_terminal or "COLUMNS" in os.environ
    return console.width if known else _ENDLESS


def print_json(data: Any) -> None:
    """Prints plain data as one JSON document, and nothing else, for programs."""
    sys.stdout.write(f"{json.dumps(data, indent=2)}\n")


def note(text: str) -> None:
    """Tells people something that is no result."""
    Console(stderr=True).print(text, markup=False, highlight=False, soft_wrap=True)
