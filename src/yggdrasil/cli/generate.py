"""``yggdrasil generate``."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from yggdrasil.cli.quiet import quiet_libraries
from yggdrasil.core.errors import InputError
from yggdrasil.hub.zoo import suggested
from yggdrasil.pipelines.inference import InferencePipeline

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


@quiet_libraries()
def run(options: GenerateOptions) -> None:
    """Makes one picture for each prompt and writes it as ``<seed>-<prompt>.png``."""
    console = Console()
    pipe = _pipeline(options)
    arguments: dict[str, Any] = {
        "negative_prompt": options.negative or None,
        "strength": options.strength,
        "image": _open(options.image),
        "mask_image": _open(options.mask),
        "width": options.width,
        "height": options.height,
    }
    guidance_scale = options.guidance_scale
    if guidance_scale is None:
        guidance_scale = suggested(options.model or "zoo/shapes").get("guidance_scale")
    for number, prompt in enumerate(options.prompts):
        seed = options.seed + number
        start = time.perf_counter()
        result = pipe(
            prompt,
            seed=seed,
            num_inference_steps=options.steps,
            guidance_scale=guidance_scale,
            **arguments,
        )
        options.output.mkdir(parents=True, exist_ok=True)
        path = options.output / f"{seed:04d}-{_slug(prompt)}.png"
        result.images[0].save(path)
        seconds = time.perf_counter() - start
        line = f"{escape(str(path))}  [dim]{seconds:.1f} s, seed {seed}[/]"
        console.print(line, highlight=False, soft_wrap=True)


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
