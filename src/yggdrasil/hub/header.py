"""What a safetensors file says of itself: read from its header, without its weights.

Source:
    The format of the safetensors library: eight bytes with the length of a JSON header, the header,
    the tensors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from yggdrasil.core.errors import ModelError

__all__ = ["Header", "TensorInfo", "read_header"]

_LENGTH_BYTES = 8
# The format allows 100 MB of header; anything near that is no header.
_LIMIT = 100_000_000


class TensorInfo(NamedTuple):
    """A tensor in a file.

    Attributes:
        dtype: As the format names it, such as ``F16``.
        shape: Its sizes.
    """

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Header:
    """The header of a safetensors file.

    Attributes:
        tensors: By name, in the order of the file.
        metadata: What the writer of the file noted, such as ``modelspec.architecture``.
    """

    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, str]


def read_header(path: Path) -> Header:
    """Reads a file's header and checks that the file is as long as it says.

    Args:
        path: A ``.safetensors`` file.

    Raises:
        ModelError: It is cut short, longer than it says, or no safetensors file.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        if not 0 < length <= min(size - _LENGTH_BYTES, _LIMIT):
            raise ModelError(
                f"{path} is no safetensors file, or cut short within its header ({size:,} bytes). "
                "Copy or download it again."
            )
        text = file.read(length)
    try:
        entries = dict(json.loads(text).items())
        metadata = {str(k): str(v) for k, v in entries.pop("__metadata__", {}).items()}
        ends = [int(entry["data_offsets"][1]) for entry in entries.values()]
        tensors = {
            name: TensorInfo(str(entry["dtype"]), tuple(map(int, entry["shape"])))
            for name, entry in entries.items()
        }
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise ModelError(
            f"{path} has a damaged header: {type(error).__name__}: {error}. Copy or download it "
            "again."
        ) from error
    expected = _LENGTH_BYTES + length + max(ends, default=0)
    if size != expected:
        raise ModelError(
            f"{path} has {size:,} bytes, but its header promises {expected:,}: it was cut short "
            "or changed. Copy or download it again."
        )
    return Header(tensors, metadata)
