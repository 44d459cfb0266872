"""``yggdrasil generate``."""

from __future__ import annotations

import contextlib
import re
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import typer
from rich.markup import escape

from yggdrasil.cli.failing import INTERRUPTED
from yggdrasil.cli.live import LiveDisplay
from yggdrasil.cli.output import note, print_json, print_line, print_table
from yggdrasil.cli.quiet import quiet_libraries
from yggdrasil.core.errors import InputError
from yggdrasil.hub.zoo import suggested
from yggdrasil.pipelines.inference import InferencePipeline
from yggdrasil.pipelines.live.interrupt import StopOnInterrupt
from yggdrasil.pipelines.live.preview import Preview

__all__ = ["GenerateOptions", "run"]


@dataclass(frozen=True, kw_only=True)
class GenerateOptions:
    """The options of the command; see ``yggdrasil generate --help``."""

    prompts: list[str]
    model: str | None
    template: str | None
    output: Path
    steps: int
    guidance_scale: float | None
    negative: str
    seed: int
    image: Path | None
    mask: Path | None
    strength: float | None
    solver: str | None
    width: int | None
    height: int | None
    preview_every: int = 0
    profile: Path | None = None
    json: bool = False


@dataclass(frozen=True, kw_only=True)
class _Made:
    """One picture that was written.

    Attributes:
        path: Where.
        prompt: Of what.
        seed: Its seed.
        seconds: What it took.
        width: In pixels.
        height: In pixels.
        stopped_after: The last step and how many there were to be, if Ctrl-C ended it.
    """

    path: str
    prompt: str
    seed: int
    seconds: float
    width: int
    height: int
    stopped_after: list[int] | None


@quiet_libraries()
def run(options: GenerateOptions) -> None:
    """Makes one picture for each prompt and writes it as ``<seed>-<prompt>.png``.

    Ctrl-C ends the picture that is being made after the step it is in; it is written as
    ``<seed>-<prompt>-unfinished.png``. A second Ctrl-C, or one before the first step, ends the
    command at once. Pictures that were written stay.
    """
    pipe = _pipeline(options)
    pipe.set_progress_bar_config(disable=True)  # the display has one
    guidance_scale = options.guidance_scale
    if guidance_scale is None:
        guidance_scale = suggested(options.model or "zoo/shapes").get("guidance_scale")
    _check_pictures(pipe, options)
    given = {
        "num_inference_steps": options.steps,
        "guidance_scale": guidance_scale,
        "negative_prompt": options.negative or None,
        "strength": options.strength,
        "image": _open(options.image),
        "mask_image": _open(options.mask),
        "width": options.width,
        "height": options.height,
    }
    # To a pipeline that runs whole, None would say something.
    arguments = {name: value for name, value in given.items() if value is not None}
    made: list[_Made] = []
    interrupted = False
    profiling = contextlib.nullcontext() if options.profile is None else pipe.profile()
    with profiling as profile:
        try:
            for number in range(len(options.prompts)):
                with StopOnInterrupt() as stop:
                    made.append(_make(pipe, options, number, arguments, stop))
                if not options.json:
                    _print(made[-1])
                if stop.requested:
                    interrupted = True
                    break
        except KeyboardInterrupt:
            interrupted = True
    if options.json:
        print_json({"pictures": [asdict(each) for each in made], "interrupted": interrupted})
    if options.profile is not None and profile is not None:
        options.profile.parent.mkdir(parents=True, exist_ok=True)
        profile.save(options.profile)
        print_table(profile.table(), stderr=True)
        note(f"The flame picture is in {options.profile}.")
    if interrupted:
        note(f"Interrupted: {_count(made, len(options.prompts))}.")
        raise typer.Exit(INTERRUPTED)


def _check_pictures(pipe: InferencePipeline, options: GenerateOptions) -> None:
    """Refuses a model that makes no pictures, before its weights are loaded.

    Raises:
        InputError: It makes something else.
    """
    if "images" not in pipe.graph.outputs:
        raise InputError(
            f"{options.model or options.template} gives {', '.join(pipe.graph.outputs)} and no "
            "pictures. In Python, from_combined makes it a stage before a model that does; "
            "frames and sounds are in result.outputs."
        )


def _make(
    pipe: InferencePipeline,
    options: GenerateOptions,
    number: int,
    arguments: dict[str, Any],
    stop: StopOnInterrupt,
) -> _Made:
    """Makes and writes one picture."""
    prompt, seed = options.prompts[number], options.seed + number
    several = f"{number + 1}/{len(options.prompts)} " if len(options.prompts) > 1 else ""
    name = f"{seed:04d}-{_slug(prompt)}"
    display = LiveDisplay(f"{several}{prompt}", stop, options.output / f"{name}-preview.png")
    preview = None
    if options.preview_every:
        preview = Preview(display.on_preview, every=options.preview_every)
    start = time.perf_counter()
    with display.shown():
        result = pipe(prompt, seed=seed, observers=[stop, display], preview=preview, **arguments)
    stopped = result.metadata.get("stopped_after")
    if stopped is not None:
        name += "-unfinished"
    (path,) = result.save(options.output / f"{name}.png")
    picture = result.images[0]
    return _Made(
        path=str(path),
        prompt=prompt,
        seed=seed,
        seconds=round(time.perf_counter() - start, 3),
        width=picture.width,
        height=picture.height,
        stopped_after=stopped,
    )


def _print(made: _Made) -> None:
    told = f"{made.seconds:.1f} s, seed {made.seed}"
    if made.stopped_after is not None:
        told += f", unfinished: stopped after {_steps(made.stopped_after)}"
    print_line(f"{escape(made.path)}  [dim]{told}[/]")


def _steps(stopped_after: list[int]) -> str:
    return f"step {stopped_after[0]} of {stopped_after[1]}"


def _count(made: list[_Made], wanted: int) -> str:
    """Says how many of the pictures are whole."""
    whole = sum(each.stopped_after is None for each in made)
    unfinished = ", one unfinished" if whole < len(made) else ""
    return f"{whole} of {wanted} pictures done{unfinished}"


def _pipeline(options: GenerateOptions) -> InferencePipeline:
    if options.model is not None and options.template is None:
        return InferencePipeline.from_pretrained(options.model, solver=options.solver)
    return InferencePipeline.from_template(
        options.template or "sd15", pretrained=options.model, solver=options.solver
    )


def _open(path: Path | None) -> Any:
    if path is None:
        return None
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            return picture.convert("RGB")
    except (OSError, UnidentifiedImageError) as error:
        raise InputError(f"{path} cannot be read as a picture: {error}") from error


def _slug(prompt: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")[:60] or "picture"
