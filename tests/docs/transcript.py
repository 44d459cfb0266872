"""Commands and what they print, as a page of the documentation has them.

In a fenced block marked ``console`` a line that begins with ``$`` is a command, and what follows is
what it prints. There ``...`` stands for anything: for lines where it stands alone, else for part of
a line. Measurements (numbers with a unit of time or size, or a percent sign) and numbers with a
point stand for others of their sort, since machines and versions differ; so does white space for
white space.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

__all__ = ["Command", "difference", "read_transcript"]

_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SORTS = (
    ("time", r"\d+(?:\.\d+)? (?:µs|ms|s)\b"),
    ("size", r"\d+(?:\.\d+)? (?:B|KiB|MiB|GiB|TiB)\b"),
    ("share", r"\d+(?:\.\d+)? %"),
    ("number", r"\d+(?:\.\d+)+"),
)
_PARTS = re.compile(
    "|".join([*(f"(?P<{name}>{form})" for name, form in _SORTS), r"(?P<any>\.\.\.)"])
)


@dataclass(frozen=True)
class Command:
    """A command of a transcript: its words, what it is to print, and its line in the page."""

    words: list[str]
    expected: list[str]
    line: int


def read_transcript(page: str) -> list[Command]:
    """Reads the commands of a page."""
    commands: list[Command] = []
    for block in _BLOCK.finditer(page):
        first = page[: block.start(1)].count("\n") + 1
        for number, line in enumerate(block[1].splitlines(), first):
            if line.startswith("$ "):
                commands.append(Command(shlex.split(line[2:]), [], number))
            elif not commands or commands[-1].line < first:
                raise ValueError(f"line {number}: a block begins with a command")
            else:
                commands[-1].expected.append(line)
    return commands


def difference(expected: list[str], printed: str) -> str | None:
    """Says which line of a command's output is not as expected, or nothing where all are."""
    lines = [_plain(line) for line in printed.splitlines() if line.strip()]
    wanted = [_plain(line) for line in expected if line.strip()]
    place, free = 0, False
    for line in wanted:
        if line == "...":
            free = True
            continue
        pattern = _pattern(line)
        found = next((n for n in range(place, len(lines)) if pattern.fullmatch(lines[n])), None)
        if found is None or (found > place and not free):
            there = lines[place] if place < len(lines) else "nothing more"
            return f"expected {line!r}, and there is {there!r}"
        place, free = found + 1, False
    if place < len(lines) and not free:
        return f"{lines[place]!r} is not expected"
    return None


def _plain(line: str) -> str:
    return " ".join(line.split())


def _pattern(line: str) -> re.Pattern[str]:
    forms = {**dict(_SORTS), "any": ".*"}
    text, end = "", 0
    for part in _PARTS.finditer(line):
        text += re.escape(line[end : part.start()]) + forms[str(part.lastgroup)]
        end = part.end()
    return re.compile(text + re.escape(line[end:]))
