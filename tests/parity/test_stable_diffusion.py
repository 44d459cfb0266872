"""Stable Diffusion 1.x and 2.x against Diffusers, on the same modules, to the bit."""

from __future__ import annotations

from dataclasses import astuple, fields

import pytest

from tests.parity.cells import PIPELINES, Cell, all_cells, measure
from tests.parity.covering import covering_pairs
from yggdrasil.hub.locate import zoo_models

pytestmark = pytest.mark.parity

_HERE = [cell for cell in all_cells() if cell.model != "zoo" or "zoo/shapes" in zoo_models()]


@pytest.mark.parametrize("cell", covering_pairs(_HERE), ids=str)
def test_no_bit_differs(cell: Cell) -> None:
    difference = measure(cell)
    assert difference.is_none, f"{cell}: {difference}"


def test_the_covering_set_holds_every_pair_of_values() -> None:
    chosen = {astuple(cell) for cell in covering_pairs(_HERE)}
    for cell in _HERE:
        values = astuple(cell)
        for i in range(len(fields(Cell))):
            for j in range(i):
                assert any(c[i] == values[i] and c[j] == values[j] for c in chosen)


@pytest.mark.parametrize("task", PIPELINES)
def test_a_difference_would_be_seen(task: str) -> None:
    cell = Cell(task, "sd15", "euler_a", "plain")
    for change in ({"guidance_scale": 6.001}, {"seed": 1, "generator": None}):
        difference = measure(cell, **change)
        assert difference.latents > 0
        assert difference.images > 0
