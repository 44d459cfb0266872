"""The timesteps of a run one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from yggdrasil.core.errors import InputError
from yggdrasil.core.values import SolverStateValue

__all__ = ["Visit", "Visits", "check_unfinished"]


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

        Raises:
            InputError: No step is left.
        """
        whole, visits = self._last
        if whole is not state.timesteps:
            whole = state.timesteps
            each = whole.unbind()
            given = whole.tolist() if self._numbers else each
            visits = list(map(Visit, each, given))
            self._last = (whole, visits)
        if state.index >= len(visits):
            check_unfinished(state)
        return visits[state.index]


def check_unfinished(state: SolverStateValue) -> None:
    """Refuses a state that is after its last step.

    Args:
        state: Of a run.

    Raises:
        InputError: No step is left.
    """
    if state.index >= state.count:
        raise InputError(
            f"The solver's state is after its last step ({state.count} of {state.count}): "
            "read the result with `finish`, or begin anew with `start`."
        )
