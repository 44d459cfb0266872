"""Models that are made from a configuration, and the memory of the machine."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from yggdrasil.core.errors import ConfigError

__all__ = ["within_memory"]

_SHARE = 0.75
_MOST_PARAMETERS = 100_000  # tensors, not numbers: the largest models have some thousands


@contextmanager
def within_memory(name: str) -> Iterator[None]:
    """Ends the making of a model that cannot be held, before its weights fill the memory.

    A file from anyone may ask for a model of any size. Layers tell of each parameter before they
    write numbers into it, and it is only then that memory is taken.

    Args:
        name: Of the model's class, for the message.

    Raises:
        ConfigError: The parameters are larger than three quarters of the machine's memory, or more
            than any model has.
    """
    here, limit = threading.get_ident(), _SHARE * _memory()
    count = size = 0

    def weigh(module: nn.Module, parameter: str, value: nn.Parameter | None) -> None:
        nonlocal count, size
        del module, parameter
        if value is None or threading.get_ident() != here:
            return
        count, size = count + 1, size + value.nbytes
        if size > limit or count > _MOST_PARAMETERS:
            raise ConfigError(
                f"The configuration of {name} makes a model of more than {size / 2**30:,.1f} GB in "
                f"{count:,} tensors, which this machine does not hold. Take smaller numbers."
            )

    handle = register_module_parameter_registration_hook(weigh)
    try:
        yield
    finally:
        handle.remove()


def _memory() -> float:
    """Gives the memory of the machine in bytes; infinity where the system does not say."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return float("inf")
