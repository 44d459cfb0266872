"""``yggdrasil demo``: a sheet of pictures beside their prompts."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw, ImageFont
from rich.console import Console
from rich.markup import escape

from yggdrasil.cli.quiet import quiet_libraries
from yggdrasil.pipelines.inference import InferencePipeline

__all__ = ["PROMPTS", "run", "sheet"]

PROMPTS = (
    "a small red circle at the left on a yellow background",
    "a large blue square in the center on a white background",
    "a large green triangle at the right on a gray background",
    "a small purple star at the top on a white background",
    "a large orange cross at the bottom on a black background",
    "a red circle left of a blue square on a white background",
    "a large white heart in the center on a blue background",
    "a small black circle at the bottom on a pink background",
)
_CELL, _GAP = 160, 12


@quiet_libraries()
def run(output: Path) -> None:
    """Generates the sheet with the model in the box and says what it took."""
    console = Console()
    start = time.perf_counter()
    # Two threads would spare a second of four on an idle machine, and take minutes on a busy one,
    # where they wait for each other at every layer.
    torch.set_num_threads(1)
    pipe = InferencePipeline.from_template("sd15_txt2img", pretrained="zoo/shapes")
    result = pipe(
        list(PROMPTS),
        num_inference_steps=20,
        guidance_scale=2.0,
        seed=list(range(len(PROMPTS))),
    )
    output.mkdir(parents=True, exist_ok=True)
    path = output / "demo.png"
    sheet(result.images, PROMPTS).save(path)
    seconds = time.perf_counter() - start
    line = f"{len(PROMPTS)} pictures in {seconds:.1f} s: [bold]{escape(str(path))}[/]"
    console.print(line, highlight=False, soft_wrap=True)


def sheet(pictures: list[Any], prompts: tuple[str, ...], columns: int = 4) -> Image.Image:
    """Lays pictures out in a grid, each over its prompt.

    Args:
        pictures: PIL pictures, shown enlarged.
        prompts: One for each.
        columns: How many stand side by side.
    """
    font = ImageFont.load_default(size=13)
    text_height = 52
    rows = -(-len(pictures) // columns)
    width = columns * (_CELL + _GAP) + _GAP
    height = rows * (_CELL + text_height + _GAP) + _GAP
    page = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(page)
    for number, (picture, prompt) in enumerate(zip(pictures, prompts, strict=True)):
        left = _GAP + number % columns * (_CELL + _GAP)
        top = _GAP + number // columns * (_CELL + text_height + _GAP)
        page.paste(picture.resize((_CELL, _CELL), Image.Resampling.NEAREST), (left, top))
        draw.rectangle((left, top, left + _CELL - 1, top + _CELL - 1), outline="#888888")
        draw.multiline_text(
            (left, top + _CELL + 4), _wrap(prompt, font), fill="black", font=font, spacing=2
        )
    return page


def _wrap(text: str, font: Any) -> str:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= _CELL or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return "\n".join(lines)
