"""How much memory an op takes beyond what is held already, where the machine can tell."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Protocol

import torch

__all__ = ["MemoryMeter", "cuda_in_use", "make_meter"]

_RESET = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")
_PEAK_TOO = "5"  # proc(5): resets the peak of the resident set


class MemoryMeter(Protocol):
    """Measures the peak between two moments."""

    def begin(self) -> None:
        """Begins to measure."""

    def end(self) -> int | None:
        """Gives the most bytes held since ``begin``, beyond those held then; None if unknown."""


def cuda_in_use() -> bool:
    """Says whether anything of this process is on a CUDA device."""
    in_use: bool = torch.cuda.is_initialized()  # type: ignore[no-untyped-call] # torch says no type
    return in_use


def make_meter() -> MemoryMeter:
    """Gives the most exact meter of this machine.

    A CUDA device's allocator tells to the byte. On the CPU it is the growth of the process (Linux
    alone), which is coarse: memory that the process was given before and holds free is not seen.
    """
    if cuda_in_use():
        return _CudaMeter()
    with suppress(OSError):
        _RESET.write_text(_PEAK_TOO, encoding="ascii")
        return _ProcessMeter()
    return _NoMeter()


class _CudaMeter:
    """The allocators of all CUDA devices together."""

    def __init__(self) -> None:
        self._devices = range(torch.cuda.device_count())
        self._held: list[int] = []

    def begin(self) -> None:
        for device in self._devices:
            torch.cuda.reset_peak_memory_stats(device)
        self._held = [torch.cuda.memory_allocated(device) for device in self._devices]

    def end(self) -> int:
        peaks = [torch.cuda.max_memory_allocated(device) for device in self._devices]
        return sum(peak - held for peak, held in zip(peaks, self._held, strict=True))


class _ProcessMeter:
    """The resident set of this process, whose peak Linux lets be set back."""

    def __init__(self) -> None:
        self._held = 0

    def begin(self) -> None:
        _RESET.write_text(_PEAK_TOO, encoding="ascii")
        self._held = _read("VmRSS")

    def end(self) -> int:
        return max(_read("VmHWM") - self._held, 0)


class _NoMeter:
    """For machines that do not tell."""

    def begin(self) -> None:
        pass

    def end(self) -> None:
        return None


def _read(field: str) -> int:
    """Reads a field of the process's status, which is in KiB, as bytes."""
    for line in _STATUS.read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    return 0
