"""What inner modules and backbones exchange: control pictures, and what is added inside a model."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Any

import torch
from torch import Tensor

from yggdrasil.core.errors import InputError
from yggdrasil.core.kinds import Kind

__all__ = [
    "BranchedResidualsValue",
    "ControlPicture",
    "ControlPictureValue",
    "ResidualsValue",
    "joined",
    "summed",
]

_EMPTY: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlPictureValue:
    """A picture as an inner module reads it, prepared once for a run.

    Attributes:
        tensor: ``b ...``: pixels, latents or tokens; where ``branches`` are named, one such batch
            for each of them, in their order.
        size: Height and width that the picture stands for, in pixels.
        branches: The branches of a step that it was made for; none where all read the same.
        shared: What else the module reads that has no batch axis.
    """

    tensor: Tensor
    size: tuple[int, int]
    branches: tuple[str, ...] = ()
    shared: Mapping[str, Any] = field(default_factory=lambda: _EMPTY)

    def of(self, names: tuple[str, ...]) -> Tensor:
        """Gives the picture for branches that are evaluated together.

        Args:
            names: The branches; none for a sample without branches.

        Returns:
            Along the batch axis, in the order of the names.
        """
        if names == self.branches or not names:
            return self.tensor
        if not self.branches:
            return self.tensor if len(names) == 1 else torch.cat([self.tensor] * len(names))
        parts = dict(zip(self.branches, self.tensor.chunk(len(self.branches)), strict=True))
        return torch.cat([parts[name] for name in names])


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidualsValue:
    """What an inner module adds in one evaluation of a backbone.

    Attributes:
        tensors: By the names of the backbone's forward arguments: one tensor, or one for each of
            its layers. Those of several modules are added.
        shared: Further arguments, of which the first module's hold.
    """

    tensors: Mapping[str, Tensor | tuple[Tensor, ...]]
    shared: Mapping[str, Any] = field(default_factory=lambda: _EMPTY)


@dataclass(frozen=True, slots=True)
class BranchedResidualsValue:
    """What an inner module adds in one step, by the branches that are evaluated together.

    Attributes:
        parts: By names of branches; under no names for a sample without branches. Empty where the
            module does not take part in the step.
        everywhere: What is added to every evaluation, whatever its branches.
    """

    parts: Mapping[tuple[str, ...], ResidualsValue] = field(
        default_factory=lambda: MappingProxyType({})
    )
    everywhere: ResidualsValue | None = None

    def of(self, names: tuple[str, ...]) -> ResidualsValue | None:
        """Gives what is added to the evaluation of some branches together, if anything is.

        Args:
            names: The branches; none for a sample without branches.
        """
        return self.parts.get(names, self.everywhere)


def summed(residuals: Iterable[object], reads: Collection[str]) -> dict[str, Any]:
    """Adds what several modules give, from the first to the last.

    Args:
        residuals: In the order of their nodes.
        reads: Names of the backbone's forward arguments that take residuals.

    Returns:
        Keyword arguments of the backbone's forward.

    Raises:
        InputError: A module gives what the backbone does not read.
    """
    total: dict[str, Any] = {}
    for each in residuals:
        given = {*each.tensors, *each.shared} if isinstance(each, ResidualsValue) else {repr(each)}
        if not isinstance(each, ResidualsValue) or not given.issubset(reads):
            raise InputError(
                f"An inner module gives the backbone {', '.join(sorted(given - {*reads}))}, and it "
                f"reads {', '.join(sorted(reads)) or 'no residuals'}: the module was made for "
                "another kind of model. Take it away, or one for this kind."
            )
        for name, value in each.tensors.items():
            total[name] = value if name not in total else _add(total[name], value)
        for name, value in each.shared.items():
            total.setdefault(name, value)
    return total


def joined(residuals: Sequence[ResidualsValue]) -> ResidualsValue:
    """Gives what one module adds for several pictures.

    Args:
        residuals: One for each picture, in order.
    """
    names = {name for each in residuals for name in (*each.tensors, *each.shared)}
    total = summed(residuals, names)
    shared = {name: total.pop(name) for each in residuals for name in each.shared if name in total}
    return ResidualsValue(tensors=total, shared=shared)


def _add(
    one: Tensor | tuple[Tensor, ...], other: Tensor | tuple[Tensor, ...]
) -> Tensor | tuple[Tensor, ...]:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one + other
    # Modules of unequal depth: as in Diffusers, what goes beyond the shallower one is left out.
    return tuple(first + second for first, second in zip(one, other, strict=False))


ControlPicture = Annotated[ControlPictureValue, Kind("control_picture")]
