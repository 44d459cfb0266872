"""What tells that weights have changed, and what tells weights from others."""

from __future__ import annotations

import hashlib
import marshal
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from yggdrasil.core.fingerprint import digest, fingerprint
from yggdrasil.core.serials import serial_of

__all__ = ["WeightsWatch", "weights_digest"]

_SAMPLES = 3
"""Elements of a tensor that are looked at: writes through ``.data``, fused optimizers and moving
averages leave no trace in PyTorch's counter of writes, but change nearly every element."""

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


class WeightsWatch:
    """What tells that one of some tensors was written to or given other memory.

    Args:
        tensors: Parameters and buffers.
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._tensors = tensors
        # Tensors made in inference mode count no writes.
        self._counting = [each for each in tensors if not each.is_inference()]
        self._serials = [serial_of(each) for each in tensors]
        self._pointers: list[int] | None = None
        self._views: list[np.ndarray] = []
        self._elsewhere: list[Tensor] = []

    def mark(self) -> bytes:
        """Gives what changes when a tensor is replaced or written to."""
        if not self._tensors:
            return b""
        versions = [each._version for each in self._counting]  # noqa: SLF001 - the one counter
        pointers = [each.data_ptr() for each in self._tensors]
        if pointers != self._pointers:
            self._look_anew()
            self._pointers = pointers
        contents = [*[each.tobytes() for each in self._views], *_fetched(self._elsewhere)]
        marks = (self._serials, versions, pointers, contents)
        return digest(marshal.dumps(marks, _BY_VALUE))

    def _look_anew(self) -> None:
        """Finds where to look. Of a device's memory no views are kept: they would fill it."""
        self._views, self._elsewhere = [], []
        for each in self._tensors:
            if each.numel() < _SAMPLES or each.is_meta or not each.is_contiguous():
                continue
            same_size = _INTEGERS.get(each.dtype)
            if same_size is not None and each.device.type == "cpu":
                self._views.append(_sampled(each).view(same_size).numpy())
            else:
                self._elsewhere.append(each)


def _sampled(tensor: Tensor) -> Tensor:
    step = (tensor.numel() - 1) // (_SAMPLES - 1)
    return tensor.detach().as_strided((_SAMPLES,), (step,), tensor.storage_offset())


def _fetched(tensors: Iterable[Tensor]) -> list[bytes | None]:
    """Fetches the samples of tensors, all of a device's and dtype's at once."""
    samples: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for each in tensors:
        samples.setdefault((each.dtype, each.device), []).append(_sampled(each))
    return [fingerprint(torch.cat(some)) for some in samples.values()]


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
