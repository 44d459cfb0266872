"""What tells that weights have changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from yggdrasil.core.fingerprint import fingerprint
from yggdrasil.core.serials import serial_of

__all__ = ["tensors_of", "weights_mark"]

_SAMPLES = 3
"""Elements of a tensor that are looked at: writes through ``.data``, fused optimizers and moving
averages leave no trace in PyTorch's counter of writes, but change nearly every element."""


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
