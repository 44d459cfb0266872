"""What tells that weights have changed, and what tells weights from others."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from yggdrasil.core.fingerprint import fingerprint
from yggdrasil.core.serials import serial_of

__all__ = ["tensors_of", "weights_digest", "weights_mark"]

_SAMPLES = 3
"""Elements of a tensor that are looked at: writes through ``.data``, fused optimizers and moving
averages leave no trace in PyTorch's counter of writes, but change nearly every element."""

_LOOKED_AT = 64
"""Elements of a tensor, or somewhat more, that a digest is made of."""


def tensors_of(module: nn.Module) -> list[Tensor]:
    """Gives the parameters and buffers of a module and of those inside it.

    One that several modules share may come more than once. PyTorch's own iterators also make the
    names, which takes most of their time.
    """
    found: list[Tensor] = []
    seen: set[int] = set()
    waiting = [module]
    while waiting:
        each = vars(waiting.pop())
        if id(each) in seen:
            continue
        seen.add(id(each))
        if each["_parameters"]:
            found += [tensor for tensor in each["_parameters"].values() if tensor is not None]
        if each["_buffers"]:
            found += [tensor for tensor in each["_buffers"].values() if tensor is not None]
        if each["_modules"]:
            waiting += [child for child in each["_modules"].values() if child is not None]
    return found


def weights_mark(tensors: Sequence[Tensor]) -> tuple[Any, ...]:
    """Gives what changes when tensors are replaced or written to.

    Args:
        tensors: Parameters and buffers.
    """
    if not tensors:
        return ()
    marks: list[int] = []
    samples: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    with torch.no_grad():
        for each in tensors:
            # Tensors made in inference mode count no writes.
            version = -1 if each.is_inference() else each._version  # noqa: SLF001 - the one counter
            marks += (serial_of(each), version, each.data_ptr())
            count = each.numel()
            if count >= _SAMPLES and not each.is_meta and each.is_contiguous():
                step = (count - 1) // (_SAMPLES - 1)
                picked = each.as_strided((_SAMPLES,), (step,), each.storage_offset())
                samples.setdefault((each.dtype, each.device), []).append(picked)
        looked_at = tuple(fingerprint(torch.cat(some)) for some in samples.values())
    return (tuple(marks), looked_at)


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
