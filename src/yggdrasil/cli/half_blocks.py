"""A picture in a terminal: each character is two pixels, one above the other."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image
from rich.color import Color
from rich.console import Console, ConsoleOptions
from rich.segment import Segment
from rich.style import Style

__all__ = ["HalfBlocks", "can_show"]

_COLOURS = ("256", "truecolor")
_WIDEST = 64


def can_show(console: Console) -> bool:
    """Says whether a terminal is there, with enough colours, and moves its cursor."""
    return (
        console.is_terminal
        and not console.is_dumb_terminal
        and not console.no_color
        and console.color_system in _COLOURS
        and console.encoding.startswith("utf")
    )


class HalfBlocks:
    """Draws a picture with upper half blocks, as large as fits.

    Args:
        picture: The picture.
        rows: The most lines that it may take.
    """

    def __init__(self, picture: Image.Image, rows: int) -> None:
        self._picture = picture.convert("RGB")
        self._rows = rows
        self._made: tuple[tuple[int, int], list[Segment]] | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        """Gives the picture's lines."""
        width, height = self._picture.size
        scale = min(min(options.max_width, _WIDEST) / width, 2 * max(self._rows, 1) / height)
        size = max(round(width * scale), 1), max(round(height * scale), 2)
        # A live display asks again and again.
        if self._made is None or self._made[0] != size:
            self._made = (size, list(self._segments(size)))
        yield from self._made[1]

    def _segments(self, size: tuple[int, int]) -> Iterator[Segment]:
        pixels = np.asarray(self._picture.resize(size, Image.Resampling.BILINEAR))
        for upper, lower in zip(pixels[0:-1:2], pixels[1::2], strict=True):
            for above, below in zip(upper.tolist(), lower.tolist(), strict=True):
                style = Style(color=Color.from_rgb(*above), bgcolor=Color.from_rgb(*below))
                yield Segment("▀", style)
            yield Segment.line()
