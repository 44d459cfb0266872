"""The command line. Each command is one module, imported when it is called."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Runs the command line and ends the process with its exit code.

    An error that YggDrasil raises on purpose is printed as a message, with exit code 1; anything
    else is a bug and keeps its traceback. Wrong usage is exit code 2, as everywhere.
    """
    from yggdrasil.cli.app import app
    from yggdrasil.core.errors import YggdrasilError

    try:
        app(prog_name="yggdrasil")
    except YggdrasilError as error:
        from rich.console import Console

        from yggdrasil.cli.printing import printable

        console = Console(stderr=True, highlight=False)
        console.print(f"[bold red]{type(error).__name__}[/]: ", end="")
        console.print(printable(str(error)), markup=False, soft_wrap=True)
        for note in getattr(error, "__notes__", ()):
            console.print(printable(f"  {note}"), markup=False, soft_wrap=True)
        sys.exit(1)
