"""A cache of values by where they came from, bounded by bytes."""

from __future__ import annotations

import dataclasses
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["CacheInfo", "Entry", "ValueCache"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What one call or loop left behind.

    Attributes:
        values: Its results, in order.
        generators: The states of its generators afterwards, if it draws.
        versions: The tensors' version counters when they were stored: whoever writes into a value
            he was given must not change what the next caller gets.
        size: Bytes of its tensors.
    """

    values: tuple[Any, ...]
    generators: tuple[Tensor, ...]
    versions: tuple[int, ...]
    size: int

    @classmethod
    def of(cls, values: tuple[Any, ...], generators: tuple[Tensor, ...] = ()) -> Entry:
        """Makes an entry and measures it."""
        tensors = list(_tensors(values))
        return cls(
            values=values,
            generators=generators,
            versions=tuple(each._version for each in tensors),
            size=sum(each.numel() * each.element_size() for each in tensors),
        )

    def intact(self) -> bool:
        """Says whether nobody wrote into the values."""
        return self.versions == tuple(each._version for each in _tensors(self.values))


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheInfo:
    """The state of a cache: entries, bytes held, the bound, hits and misses so far."""

    entries: int
    size: int
    limit: int
    hits: int
    misses: int


class ValueCache:
    """Keeps the least recently used values out once its bytes are full; safe between threads.

    Args:
        limit: Most bytes of tensors to hold.
    """

    def __init__(self, limit: int = 512 * 2**20) -> None:
        self._limit = limit
        self._entries: OrderedDict[bytes, Entry] = OrderedDict()
        self._size = 0
        self._hits = 0
        self._misses = 0
        self._lock = threading.Lock()

    def get(self, key: bytes) -> Entry | None:
        """Gives the entry of a key, unless somebody changed its tensors since."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None and not entry.intact():
                self._size -= self._entries.pop(key).size
                entry = None
            if entry is None:
                self._misses += 1
                return None
            self._hits += 1
            self._entries.move_to_end(key)
            return entry

    def put(self, key: bytes, entry: Entry) -> None:
        """Keeps an entry; one that is larger than the whole cache is not kept."""
        if entry.size > self._limit:
            return
        with self._lock:
            if key in self._entries:
                self._size -= self._entries.pop(key).size
            self._entries[key] = entry
            self._size += entry.size
            while self._size > self._limit:
                _, old = self._entries.popitem(last=False)
                self._size -= old.size

    def clear(self) -> None:
        """Forgets everything."""
        with self._lock:
            self._entries.clear()
            self._size = 0

    def info(self) -> CacheInfo:
        """Gives counts and sizes."""
        with self._lock:
            return CacheInfo(
                entries=len(self._entries),
                size=self._size,
                limit=self._limit,
                hits=self._hits,
                misses=self._misses,
            )


def _tensors(value: Any) -> Iterator[Tensor]:
    """Gives every tensor inside a value; containers are shallow enough to walk with a stack."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, torch.Tensor):
            yield each
        elif isinstance(each, tuple | list):
            waiting.extend(each)
        elif isinstance(each, Mapping):
            waiting.extend(each.values())
        elif dataclasses.is_dataclass(each) and not isinstance(each, type):
            waiting.extend(getattr(each, field.name) for field in dataclasses.fields(each))
