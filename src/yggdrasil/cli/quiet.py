"""Silence from the libraries below, so that a command prints what it has to say."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

__all__ = ["quiet_libraries"]


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Mutes remarks and progress bars of Diffusers and transformers for a while.

    What they raise still comes through; so do bars of downloads, which are the hub's own.
    """
    from diffusers.utils import logging as of_diffusers
    from transformers.utils import logging as of_transformers

    with ExitStack() as stack:
        for library in (of_diffusers, of_transformers):
            stack.enter_context(_muted(library))
        yield


@contextmanager
def _muted(logging: Any) -> Iterator[None]:
    """Mutes one library, whose ``logging`` modules are alike."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
