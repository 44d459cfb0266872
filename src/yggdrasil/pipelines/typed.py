"""Inputs as people type them: ``name=value``."""

from __future__ import annotations

import json
from typing import Any

from yggdrasil.core.errors import InputError

__all__ = ["plain_value", "split_input"]


def split_input(text: str) -> tuple[str, str]:
    """Splits an input into its name and the text of its value.

    Args:
        text: ``name=value``.

    Raises:
        InputError: It is no such text.
    """
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise InputError(f"{text!r} is no input: write name=value, such as prompt='a cat'.")
    return name, value


def plain_value(text: str) -> Any:
    """Reads a value: JSON (a number, ``true``, a list), or else the text itself.

    Args:
        text: As it was typed.
    """
    try:
        return json.loads(text)
    except ValueError:
        return text
