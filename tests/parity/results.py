"""What was measured, in a file for each family."""

from __future__ import annotations

import json
from dataclasses import astuple
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers

from tests.parity.cells import Cell

__all__ = ["DOCS", "VERSIONS", "is_exact", "read", "write"]

DOCS = Path(__file__).parents[2] / "docs"
VERSIONS = {
    "diffusers": diffusers.__version__,
    "torch": torch.__version__.partition("+")[0],
    "transformers": transformers.__version__,
}


def read(family: str) -> dict[Cell, dict[str, Any]]:
    """Gives the results of a family that were measured with the versions at hand.

    Args:
        family: Its name.
    """
    path = _path(family)
    rows = json.loads(path.read_text(encoding="utf-8"))["cells"] if path.is_file() else []
    return {Cell(*row.pop("cell")): row for row in rows if row["versions"] == VERSIONS}


def write(family: str, known: dict[Cell, dict[str, Any]]) -> None:
    """Writes the results of a family, a line for each cell.

    Args:
        family: Its name.
        known: Results by cell.
    """
    path = _path(family)
    path.parent.mkdir(exist_ok=True)
    lines = ",\n".join(
        json.dumps({"cell": astuple(cell), **row}) for cell, row in sorted(known.items())
    )
    path.write_text(f'{{"cells": [\n{lines}\n]}}\n', encoding="utf-8")


def is_exact(row: dict[str, Any]) -> bool:
    """Says whether every bit of a result is the same."""
    return "error" not in row and not any(row["differences"].values())


def _path(family: str) -> Path:
    return DOCS / "parity" / f"{family}.json"
