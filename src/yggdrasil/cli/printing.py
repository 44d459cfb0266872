"""Texts from files that anyone may have written, as a terminal may show them."""

from __future__ import annotations

__all__ = ["printable"]


def printable(text: str) -> str:
    """Writes out what is no sign to be seen, such as the escape that begins a terminal's commands.

    Args:
        text: Of a message or a file; line breaks are kept.
    """
    return "".join(
        each if each.isprintable() or each == "\n" else each.encode("unicode_escape").decode()
        for each in text
    )
