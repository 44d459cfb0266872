"""What the library tells people on the way, as plain lines on standard error."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["notices_shown"]


@contextmanager
def notices_shown() -> Iterator[None]:
    """Shows the notices of the library while a command runs, whatever else is set up to log."""
    logger = logging.getLogger("yggdrasil")
    handler = logging.StreamHandler()
    handler.setLevel(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
