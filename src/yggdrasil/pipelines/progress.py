"""A progress bar over the steps of a run."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any, Self

from tqdm.auto import tqdm

from yggdrasil.core.executor import StepEvent
from yggdrasil.core.inner_steps import InnerStep
from yggdrasil.core.plan import Call

__all__ = ["ProgressBar"]


class ProgressBar:
    """Shows one bar for each loop, as Diffusers does, with the time that is left.

    Args:
        options: Keyword arguments of ``tqdm``, such as ``disable`` or ``desc``.
    """

    def __init__(self, **options: Any) -> None:
        self._options = options
        self._bar: Any = None

    def __enter__(self) -> Self:
        """Starts with no bar: it appears with the first step."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes the bar."""
        if self._bar is not None:
            self._bar.close()

    def on_call(self, call: Call) -> None:
        """Ignores what is no step."""

    def on_inner_step(self, step: InnerStep) -> None:
        """Moves the bar on for a loop inside a block."""
        if step.values is None:
            self.on_step(step)

    def on_step(self, event: StepEvent | InnerStep) -> None:
        """Moves the bar on."""
        if event.index == 1:
            if self._bar is not None:
                self._bar.close()
            self._bar = tqdm(total=event.count, **self._options)
            if not self._bar.disable:
                # The bar appears with the first step, which took its time too: counted from here,
                # two steps done in the time of one would halve the estimate.
                began = self._bar.start_t - (time.perf_counter() - event.since)
                self._bar.start_t = self._bar.last_print_t = began
        if self._bar is not None:
            self._bar.update()
