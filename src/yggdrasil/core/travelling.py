"""Models whose weights move while they are used: what is looked at in the place of their memory.

Weights that lie elsewhere between calls, or are cast for each layer, have new memory after every
call. Told by their memory they would be other weights each time, and nothing would be kept.
"""

from __future__ import annotations

import marshal
import weakref
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from yggdrasil.core.fingerprint import digest
from yggdrasil.core.serials import serial_of

__all__ = ["Travel", "TravellingWatch", "end_travel", "start_travel", "travel_of"]

# Of the forms of ``marshal`` the one that depends on nothing but the values.
_BY_VALUE = 2

_SAMPLES = 16
"""Elements of a tensor that are looked at: more than of others, whose memory is told too."""

_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""By bytes of an element: as what bits are read."""


@dataclass(frozen=True, slots=True, eq=False)
class Travel:
    """How a model's weights move.

    Attributes:
        how: By which policy, and to which device: it decides what is computed.
        home: The tensors that hold the weights while the model has none of its own.
    """

    how: str
    home: tuple[Tensor, ...] = ()


_travels: weakref.WeakKeyDictionary[nn.Module, Travel] = weakref.WeakKeyDictionary()


def start_travel(model: nn.Module, how: str, home: Iterable[Tensor] = ()) -> None:
    """Notes that the weights of a model move by themselves, and are still the same.

    Args:
        model: The whole model.
        how: By which policy, and to which device.
        home: The tensors that hold the weights while the model has none of its own.
    """
    _travels[model] = Travel(how, tuple(home))


def end_travel(model: nn.Module) -> None:
    """Notes that the weights of a model stay where they are again.

    Args:
        model: The whole model.
    """
    _travels.pop(model, None)


def travel_of(model: nn.Module) -> Travel | None:
    """Says how the weights of a model move; None where they stay.

    Args:
        model: The whole model.
    """
    return _travels.get(model)


class TravellingWatch:
    """What tells that weights which move were written to: their content, and PyTorch's counter.

    Args:
        tensors: Parameters and buffers; those without memory are passed over.
    """

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        self._tensors = [each for each in tensors if not each.is_meta]
        self._counting = [each for each in self._tensors if not each.is_inference()]
        self._serials = [serial_of(each) for each in self._tensors]

    def mark(self) -> bytes:
        """Gives what changes when a tensor is replaced, cast or written to."""
        versions = [each._version for each in self._counting]  # noqa: SLF001 - the one counter
        kinds = [(str(each.dtype), str(each.device)) for each in self._tensors]
        samples: dict[tuple[str, str], list[Tensor]] = {}
        for kind, each in zip(kinds, self._tensors, strict=True):
            if each.numel() and each.is_contiguous() and each.dtype.itemsize in _INTEGERS:
                samples.setdefault(kind, []).append(_sampled(each))
        contents = [
            torch.cat(some).contiguous().cpu().view(torch.uint8).numpy().tobytes()
            for some in samples.values()
        ]
        return digest(marshal.dumps((self._serials, versions, kinds, contents), _BY_VALUE))


def _sampled(tensor: Tensor) -> Tensor:
    bits = tensor.detach().view(-1).view(_INTEGERS[tensor.dtype.itemsize])
    return bits[:: max(1, (len(bits) - 1) // (_SAMPLES - 1))]
