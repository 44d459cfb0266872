"""What tells that weights have changed, and what tells weights from others."""

from __future__ import annotations

import functools
import hashlib
import marshal
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from yggdrasil.core.fingerprint import digest, fingerprint
from yggdrasil.core.serials import serial_of

__all__ = ["WeightsWatch", "weights_digest"]

_SAMPLES = 3
"""Elements of a tensor that are looked at: writes through ``.data``, fused optimizers and moving
averages leave no trace in PyTorch's counter of writes, but change nearly every element. What writes
to a few of them that way is not seen; of tables each row is looked at."""

_LOOKED_AT = 64
"""Elements of a tensor, or somewhat more, that a digest is made of."""


_INTEGERS = {
    torch.float64: torch.int64,
    torch.float32: torch.int32,
    torch.float16: torch.int16,
    torch.bfloat16: torch.int16,
    **{kind: kind for kind in (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)},
}
"""As what NumPy, which does not know all dtypes, is shown bits."""

# Of the forms of ``marshal`` the one that depends on nothing but the values.
_BY_VALUE = 2


_REFUSALS = (NotImplementedError, RuntimeError, TypeError, ValueError)
"""What tensors that have no plain memory (sparse, nested, sharded, lazy ones) answer."""


class WeightsWatch:
    """What tells that one of some tensors was written to or given other memory.

    What has no plain memory is told by which tensor it is, and by PyTorch's counter of writes.

    Args:
        tensors: Parameters and buffers.
        tables: Those of them whose rows are written to one by one, as embeddings are.
        stay: Whether they stay where they are. Views of those that do not would keep their memory
            from being freed.
    """

    def __init__(
        self, tensors: Sequence[Tensor], tables: Sequence[Tensor] = (), *, stay: bool = True
    ) -> None:
        self._tables = {id(each) for each in tables}
        self._counting = [each for each in tensors if _counts(each)]
        self._placed = [each for each in tensors if _is_placed(each)]
        self._serials = [serial_of(each) for each in tensors]
        self._stay = stay
        self._layout: tuple[list[Any], ...] | None = None
        self._where = b""
        self._views: list[np.ndarray] = []
        self._elsewhere: list[Tensor] = []

    def mark(self) -> bytes:
        """Gives what changes when a tensor is replaced or written to."""
        if not self._serials:
            return b""
        versions = [each._version for each in self._counting]  # noqa: SLF001 - the one counter
        layout = (
            [each.data_ptr() for each in self._placed],
            [each.stride() for each in self._placed],
            [_name(each.dtype) for each in self._placed],
        )
        if layout != self._layout:
            self._look_anew()
            self._layout = layout
            self._where = digest(marshal.dumps((self._serials, layout), _BY_VALUE))
        here = b"".join([each.tobytes() for each in self._views])
        marks = (self._where, versions, here, self._fetched())
        return digest(marshal.dumps(marks, _BY_VALUE))

    def _look_anew(self) -> None:
        """Finds where to look. Of a device's memory no views are kept: they would fill it."""
        self._views, self._elsewhere = [], []
        for each in self._placed:
            if each.numel() < _SAMPLES or each.is_meta or not each.is_contiguous():
                continue
            same_size = _INTEGERS.get(each.dtype)
            if same_size is not None and each.device.type == "cpu" and self._stay:
                self._views.append(self._sampled(each).view(same_size).numpy())
            else:
                self._elsewhere.append(each)

    def _sampled(self, tensor: Tensor) -> Tensor:
        flat = tensor.detach()
        if id(tensor) in self._tables:
            return flat.select(-1, 0)
        step = (flat.numel() - 1) // (_SAMPLES - 1)
        return flat.as_strided((_SAMPLES,), (step,), flat.storage_offset())

    def _fetched(self) -> list[bytes | None]:
        """Fetches the samples of tensors elsewhere, all of a device's and dtype's at once."""
        samples: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
        for each in self._elsewhere:
            samples.setdefault((each.dtype, each.device), []).append(self._sampled(each))
        return [fingerprint(torch.cat(some)) for some in samples.values()]


_name = functools.cache(str)


def _counts(tensor: Tensor) -> bool:
    try:
        # Tensors made in inference mode count no writes.
        return not tensor.is_inference() and tensor._version >= 0  # noqa: SLF001 - the one counter
    except _REFUSALS:
        return False


def _is_placed(tensor: Tensor) -> bool:
    try:
        tensor.data_ptr()
        tensor.detach().as_strided((0,), (1,), tensor.storage_offset())
    except _REFUSALS:
        return False
    return True


def weights_digest(tensors: Iterable[tuple[str, Tensor]]) -> str:
    """Gives a digest by which weights are known again in another process or on another machine.

    It is made of names, dtypes, shapes and some dozens of elements of each tensor, spread evenly:
    training, fusing or another model changes it, and models of gigabytes take milliseconds.

    Args:
        tensors: Parameters and buffers by name.
    """
    state = hashlib.sha256()
    for name, each in sorted(tensors, key=lambda pair: pair[0]):
        flat = each.detach().reshape(-1)
        step = max(1, len(flat) // _LOOKED_AT)
        looked_at = flat[::step].contiguous().cpu()
        state.update(f"{name} {each.dtype} {tuple(each.shape)}\n".encode())
        state.update(looked_at.view(torch.uint8).numpy().tobytes() if len(looked_at) else b"")
    return state.hexdigest()[:32]
