"""``yggdrasil run``."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from rich.markup import escape

from yggdrasil.cli.failing import INTERRUPTED
from yggdrasil.cli.live import LiveDisplay
from yggdrasil.cli.output import note, print_line
from yggdrasil.cli.quiet import quiet_libraries
from yggdrasil.core.errors import InputError
from yggdrasil.pipelines.live.interrupt import StopOnInterrupt
from yggdrasil.pipelines.runner import Runner
from yggdrasil.pipelines.typed import plain_value, split_input
from yggdrasil.pipelines.workflows.pictures import format_of
from yggdrasil.pipelines.workflows.schema import NO_INPUTS
from yggdrasil.pipelines.workflows.values import open_file

__all__ = ["RunOptions", "read_inputs", "run"]


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """The options of the command; see ``yggdrasil run --help``."""

    workflow: Path
    inputs: list[str]
    output: Path | None
    model: str | None
    device: str | None
    allow_download: bool


@quiet_libraries()
def run(options: RunOptions) -> None:
    """Runs a workflow and writes its pictures.

    Ctrl-C ends it after the step it is in; the picture is written as ``<name>-unfinished.png``.

    Raises:
        InputError: The run would give no pictures.
        typer.Exit: With code 130, if Ctrl-C ended it.
    """
    start = time.perf_counter()
    output = options.output or Path("pictures") / f"{options.workflow.stem}.png"
    format_of(output)  # a run may be long
    runner = Runner.open(
        options.workflow,
        model=options.model,
        device=options.device,
        allow_download=options.allow_download,
    )
    runner.pipeline.set_progress_bar_config(disable=True)  # the display has one
    inputs = read_inputs(options.inputs, runner.workflow.inputs)
    _check_output({**runner.workflow.inputs, **inputs})
    with StopOnInterrupt() as stop:
        display = LiveDisplay(str(options.workflow), stop)
        with display.shown():
            result = runner.run({**inputs, "observers": [stop, display]})
    stopped = result.metadata.get("stopped_after")
    if stopped is not None:
        output = output.with_stem(f"{output.stem}-unfinished")
    for path in result.save(output):
        print_line(escape(str(path)))
    note(f"{time.perf_counter() - start:.1f} s")
    if stopped is not None:
        note(f"Interrupted: stopped after step {stopped[0]} of {stopped[1]}.")
        raise typer.Exit(INTERRUPTED)


def _check_output(inputs: Mapping[str, Any]) -> None:
    if inputs.get("output_type") == "latent":
        raise InputError(
            "output_type is 'latent', and this command writes pictures: add output_type=pil. "
            "Runner.execute, in Python, gives latents."
        )


def read_inputs(texts: Sequence[str], known: Mapping[str, Any]) -> dict[str, Any]:
    """Reads inputs as they are typed.

    Args:
        texts: ``name=value``. The value is JSON (a number, ``true``, a list) or else a text;
            where the workflow has a text it is one. ``@file`` is a picture, tensor or text
            from a file, and so is any value where the workflow has a picture or a tensor.
        known: The workflow's own.

    Raises:
        InputError: A text is no input, or a file cannot be read.
    """
    inputs: dict[str, Any] = {}
    for text in texts:
        name, value = split_input(text)
        if name in NO_INPUTS:
            raise InputError(f"{name!r} is no input that can be typed: it is for programs.")
        if name in inputs:
            raise InputError(f"{name!r} is given twice: give it once.")
        held = known.get(name)
        if value.startswith("@") or (isinstance(held, Mapping) and held.keys() & _FILES):
            inputs[name] = open_file(Path(value.removeprefix("@")), name)
        elif isinstance(held, str):
            inputs[name] = value
        else:
            inputs[name] = plain_value(value)
    return inputs


_FILES = {"$picture", "$tensor", "$array"}
