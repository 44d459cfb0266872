"""Choices by a step's numbers, which are one for all samples or one for each."""

from __future__ import annotations

from torch import Tensor

__all__ = ["chosen", "is_everywhere"]


def is_everywhere(number: float | Tensor, value: float) -> bool:
    """Says whether a number is known to have a value for every sample of the batch.

    Args:
        number: Of the step; ``b 1 1 1`` where samples are at other steps.
        value: Looked for. What would not change the result need not be calculated then.
    """
    return not isinstance(number, Tensor) and number == value


def chosen(mark: float | Tensor, yes: Tensor, no: Tensor) -> Tensor:
    """Gives one tensor for samples that are marked, and another for those that are not.

    Args:
        mark: Above 0 of samples that are; ``b 1 1 1`` where samples are at other steps.
        yes: ``b c h w``.
        no: ``b c h w``.
    """
    if isinstance(mark, Tensor):
        return yes.where(mark > 0, no)
    return yes if mark else no
