"""Stable Diffusion 1.x and 2.x against Diffusers, on the same modules, to the bit."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest

from tests.parity.cells import (
    PIPELINES,
    SCHEDULERS,
    Cell,
    all_cells,
    arguments,
    measure,
    pipelines,
    reason_against,
)
from tests.parity.covering import Pair, covering_pairs, pairs_of
from yggdrasil.blocks.solver.catalog import SOLVERS
from yggdrasil.core.errors import InputError
from yggdrasil.hub.zoo_models import zoo_models

pytestmark = pytest.mark.parity

_HERE = [cell for cell in all_cells() if cell.model != "zoo" or "zoo/shapes" in zoo_models()]
_SOLVER, _FEATURE = 2, 3
# What a solver can go wrong with: its generators, and the size of its batch.
_FEATURES_OF_SOLVERS = ("plain", "list of generators")


def _counts(pair: Pair) -> bool:
    """Leaves most pairs of a solver and a feature to the slow tests: they are many."""
    return pair[0] != _SOLVER or pair[2] != _FEATURE or pair[3] in _FEATURES_OF_SOLVERS


_QUICK = covering_pairs(_HERE, _counts)
_ALL = covering_pairs(_HERE)


@pytest.mark.parametrize("cell", _QUICK, ids=str)
def test_no_bit_differs(cell: Cell) -> None:
    difference = measure(cell)
    assert difference.is_none, f"{cell}: {difference}"


@pytest.mark.slow
@pytest.mark.parametrize("cell", sorted(set(_ALL) - set(_QUICK)), ids=str)
def test_no_bit_differs_with_any_feature(cell: Cell) -> None:
    difference = measure(cell)
    assert difference.is_none, f"{cell}: {difference}"


@pytest.mark.parametrize(("chosen", "counts"), [(_QUICK, _counts), (_ALL, lambda _: True)])
def test_the_covering_set_holds_every_pair_of_values(
    chosen: list[Cell], counts: Callable[[Pair], bool]
) -> None:
    covered = set().union(*map(pairs_of, chosen))
    assert all(pair in covered for cell in _HERE for pair in pairs_of(cell) if counts(pair))


@pytest.mark.parametrize("task", PIPELINES)
def test_a_difference_would_be_seen(task: str) -> None:
    cell = Cell(task, "sd15", "euler_a", "plain")
    for change in ({"guidance_scale": 6.001}, {"seed": 1, "generator": None}):
        difference = measure(cell, **change)
        assert difference.latents > 0
        assert difference.images > 0


def test_every_solver_has_cells() -> None:
    flow = {"flow_euler", "flow_heun", "flow_lcm"}  # for other models than these
    assert {name.removeprefix("solver/") for name in SOLVERS} - flow <= set(SCHEDULERS)


_LEFT_OUT = [
    cell
    for task in PIPELINES
    for solver in SCHEDULERS
    if reason_against(cell := Cell(task, "sd15", solver, "plain"))
]


@pytest.mark.parametrize("cell", _LEFT_OUT, ids=str)
def test_diffusers_cannot_begin_with_a_picture_where_a_cell_is_left_out(cell: Cell) -> None:
    theirs, ours = pipelines(cell)
    with pytest.raises(AttributeError, match="has no attribute 'add_noise'"):
        theirs(**arguments(cell))
    with pytest.raises(InputError, match=f"solver/{cell.solver} cannot begin with a picture"):
        ours(**arguments(cell))


def test_diffusers_takes_no_arguments_where_a_feature_is_left_out() -> None:
    for feature, name in (("rescale", "guidance_rescale"), ("given latents", "latents")):
        for task, pipeline in PIPELINES.items():
            takes = name in inspect.signature(pipeline.__call__).parameters
            assert takes is (reason_against(Cell(task, "sd15", "ddim", feature)) is None)
