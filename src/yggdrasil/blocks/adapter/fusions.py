"""Adapters added into a model's own weights for a run, whose bits of before are kept.

PEFT adds to the weights in place and takes off again what it added, which leaves other last bits.
Here the sums are tensors of their own, set in the places of the model's weights for a run: a run
costs no more than without adapters, and the weights of before come back because they never left.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from yggdrasil.blocks.adapter.grafts import Graft
from yggdrasil.core.errors import ModelError

__all__ = ["Added", "Fusing", "Fusion"]


@dataclass(frozen=True, slots=True)
class Fusing:
    """How an adapter is added into the weights of a model.

    Attributes:
        factor: What its scale is multiplied by.
        order: Its place among those that are added; where equal, that of its node counts.
        safe: Whether weights that would be NaN or infinite are refused.
        alone: Whether adapters that are not added in do not act on the layers that it changes.
    """

    factor: float = 1.0
    order: int = 0
    safe: bool = False
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Added:
    """One adapter that is added.

    Attributes:
        name: What the layers call it.
        scale: A number, or a mapping by block as Diffusers takes it.
        how: How it is added.
        source: The file, for messages.
    """

    name: str
    scale: Any
    how: Fusing
    source: str


class Fusion:
    """The weights of a model with adapters added.

    Args:
        graft: The adapters' layers for the model.
        added: What is added, in order.

    Raises:
        ModelError: A weight would be NaN or infinite with one that is added safely.
    """

    def __init__(self, graft: Graft, added: Sequence[Added]) -> None:
        self._swaps: list[tuple[nn.Parameter, Tensor, Tensor]] = []
        closed = set()
        alone = {each.name for each in added if each.how.alone}
        names, scales = [each.name for each in added], [each.scale for each in added]
        with torch.no_grad(), graft.on(names, scales):
            layers: Mapping[str, Any] = graft.layers  # of PEFT
            for name, layer in layers.items():
                own = layer.base_layer
                before = [(each, each.data) for each in own.parameters(recurse=False)]
                try:
                    for parameter, data in before:
                        parameter.data = data.clone()
                    for each in added:
                        _merge(name, layer, each)
                    self._swaps += [(each, data, each.data) for each, data in before]
                finally:
                    for parameter, data in before:
                        parameter.data = data
                if alone.intersection(layer.merged_adapters):
                    closed.add(own)
                layer.merged_adapters = []  # as before
        self.closed: frozenset[nn.Module] = frozenset(closed)
        """The model's own layers on which adapters that are not added in do not act."""
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


def _merge(name: str, layer: Any, added: Added) -> None:
    """Adds one adapter into a layer, with the products of Diffusers in their order.

    Source:
        ``fuse_lora`` of Diffusers: ``scale_layer`` and ``merge`` of PEFT's layers.
    """
    if added.how.factor != 1 and added.name in layer.lora_A:
        layer.scaling[added.name] *= added.how.factor
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Already following adapters were merged")
            layer.merge(safe_merge=added.how.safe, adapter_names=[added.name])
    except ValueError as error:
        if not added.how.safe:
            raise
        raise ModelError(
            f"{added.source} is not fused: weights of the layer {name!r} would be NaN or infinite "
            f"(scale {added.scale}, times {added.how.factor}). Look at the file, or at the scale; "
            "with safe_fusing=False it is fused all the same."
        ) from error


def _stamp(parameter: nn.Parameter) -> tuple[int, int]:
    return (parameter.data_ptr(), parameter._version)  # noqa: SLF001 - PyTorch's counter of writes
