"""Steps of loops that a block runs by itself, told to those who watch the run.

The graph's own loops are folded by the executor, which tells of each step. An opaque block has a
loop inside that nobody folds: it asks ``watcher`` whom to tell, and is told there whether to stop.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

__all__ = ["InnerStep", "Watcher", "told_of_by", "watcher", "watching"]


@dataclass(slots=True, kw_only=True)
class InnerStep:
    """One step of a loop inside a block.

    Attributes:
        index: How many steps are done.
        count: How many there are in all, where the block knows.
        since: When the loop began, as ``time.perf_counter`` tells it.
        can_stop: Whether the block ends the loop where ``stop`` is set.
        stop: Set by an observer that wants the loop to end here and the run to go on.
        values: By name what observers asked for with ``step_values`` and may replace; None where
            the step is told for the progress alone.
        timestep: Where the step stands on the schedule, with ``values``.
        owner: What runs the loop, with ``values``: the pipeline of a library below.
    """

    index: int
    count: int | None
    since: float
    can_stop: bool = False
    stop: bool = False
    values: dict[str, Any] | None = None
    timestep: Any = None
    owner: Any = None


class Watcher(Protocol):
    """Who is told of the inner steps of a run."""

    @property
    def step_values(self) -> Sequence[str]:
        """Names of the values that somebody wants to see with each step."""
        ...

    def on_inner_step(self, step: InnerStep) -> None:
        """Is told of a step; raises to end the run."""
        ...


_current: ContextVar[Watcher | None] = ContextVar("yggdrasil_watcher", default=None)


def watcher() -> Watcher | None:
    """Gives who is to be told of inner steps; None where a block is called outside of a run."""
    return _current.get()


@contextlib.contextmanager
def watching(who: Watcher) -> Iterator[None]:
    """Has blocks that run within tell of their steps.

    Args:
        who: Is told.
    """
    before = _current.set(who)
    try:
        yield
    finally:
        _current.reset(before)


def told_of_by(observers: Sequence[object]) -> tuple[Watcher, ...]:
    """Gives those of a run's observers that want to be told of inner steps."""
    return tuple(each for each in observers if hasattr(each, "on_inner_step"))  # type: ignore[misc] # looked at
