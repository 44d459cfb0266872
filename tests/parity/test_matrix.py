"""Pipelines of Diffusers against graphs, on the same modules, to the bit."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

import diffusers
import pytest

from tests.parity.cells import Cell, all_cells, arguments, reason_against
from tests.parity.covering import covering
from tests.parity.families import FAMILIES, ROWS
from tests.parity.family import Family
from tests.parity.measuring import DRAWS, measure, pipelines
from yggdrasil.blocks.solver.catalog import SOLVERS
from yggdrasil.core.errors import InputError

pytestmark = [
    pytest.mark.parity,
    # Diffusers passes over in silence what a model cannot read; a graph says so, and goes on.
    pytest.mark.filterwarnings("ignore:.*given, but with these inputs nothing reads:UserWarning"),
    # A picture for each prompt of a union is a list of tensors: Diffusers' processor warns of it.
    pytest.mark.filterwarnings("ignore:Passing `image` as a list of 4d torch.Tensor:FutureWarning"),
    # Of itself, where it makes a ControlNet for FLUX.
    pytest.mark.filterwarnings("ignore:`FluxPosEmbed` is deprecated:FutureWarning"),
]

_CELLS = list(all_cells())
# The model in the box is no tiny one, and sizes that FLUX was trained at are large.
_LONG = {cell for cell in _CELLS if cell.model == "zoo" or cell.feature == "a size of training"}


def _shows(cell: Cell) -> set[Hashable]:
    """Says what the quick tests want of a cell: its row, feature, solver and dtype, each once."""
    family = cell.family
    shown = {("way", family.name, cell.way), ("solver", family.begins, cell.solver)}
    if family.beside is None:
        return {
            *shown,
            ("row", cell.pipeline, cell.model),
            ("feature", family.name, cell.feature),
        }
    shown |= {("class", cell.pipeline), ("model", family.name, cell.model)}
    own = cell.feature not in family.beside.features
    return shown | ({("feature", "beside others", cell.feature)} if own else set())


def _firsts(cells: Iterable[Cell]) -> list[Cell]:
    """Gives the first cell of each class."""
    return list({cell.pipeline: cell for cell in reversed(list(cells))}.values())


_QUICK = covering([cell for cell in _CELLS if cell not in _LONG], _shows)
_OWN = [c for c in _CELLS if c.solver == c.row.solver and c.way == "shared"]
_PLAIN = [cell for cell in _OWN if cell.feature == "plain"]
_SLOW = sorted(set(_OWN) - set(_QUICK))


def _check(cell: Cell) -> None:
    differences = measure(cell)
    assert not any(differences.values()), differences


@pytest.mark.parametrize("cell", _QUICK, ids=str)
def test_no_bit_differs(cell: Cell) -> None:
    _check(cell)


@pytest.mark.slow
@pytest.mark.parametrize("cell", _SLOW, ids=str)
def test_no_bit_differs_with_any_feature(cell: Cell) -> None:
    _check(cell)


def _changed() -> tuple[list[Cell], list[Cell]]:
    """Gives the first cell of each class; apart those beside another family but for its first."""
    cells = _firsts(_PLAIN)[::-1]
    first = {cell.family.name: cell for cell in reversed(cells)}
    quick = [c for c in cells if c.family.beside is None or c == first[c.family.name]]
    return quick, [cell for cell in cells if cell not in quick]


_QUICK_CHANGED, _SLOW_CHANGED = _changed()


@pytest.mark.parametrize("cell", _QUICK_CHANGED, ids=str)
def test_a_difference_would_be_seen(cell: Cell) -> None:
    differences = measure(cell, **cell.row.change)
    del differences[DRAWS]
    assert max(differences.values()) > 1e-4, differences


@pytest.mark.slow
@pytest.mark.parametrize("cell", _SLOW_CHANGED, ids=str)
def test_a_difference_would_be_seen_with_any_class(cell: Cell) -> None:
    test_a_difference_would_be_seen(cell)


def test_the_quick_cells_show_every_row_feature_solver_and_dtype() -> None:
    shown = set().union(*map(_shows, _QUICK))
    assert set().union(*(_shows(cell) for cell in _CELLS if cell not in _LONG)) == shown


def test_every_solver_has_cells() -> None:
    used = {
        solver.node or f"solver/{name.partition(' ')[0]}"
        for family in FAMILIES.values()
        for name, solver in family.solvers.items()
    }
    assert SOLVERS.keys() <= used


def test_every_class_has_a_cell_for_each_solver_or_a_reason() -> None:
    there = set(_CELLS)
    crossed = [(family, row) for family, row in ROWS.values() if row.crossed is None]
    assert {row.pipeline for _, row in crossed} == {pipeline for pipeline, _ in ROWS}
    for family, row in crossed:
        for solver in family.solvers if row.solver else ():
            plain = Cell(row.pipeline, row.model, solver, "shared", "plain")
            assert plain in there or reason_against(plain)


def _without_a_picture() -> list[Cell]:
    """Gives the calls that are no cells, since a scheduler cannot begin with a picture."""
    return [
        cell
        for family in FAMILIES.values()
        for row in family.rows
        for solver in family.solvers
        if "cannot begin"
        in (reason_against(cell := Cell(row.pipeline, row.model, solver, "shared", "plain")) or "")
    ]


@pytest.mark.parametrize("cell", _firsts(_without_a_picture()), ids=str)
def test_diffusers_cannot_begin_with_a_picture_where_a_cell_is_left_out(cell: Cell) -> None:
    theirs, ours = pipelines(cell)
    with pytest.raises((AttributeError, ValueError), match=r"has no attribute|custom sigmas"):
        theirs(**arguments(cell, theirs))
    if cell.family.begins == "add_noise":  # where flows have none, it begins by their sigmas
        with pytest.raises(InputError, match="cannot begin with a picture"):
            ours(**arguments(cell, theirs))


_CANNOT = "does not support|unexpected keyword argument|not supported between|must be passed"


@pytest.mark.parametrize("family", [f for f in FAMILIES.values() if f.refused])
def test_schedulers_that_are_left_out_are_refused_by_diffusers(family: Family) -> None:
    row = family.rows[0]
    cell = Cell(row.pipeline, row.model, row.solver, "shared", "plain")
    theirs, _ = pipelines(cell)
    for name in family.refused:
        scheduler = getattr(diffusers, name)
        theirs.scheduler = scheduler.from_config(theirs.scheduler.config)
        with pytest.raises((TypeError, ValueError), match=_CANNOT):
            theirs(**arguments(cell, theirs))


def _refused_by_a_row() -> list[Cell]:
    """Gives the calls that are no cells, since a class does not run with a scheduler."""
    return [
        Cell(row.pipeline, row.model, solver, "shared", "plain")
        for family, row in ROWS.values()
        for solver in row.refused
        if solver in family.solvers  # others are ways
    ]


@pytest.mark.parametrize("cell", _firsts(_refused_by_a_row()), ids=str)
def test_solvers_that_a_row_leaves_out_are_refused_by_diffusers(cell: Cell) -> None:
    theirs, _ = pipelines(cell)
    with pytest.raises((TypeError, ValueError), match=_CANNOT):
        theirs(**arguments(cell, theirs))
