"""``yggdrasil train``."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from yggdrasil.cli.output import note
from yggdrasil.cli.quiet import quiet_libraries
from yggdrasil.pipelines.live.interrupt import InterruptRequest
from yggdrasil.pipelines.recipes import Phase, find_recipe, read_recipe, run_recipe
from yggdrasil.pipelines.training import TrainingPipeline
from yggdrasil.training.datasets.shapes.adherence import (
    GUIDANCE_SCALE,
    STEPS,
    measure_adherence,
)
from yggdrasil.training.trainer import StepReport, Trainer

__all__ = ["run"]

_PROMPTS = 100


@quiet_libraries()
def run(recipe: str, output: Path, *, resume: bool, evaluate_every: int, threads: int) -> None:
    """Trains a recipe's phases with progress, and says where the model is.

    Ctrl-C ends the run after the step it is in, with a checkpoint; the same command goes on from
    it. A second Ctrl-C ends it at once, and so does one before the first step.
    """
    if threads:
        torch.set_num_threads(threads)
    parsed = read_recipe(find_recipe(recipe))
    folder = output / parsed.name
    console = Console()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}"),
    )
    saved: list[Path] = []
    with (
        _told_where(saved),
        Progress(*columns, console=console) as progress,
        InterruptRequest() as stop,
    ):

        def observers(phase: Phase, trainer: Trainer, pipeline: TrainingPipeline) -> Sequence[Any]:
            watchers: list[Any] = [_Bar(progress, phase, trainer.step)]
            if evaluate_every and phase.wiring == "corrupt":
                log = folder / phase.name / "adherence.jsonl"
                watchers.append(_Evaluation(pipeline, trainer, evaluate_every, log, console))
            return [*watchers, _Stop(stop, trainer, saved)]

        model = run_recipe(parsed, folder, observers=observers, resume=resume)
    line = f"The model is in [bold]{escape(str(model))}[/]."
    console.print(line, highlight=False, soft_wrap=True)


@contextlib.contextmanager
def _told_where(saved: list[Path]) -> Iterator[None]:
    """Says, once the display is gone, which checkpoint an interrupted run left behind."""
    try:
        yield
    except KeyboardInterrupt:
        for path in saved:
            note(f"The run is kept in {path}; the same command goes on from it.")
        raise


class _Bar:
    """Shows a phase as a bar with its loss."""

    def __init__(self, progress: Progress, phase: Phase, done: int) -> None:
        self._progress = progress
        self._task = progress.add_task(
            phase.name, total=phase.settings.steps, completed=done, figures=""
        )

    def on_step(self, report: StepReport) -> None:
        """Moves the bar."""
        figures = f"loss {report['loss']:.4f}  lr {report['lr']:.1e}"
        self._progress.update(self._task, completed=report["step"], figures=figures)


class _Stop:
    """Ends a run when Ctrl-C was pressed, with a checkpoint to go on from."""

    def __init__(self, stop: InterruptRequest, trainer: Trainer, saved: list[Path]) -> None:
        stop.awaited = False  # until the first step of the phase
        self._stop = stop
        self._trainer = trainer
        self._saved = saved

    def on_step(self, report: StepReport) -> None:
        """Looks whether Ctrl-C was pressed during the step."""
        self._stop.awaited = True
        if self._stop.requested:
            self._saved.append(self._trainer.save())
            raise KeyboardInterrupt


class _Evaluation:
    """Measures prompt adherence now and then, with the moving average of the weights."""

    def __init__(
        self,
        pipeline: TrainingPipeline,
        trainer: Trainer,
        every: int,
        log: Path,
        console: Console,
    ) -> None:
        self._pipeline = pipeline
        self._trainer = trainer
        self._every = every
        self._log = log
        self._console = console

    def on_step(self, report: StepReport) -> None:
        """Measures when it is time, and goes on with the trained weights."""
        if report["step"] % self._every:
            return
        restore = self._trainer.swap_in_average()
        blocks = [self._pipeline.graph.block(name) for name in self._pipeline.train_nodes]
        for block in blocks:
            block.eval()
        try:
            line = {"step": report["step"], "seconds": report["seconds"], **self._measure(report)}
        finally:
            for block in blocks:
                block.train()
            restore()
        with self._log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def _measure(self, report: StepReport) -> dict[str, Any]:
        pipe = self._pipeline.inference(task="txt2img", cache_limit=0)
        pipe.set_progress_bar_config(disable=True)

        def paint(prompts: Sequence[str]) -> Sequence[Any]:
            result = pipe(prompts, seed=0, num_inference_steps=STEPS, guidance_scale=GUIDANCE_SCALE)
            return result.images  # type: ignore[no-any-return] # a result's pictures are of any type

        measured: dict[str, Any] = {"guidance_scale": GUIDANCE_SCALE}
        for name, kept_out in (("seen", False), ("kept_out", True)):
            result = measure_adherence(paint, _PROMPTS, kept_out=kept_out)
            measured[name] = {"right": result.right, **result.parts}
            self._console.print(f"step {report['step']}, {name}: {result}", highlight=False)
        return measured
