"""The command line. Each command is one module, imported when it is called."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Runs the command line and ends the process with its exit code.

    An error is printed as one message, with exit code 1; ``--debug``, anywhere before ``--``, lets
    its traceback be seen. The other codes are those of ``cli.failing``.
    """
    from yggdrasil.cli.app import app
    from yggdrasil.cli.failing import print_error
    from yggdrasil.cli.notices import notices_shown

    arguments = sys.argv[1:]
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    debug = "--debug" in options
    if debug:  # an option of every command: it is added to what failed, at its end
        arguments.remove("--debug")
    try:
        with notices_shown():
            app(arguments, prog_name="yggdrasil")
    except Exception as error:
        if debug:
            raise
        print_error(error)
        sys.exit(1)
