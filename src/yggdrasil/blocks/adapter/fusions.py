"""Adapters added into a model's own weights for a run, whose bits of before are kept.

PEFT adds to the weights in place and takes off again what it added, which leaves other last bits.
Here the sums are tensors of their own, set in the places of the model's weights for a run: a run
costs no more than without adapters, and the weights of before come back because they never left.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor, nn

from yggdrasil.blocks.adapter.grafts import Graft

__all__ = ["Fusion"]


class Fusion:
    """The weights of a model with adapters added.

    Args:
        graft: The adapters' layers for the model.
        names: Those that are added, in order.
        scales: For each a number, or a mapping by block as Diffusers takes it.
    """

    def __init__(self, graft: Graft, names: Sequence[str], scales: Sequence[Any]) -> None:
        self._swaps: list[tuple[nn.Parameter, Tensor, Tensor]] = []
        with graft.on(names, scales):
            for layer in graft.layers.values():
                own: Any = layer.base_layer
                before = [(each, each.data) for each in own.parameters(recurse=False)]
                try:
                    for parameter, data in before:
                        parameter.data = data.clone()
                    layer.merge(adapter_names=None)  # type: ignore[operator] # a layer of PEFT
                    self._swaps += [(each, data, each.data) for each, data in before]
                finally:
                    for parameter, data in before:
                        parameter.data = data
                layer.merged_adapters = []  # type: ignore[assignment] # as before
        self._stamps = [_stamp(parameter) for parameter, _, _ in self._swaps]

    def holds(self) -> bool:
        """Says whether the model's weights are those that the adapters were added to."""
        return all(
            _stamp(parameter) == stamp
            for (parameter, _, _), stamp in zip(self._swaps, self._stamps, strict=True)
        )

    @contextlib.contextmanager
    def on(self) -> Iterator[None]:
        """Puts the sums in for as long as the context is open."""
        try:  # whatever breaks in, an interrupt by the user too
            for parameter, _, fused in self._swaps:
                parameter.data = fused
            yield
        finally:
            for parameter, own, _ in self._swaps:
                parameter.data = own


def _stamp(parameter: nn.Parameter) -> tuple[int, int]:
    return (parameter.data_ptr(), parameter._version)  # noqa: SLF001 - PyTorch's counter of writes
