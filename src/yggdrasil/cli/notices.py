"""What the library tells people on the way, as plain lines on standard error."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from yggdrasil.cli.printing import printable

__all__ = ["notices_shown"]


@contextmanager
def notices_shown() -> Iterator[None]:
    """Shows the notices of the library while a command runs, whatever else is set up to log."""
    logger = logging.getLogger("yggdrasil")
    handler = logging.StreamHandler()
    handler.setLevel(logging.WARNING)
    handler.setFormatter(_Printable())
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


class _Printable(logging.Formatter):
    """Writes notices that may hold texts from files."""

    def format(self, record: logging.LogRecord) -> str:
        """Gives a line."""
        return printable(super().format(record))
