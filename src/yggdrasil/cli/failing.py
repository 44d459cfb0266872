"""How a command ends that does not succeed: one message and an exit code.

0 success, 1 failure, 2 wrong usage (typer's), 3 a difference (compare), 130 interrupted (128 and
the number of SIGINT).
"""

from __future__ import annotations

from typing import Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from yggdrasil.cli.printing import printable
from yggdrasil.core.errors import YggdrasilError

__all__ = ["INTERRUPTED", "Commands", "print_error"]

INTERRUPTED = 130


class Commands(TyperGroup):
    """The commands, which Ctrl-C ends without a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Runs a command.

        Args:
            ctx: typer's.
        """
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            Console(stderr=True).print("Interrupted.")
            raise typer.Exit(INTERRUPTED) from error


def print_error(error: Exception) -> None:
    """Prints what went wrong as one message, with a hint where nobody foresaw it."""
    console = Console(stderr=True, highlight=False)
    console.print(f"[bold red]{type(error).__name__}[/]: ", end="")
    console.print(printable(str(error)), markup=False, soft_wrap=True)
    for note in getattr(error, "__notes__", ()):
        console.print(printable(f"  {note}"), markup=False, soft_wrap=True)
    if not isinstance(error, YggdrasilError):
        console.print("  Run it again with --debug to see where this happened.")
