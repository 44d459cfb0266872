"""A run in the terminal while it goes on: the step, the time that is left, a preview."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from PIL import Image
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from yggdrasil.cli.half_blocks import HalfBlocks, can_show
from yggdrasil.core.executor import StepEvent
from yggdrasil.core.plan import Call
from yggdrasil.pipelines.live.interrupt import StopOnInterrupt
from yggdrasil.pipelines.live.preview import PreviewFrame

__all__ = ["LiveDisplay"]

_WIDEST = 100
_PREVIEW_SIDE = 256
_LINES_BESIDE = 3
_NUMBERS = 23
_REFRESHES = 4


class LiveDisplay:
    """Shows one picture's run on standard error; as an observer it is told of calls and steps.

    Where standard error is no terminal nothing is shown, and previews are written to a file. A
    terminal with enough colours shows previews itself.

    Args:
        title: What is made.
        stop: Says whether Ctrl-C was pressed, if that ends the run after a step.
        preview_file: Where previews go that the terminal cannot show, if there are any.
    """

    harmless = True

    def __init__(
        self, title: str, stop: StopOnInterrupt | None = None, preview_file: Path | None = None
    ) -> None:
        self._title = title
        self._stop = stop
        self._file = preview_file
        self._console = Console(stderr=True)
        self._status = "loading"
        self._step: tuple[int, int | None] | None = None
        self._since = self._last = 0.0
        self._picture: HalfBlocks | None = None

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Shows the run within, and takes everything away again."""
        console = self._console
        try:
            if not console.is_terminal or console.is_dumb_terminal:
                yield
                return
            with Live(
                console=console,
                get_renderable=self.render,
                transient=True,
                refresh_per_second=_REFRESHES,
            ):
                yield
        finally:
            if self._file is not None:
                self._file.unlink(missing_ok=True)

    def on_call(self, call: Call) -> None:
        """Says what runs outside the loop."""
        self._status = str(call.vertex)
        self._step = None

    def on_step(self, event: StepEvent) -> None:
        """Moves the bar on."""
        self._step = (event.index, event.count)
        self._since, self._last = event.since, time.perf_counter()

    def on_preview(self, frame: PreviewFrame) -> None:
        """Shows the first sample of a preview."""
        picture = frame.images[0]
        if can_show(self._console):
            self._picture = HalfBlocks(picture, self._console.height - _LINES_BESIDE)
            return
        if self._file is None:
            return
        if not self._file.exists():
            # On the display's own console, which puts it above what is shown.
            told = f"preview: {self._file}"
            self._console.print(told, markup=False, highlight=False, soft_wrap=True)
        factor = max(_PREVIEW_SIDE // max(picture.size), 1)
        large = picture.resize(
            (picture.width * factor, picture.height * factor), Image.Resampling.NEAREST
        )
        self._file.parent.mkdir(parents=True, exist_ok=True)
        # Whoever looks at the file sees a whole picture.
        scratch = self._file.with_suffix(".partial")
        large.save(scratch, "PNG")
        scratch.replace(self._file)

    def render(self) -> RenderableType:
        """Gives what is shown now."""
        width = min(self._console.width, _WIDEST)
        table = Table.grid(padding=(0, 1), expand=False)
        table.width = width
        table.add_column(ratio=3, no_wrap=True, overflow="ellipsis")
        table.add_column(ratio=2, min_width=6)
        table.add_column(justify="right", no_wrap=True, min_width=_NUMBERS)
        index, count = self._step or (0, None)
        bar = ProgressBar(total=count, completed=index, pulse=count is None)
        table.add_row(Text(self._title), bar, self._numbers())
        lines: list[RenderableType] = [table]
        if self._picture is not None:
            lines.insert(0, self._picture)
        if self._stop is not None and self._stop.requested:
            lines.append("Stopping after this step. Ctrl-C again stops at once.")
        return Group(*lines)

    def _numbers(self) -> str:
        """Gives ``12/20 0:08 left 0:05``."""
        if self._step is None:
            return self._status
        index, count = self._step
        now = time.perf_counter()
        told = f"{index}/{count if count is not None else '?'} {_clock(now - self._since)}"
        if count is None:
            return told
        each = (self._last - self._since) / index
        return f"{told} left {_clock(each * (count - index) - (now - self._last))}"


def _clock(seconds: float) -> str:
    text = str(timedelta(seconds=max(round(seconds), 0)))
    return text.removeprefix("0:")
