"""Texts of a drawing, with the room that they need: there is no font to measure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from yggdrasil.core.drawing.diagram import Box
from yggdrasil.core.drawing.strokes import coord

__all__ = ["Line", "haloed", "lines_of"]

_WRAP = 34


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a box, with its size.

    Attributes:
        text: What it says.
        style: Its class in the style sheet.
        height: With the space around it.
        width: An estimate that is rather too wide.
    """

    text: str
    style: str
    height: float
    width: float


def lines_of(box: Box) -> list[Line]:
    """Gives the lines of a box: title, type, ops and the inputs that it reads."""
    lines = [_line(box.title, "node", 17, 7.6), _line(box.subtitle, "type", 14, 5.9)]
    lines += [_line(text, "op", 16, 6.9) for text in _wrapped(box.ops, " · ")]
    lines += [_line(text, "input", 13, 5.9) for text in _wrapped(box.inputs, ", ")]
    return lines


def _line(text: str, style: str, height: float, letter: float) -> Line:
    wide = sum(1.7 if ord(each) > 0x2E80 else 1.0 for each in text)
    return Line(text, style, height, wide * letter)


def _wrapped(words: Sequence[str], joint: str) -> list[str]:
    lines: list[str] = []
    for word in words:
        if lines and len(lines[-1]) + len(joint) + len(word) <= _WRAP:
            lines[-1] += joint + word
        else:
            lines.append(word)
    return lines


def haloed(text: str, style: str, x: float, y: float, anchor: str, halo: str) -> list[str]:
    """Writes a text over a soft copy of itself, so that it can be read where it crosses arrows."""
    where = f'class="{style}" x="{coord(x)}" y="{coord(y)}" text-anchor="{anchor}"'
    stroke = f'stroke="{halo}" stroke-width="4" stroke-linejoin="round"'
    return [
        f'<text {where} {stroke} aria-hidden="true">{escape(text)}</text>',
        f"<text {where}>{escape(text)}</text>",
    ]
