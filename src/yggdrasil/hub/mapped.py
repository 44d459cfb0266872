"""Tensors that are views of a mapped file, read from it instead of copied."""

from __future__ import annotations

import bisect
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

__all__ = ["MappedFiles"]

_MAPS = Path("/proc/self/maps")


class _Region(NamedTuple):
    """Where a part of a file lies in memory."""

    start: int
    stop: int
    offset: int
    inode: int
    file: str


class MappedFiles:
    """The files that this process has mapped now.

    The pages of such a file count as the process's memory once they were touched, as long as one
    tensor of it is left. So a model that is copied out of the mapping takes twice its size, and one
    that is read from the file takes it once. Systems that do not tell what is mapped have none.
    """

    def __init__(self, regions: tuple[_Region, ...]) -> None:
        self._regions = sorted(regions)

    @classmethod
    def now(cls) -> Self:
        """Asks the system."""
        return cls(tuple(_regions()) if _MAPS.is_file() else ())

    def read(self, tensor: Tensor) -> Tensor | None:
        """Reads a tensor's values from the file that it is a view of.

        Args:
            tensor: On the CPU.

        Returns:
            A tensor of the same values; None where the tensor is no such view, or was written to.
        """
        start, size = tensor.data_ptr(), tensor.numel() * tensor.element_size()
        written = tensor._version > 0  # noqa: SLF001 - PyTorch's counter of writes
        if written or not size or not tensor.is_contiguous():
            return None
        place = bisect.bisect_right(self._regions, start, key=lambda region: region.start) - 1
        if place < 0 or start + size > self._regions[place].stop:
            return None
        region = self._regions[place]
        fresh = torch.empty(tensor.shape, dtype=tensor.dtype)
        into: Any = fresh.reshape(-1).view(torch.uint8).numpy()
        try:
            with Path(region.file).open("rb", buffering=0) as file:
                if os.fstat(file.fileno()).st_ino != region.inode:
                    return None  # another file has its name by now
                file.seek(region.offset + start - region.start)
                return fresh if file.readinto(into) == size else None
        except FileNotFoundError:
            return None


def _regions() -> Iterator[_Region]:
    """Reads lines such as ``7f00-7f40 rw-p 00000000 fe:00 1234 /models/unet.safetensors``."""
    for line in _MAPS.read_text(encoding="utf-8").splitlines():
        addresses, _, offset, _, inode, *file = line.split(maxsplit=5)
        if file and file[0].startswith("/"):
            start, _, stop = addresses.partition("-")
            yield _Region(int(start, 16), int(stop, 16), int(offset, 16), int(inode), file[0])
