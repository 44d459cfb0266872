"""Ctrl-C that ends a run between two steps and keeps what is done."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

from yggdrasil.core.executor import StepEvent
from yggdrasil.core.graph import ComputeGraph
from yggdrasil.core.inner_steps import InnerStep
from yggdrasil.core.plan import Call, Plan
from yggdrasil.pipelines.live.estimate import estimate_latents, keep_predictions

__all__ = ["InterruptRequest", "StopOnInterrupt"]


class InterruptRequest:
    """Has Ctrl-C set a flag, for whoever looks at it soon.

    A second Ctrl-C raises ``KeyboardInterrupt`` at once, and so does the first while nobody would
    look. It does nothing in a thread other than the main one, which gets no signals, and where the
    process ignores them, as shells have it for what runs in the background.

    Attributes:
        requested: Whether Ctrl-C was pressed and waits to be obeyed.
        awaited: Whether somebody looks at ``requested`` soon; set by him.
    """

    def __init__(self) -> None:
        self.requested = False
        self.awaited = False
        self._previous: Any = None

    def __enter__(self) -> Self:
        """Takes Ctrl-C over."""
        before = signal.getsignal(signal.SIGINT)
        if threading.current_thread() is threading.main_thread() and before != signal.SIG_IGN:
            signal.signal(signal.SIGINT, self._on_signal)
            # None stands for a handler that was not set from Python, which cannot be set again.
            self._previous = signal.default_int_handler if before is None else before
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Gives Ctrl-C back."""
        self.awaited = False
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
            self._previous = None

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        if self.requested or not self.awaited:
            raise KeyboardInterrupt
        self.requested = True


class StopOnInterrupt(InterruptRequest):
    """Has Ctrl-C end the loop after the step that it is in, and the run go on to the decoder.

    Use it around a call, and as one of its observers::

        with StopOnInterrupt() as stop:
            result = pipe("a cat", seed=0, observers=[stop])

    The result then shows what the last step's prediction points to, an unfinished picture without
    noise, and ``result.metadata["stopped_after"]`` says the step. A second Ctrl-C raises
    ``KeyboardInterrupt`` at once; so does the first where no step is done that could be kept.

    A Diffusers pipeline that runs as one block ends its loop likewise where it has a flag for that,
    and decodes what it has; where it has none, the first Ctrl-C raises ``KeyboardInterrupt``.

    Without it, Ctrl-C raises ``KeyboardInterrupt`` wherever the run is, as everywhere in Python.
    The pipeline stays usable: encodings that were finished are kept, and nothing half done is.
    """

    harmless = True  # the result says where it was stopped

    def prepare(self, plan: Plan, graph: ComputeGraph) -> Plan:
        """Gives the plan to run in place of the given one.

        Args:
            plan: What would run.
            graph: What it was made of.
        """
        del graph
        return keep_predictions(plan)

    def on_call(self, call: Call) -> None:
        """Ignores what is no step."""

    def on_step(self, event: StepEvent) -> None:
        """Ends the loop if Ctrl-C was pressed during the step."""
        self.awaited = True
        if not self.requested or event.index == event.count:
            return
        estimate = estimate_latents(event)
        if estimate is not None:
            state = event.values[event.loop.carried]
            estimate = estimate.to(state.latents.dtype)
            event.values[event.loop.carried] = state.with_latents(estimate)
        event.stop = True

    def on_inner_step(self, step: InnerStep) -> None:
        """Ends a loop inside a block likewise, where the block can."""
        if step.values is not None or not step.can_stop:
            return
        self.awaited = True
        step.stop = step.stop or (self.requested and step.index != step.count)
