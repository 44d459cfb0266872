"""The timesteps of a run one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from yggdrasil.core.values import SolverStateValue

__all__ = ["Visit", "Visits"]


class Visit(NamedTuple):
    """One evaluation of a run.

    Attributes:
        timestep: A scalar, where the latents are.
        given: The same as the scheduler's ``step`` takes it.
    """

    timestep: Tensor
    given: Tensor | int


class Visits:
    """Takes the timesteps of a run apart once, instead of one out at every step.

    Args:
        numbers: Whether ``step`` is given numbers: then the timesteps are read at the first step,
            and a GPU is not waited for at the others.
    """

    def __init__(self, *, numbers: bool) -> None:
        self._numbers = numbers
        self._last: tuple[Tensor, Sequence[Visit]] = (torch.empty(0), ())

    def at(self, state: SolverStateValue) -> Visit:
        """Gives where a state stands.

        Args:
            state: With a step left.
        """
        whole, visits = self._last
        if whole is not state.timesteps:
            whole = state.timesteps
            each = whole.unbind()
            given = whole.tolist() if self._numbers else each
            visits = list(map(Visit, each, given))
            self._last = (whole, visits)
        return visits[state.index]
