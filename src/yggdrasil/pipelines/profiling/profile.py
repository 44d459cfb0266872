"""Measuring the time and the memory of every vertex."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from yggdrasil.core.cache import size_of
from yggdrasil.core.plan import Call, Loop, Plan
from yggdrasil.pipelines.profiling.flame import to_flame
from yggdrasil.pipelines.profiling.memory import MemoryMeter, cuda_in_use, make_meter
from yggdrasil.pipelines.profiling.record import ProfileReport, VertexTime

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["Profile", "measured"]


@dataclass(slots=True)
class _Sum:
    """What one vertex took so far."""

    call: Call
    loop: str | None
    calls: int = 0
    kept: int = 0
    seconds: float = 0.0
    held: int = 0
    peak: int | None = None


class Profile:
    """The time and the memory of the vertices of runs, as a table and as a flame picture.

    Work on an accelerator is waited for after each op, so that each has its own time. What
    measuring itself takes is left out. Print it for the table.

    Args:
        memory: Whether to measure memory; see ``make_meter`` for how exact that is.
    """

    def __init__(self, *, memory: bool = True) -> None:
        self._memory = memory
        self._meter: MemoryMeter | None = None
        self._graph = ""
        self._runs = 0
        self._seconds = 0.0
        self._sums: dict[tuple[str | None, str], _Sum] = {}
        self._loops: dict[int, str] = {}

    # -- measuring -------------------------------------------------------------------------------

    @contextlib.contextmanager
    def run(self, plan: Plan) -> Iterator[None]:
        """Measures one run.

        Args:
            plan: What runs.
        """
        self._graph = plan.graph_name
        self._loops = {
            id(call): str(item.vertex)
            for item in plan.items
            if isinstance(item, Loop)
            for call in (*item.body, item.until)
        }
        self._meter = make_meter() if self._memory else None
        start = time.perf_counter()
        try:
            yield
        finally:
            self._runs += 1
            self._seconds += time.perf_counter() - start

    def trace(self, call: Call, run: Callable[[Call], Any]) -> Any:
        """Runs a call and measures it."""
        entered = time.perf_counter()
        total = self._sum(call)
        if self._meter is not None:
            self._meter.begin()
        _wait()
        start = time.perf_counter()
        result = run(call)
        _wait()
        taken = time.perf_counter() - start
        total.seconds += taken
        total.calls += 1
        total.held = max(total.held, size_of(result))
        if self._meter is not None:
            peak = self._meter.end()
            total.peak = peak if total.peak is None else max(total.peak, peak or 0)
        self._seconds -= time.perf_counter() - entered - taken  # what measuring itself took
        return result

    def on_kept(self, item: Call | Loop) -> None:
        """Counts what the cache held."""
        for call in item.body if isinstance(item, Loop) else (item,):
            self._sum(call).kept += 1

    def _sum(self, call: Call) -> _Sum:
        loop = self._loops.get(id(call))
        return self._sums.setdefault((loop, str(call.vertex)), _Sum(call, loop))

    # -- what was measured -----------------------------------------------------------------------

    def report(self) -> ProfileReport:
        """Gives what was measured so far as records."""
        return ProfileReport(
            graph=self._graph,
            runs=self._runs,
            seconds=self._seconds,
            vertices=tuple(
                VertexTime(
                    vertex=str(each.call.vertex),
                    type_name=each.call.block.type_name or type(each.call.block).__name__,
                    role=each.call.block.role,
                    loop=each.loop,
                    calls=each.calls,
                    kept=each.kept,
                    seconds=each.seconds,
                    held=each.held,
                    peak=each.peak,
                )
                for each in self._sums.values()
            ),
        )

    def to_svg(self) -> str:
        """Draws the flame picture: the wider, the longer it took; tips tell the numbers."""
        return to_flame(self.report())

    def save(self, path: str | Path) -> None:
        """Writes the flame picture as an SVG file."""
        Path(path).write_text(self.to_svg(), encoding="utf-8")

    def table(self) -> Table:
        """Gives the table, for rich to print."""
        from yggdrasil.pipelines.profiling.table import to_table  # noqa: PLC0415 - rich is large

        return to_table(self.report())

    def __rich__(self) -> Table:
        """Gives the table to rich's ``print``."""
        return self.table()

    def __str__(self) -> str:
        """Gives the table as text."""
        from yggdrasil.pipelines.profiling.table import to_text  # noqa: PLC0415 - rich is large

        return to_text(self.report())

    def _repr_html_(self) -> str:
        """Shows table and flame picture in a notebook."""
        from yggdrasil.pipelines.profiling.table import to_html  # noqa: PLC0415 - rich is large

        return to_html(self.report())

    def _repr_svg_(self) -> str:
        """Shows the flame picture."""
        return self.to_svg()


def measured(profile: Profile | None, plan: Plan) -> contextlib.AbstractContextManager[None]:
    """Measures a run, if there is something to measure it with."""
    return contextlib.nullcontext() if profile is None else profile.run(plan)


def _wait() -> None:
    """Waits for the accelerator, if one is in use: it works on while Python goes ahead."""
    accelerator = torch.accelerator.current_accelerator()
    if accelerator is None or not torch.accelerator.is_available():
        return
    if accelerator.type != "cuda" or cuda_in_use():
        torch.accelerator.synchronize()
