"""A cache of values by where they came from, bounded by bytes."""

from __future__ import annotations

import dataclasses
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from yggdrasil.core.fingerprint import fingerprint

__all__ = ["CacheInfo", "Entry", "ValueCache", "copied", "size_of"]

_PLAIN = frozenset({bool, int, float, complex, str, bytes, type(None)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What one call or loop left behind.

    Attributes:
        values: Its results, in order.
        generators: The states of its generators afterwards, if it draws.
        marks: What shows whether somebody wrote into the values since they were stored: whoever
            changes a value he was given must not change what the next caller gets.
        size: Bytes of its tensors, arrays and pictures.
    """

    values: tuple[Any, ...]
    generators: tuple[Tensor, ...]
    marks: tuple[Any, ...]
    size: int

    @classmethod
    def of(cls, values: tuple[Any, ...], generators: tuple[Tensor, ...] = ()) -> Entry:
        """Makes an entry and measures it."""
        marks, size = _look(values)
        return cls(values=values, generators=generators, marks=marks, size=size)

    def intact(self) -> bool:
        """Says whether nobody wrote into the values."""
        return self.marks == _look(self.values)[0]


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


def copied(value: Any) -> Any:
    """Copies what the caller could write into, so that nobody writes into what is kept.

    Args:
        value: Tensors, arrays, pictures, and containers and dataclasses of them.
    """
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, np.ndarray) or _is_picture(value):
        return value.copy()
    if type(value) in (list, tuple):
        return type(value)(copied(each) for each in value)
    if type(value) is dict:
        return {key: copied(each) for key, each in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return dataclasses.replace(value, **{name: copied(each) for name, each in fields.items()})
    return value


def size_of(value: object) -> int:
    """Gives the bytes of the tensors, arrays and pictures in a value."""
    return _look(value, hashing=False)[1]


def _is_picture(value: object) -> bool:
    return hasattr(value, "tobytes") and hasattr(value, "mode")  # PIL's, without importing it


def _look(values: object, *, hashing: bool = True) -> tuple[tuple[object, ...], int]:
    """Gives what changes when somebody writes into a value, and the bytes of what it holds.

    Everything inside is looked at, containers and what they hold, in one order.
    """
    marks: list[object] = []
    size = 0
    waiting = [values]
    while waiting:
        part = waiting.pop()
        kind = type(part)
        if isinstance(part, Tensor):
            # Tensors made in inference mode count no writes.
            version = None if part.is_inference() else part._version  # noqa: SLF001 - the counter
            marks.append((id(part), version))
            size += part.nbytes
        elif kind in _PLAIN:
            marks.append((kind, part))
        elif kind in (tuple, list) or isinstance(part, tuple | list):
            marks.append(len(part))  # type: ignore[arg-type] # a tuple or a list
            waiting.extend(part)  # type: ignore[arg-type] # the same
        elif isinstance(part, Mapping):
            marks.append(len(part))
            waiting.extend(part.values())
        elif dataclasses.is_dataclass(part) and not isinstance(part, type):
            marks.append(kind)
            waiting.extend([getattr(part, field.name) for field in dataclasses.fields(part)])
        else:
            # Arrays and pictures count no writes: what they hold is hashed.
            marks.append(fingerprint(part) if hashing else None)
            size += _size(part)
    return tuple(marks), size


def _size(part: object) -> int:
    if isinstance(part, np.ndarray):
        return part.nbytes
    if _is_picture(part):
        width, height = getattr(part, "size", (0, 0))
        return int(width) * int(height) * 4
    return 0
