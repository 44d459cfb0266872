"""``yggdrasil run``."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from yggdrasil.cli.quiet import quiet_libraries
from yggdrasil.core.errors import InputError
from yggdrasil.pipelines.runner import Runner
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
    """Runs a workflow and writes its pictures."""
    start = time.perf_counter()
    output = options.output or Path("pictures") / f"{options.workflow.stem}.png"
    format_of(output)  # a run may be long
    runner = Runner.open(
        options.workflow,
        model=options.model,
        device=options.device,
        allow_download=options.allow_download,
    )
    result = runner.run(read_inputs(options.inputs, runner.workflow.inputs))
    console = Console()
    for path in result.save(output):
        console.print(escape(str(path)), highlight=False, soft_wrap=True)
    seconds = time.perf_counter() - start
    console.print(f"[dim]{seconds:.1f} s[/]", highlight=False)


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
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise InputError(f"{text!r} is no input: write name=value, such as prompt='a cat'.")
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
            inputs[name] = _plain(value)
    return inputs


_FILES = {"$picture", "$tensor", "$array"}


def _plain(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value
