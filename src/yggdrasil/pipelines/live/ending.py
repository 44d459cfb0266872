"""Whether a run went to its end."""

from __future__ import annotations

from yggdrasil.core.executor import StepEvent
from yggdrasil.core.inner_steps import InnerStep
from yggdrasil.core.plan import Call

__all__ = ["Ending"]


class Ending:
    """Notes where other observers ended a loop before its time; it must be told after them.

    Attributes:
        stopped_after: The last step that was done and how many there were to be, if so.
    """

    def __init__(self) -> None:
        self.stopped_after: tuple[int, int | None] | None = None

    def on_call(self, call: Call) -> None:
        """Ignores what is no step."""

    def on_inner_step(self, step: InnerStep) -> None:
        """Looks whether a loop inside a block ends here."""
        self.on_step(step)

    def on_step(self, event: StepEvent | InnerStep) -> None:
        """Looks whether the loop ends here."""
        if event.stop and event.index != event.count:
            self.stopped_after = (event.index, event.count)
