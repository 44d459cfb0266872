"""Content hashes of values, for cache keys."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["digest", "fingerprint", "generator_fingerprint"]

_SIZE = 16


def digest(*parts: bytes) -> bytes:
    """Hashes byte strings into one key; each part is delimited by its length."""
    if len(parts) == 1:
        return hashlib.blake2b(parts[0], digest_size=_SIZE).digest()
    marked = [piece for part in parts for piece in (len(part).to_bytes(8, "little"), part)]
    return hashlib.blake2b(b"".join(marked), digest_size=_SIZE).digest()


def fingerprint(value: Any) -> bytes | None:  # noqa: PLR0911 - one return for each sort of value
    """Hashes a value by its content.

    Args:
        value: Scalars, strings, tensors, arrays, pictures, and containers and dataclasses of them.

    Returns:
        The key, or None for what has no content that could be hashed (an object, a function).
    """
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        return digest(type(value).__name__.encode(), repr(value).encode())
    if isinstance(value, Tensor):
        header = f"{value.dtype}{tuple(value.shape)}{value.device}"
        if value.is_meta:  # a shape alone, such as what loading leaves where a hook fills it in
            return digest(b"shape", header.encode())
        flat = value.detach().contiguous().cpu().view(-1)
        return digest(b"tensor", header.encode(), _bytes_of(flat))
    if isinstance(value, np.ndarray | np.generic):
        header = f"{value.dtype}{value.shape}"
        return digest(b"array", header.encode(), np.ascontiguousarray(value).tobytes())
    if isinstance(value, torch.dtype | torch.device | torch.Size):
        return digest(b"torch", str(value).encode())
    if isinstance(value, Mapping):
        return _join(b"mapping", [part for pair in value.items() for part in pair])
    if isinstance(value, Sequence):
        return _join(type(value).__name__.encode(), list(value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [getattr(value, field.name) for field in dataclasses.fields(value)]
        return _join(type(value).__qualname__.encode(), fields)
    if hasattr(value, "tobytes") and hasattr(value, "mode"):  # a PIL image, without importing PIL
        palette = value.getpalette() if hasattr(value, "getpalette") else None
        shown = f"{value.mode}{value.size}{palette}{value.info.get('transparency')}"
        return digest(b"picture", shown.encode(), value.tobytes())
    return None


def generator_fingerprint(value: torch.Generator | Sequence[torch.Generator]) -> bytes:
    """Hashes the state of one generator or of several."""
    generators = [value] if isinstance(value, torch.Generator) else list(value)
    return digest(b"generator", *(_bytes_of(each.get_state()) for each in generators))


def _join(tag: bytes, values: list[Any]) -> bytes | None:
    parts = [fingerprint(value) for value in values]
    known = [part for part in parts if part is not None]
    return digest(tag, *known) if len(known) == len(parts) else None


def _bytes_of(flat: Tensor) -> bytes:
    if flat.numel() == 0:
        return b""
    return flat.view(torch.uint8).numpy().tobytes() if flat.dtype != torch.bool else bytes(flat)
