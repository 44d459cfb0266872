"""Cells of the parity matrix: one call each, and the reasons why some are not there."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass
from typing import Any

import diffusers
import torch

from tests.parity.families import FAMILIES, ROWS
from tests.parity.family import GLOBAL, Family, Made, Row
from tests.pipelines.conftest import generator
from yggdrasil.blocks.solver.catalog import SOLVERS

__all__ = [
    "WAYS",
    "Cell",
    "all_cells",
    "arguments",
    "given",
    "reason_against",
    "takes",
]

WAYS: Mapping[str, torch.dtype] = {
    "shared": torch.float32,
    "saved": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
"""How YggDrasil comes by the modules, and of which dtype they are: those of the pipeline of
Diffusers, through ``from_diffusers``, but for ``saved``: through ``save_pretrained`` and
``from_pretrained``."""


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """One call.

    Attributes:
        pipeline: The class in Diffusers.
        model: One of the family's.
        solver: One of the family's; empty where the pipeline has none.
        way: A key of ``WAYS``.
        feature: One of the family's or of the row's.
    """

    pipeline: str
    model: str
    solver: str
    way: str
    feature: str

    def __str__(self) -> str:
        """Gives a name for test reports."""
        return "-".join(astuple(self)).replace(" ", "_")

    @property
    def family(self) -> Family:
        """The family."""
        return ROWS[self.pipeline, self.model][0]

    @property
    def row(self) -> Row:
        """The row."""
        return ROWS[self.pipeline, self.model][1]


def all_cells(family: str | None = None) -> Iterator[Cell]:
    """Gives every cell, those first that say most.

    Each row has all its features with the solver of its model, in every way unless it says less.
    Every other solver meets the features that the family or the row names, with shared modules;
    and saved ones at the first row of a class.

    Args:
        family: Its name; of all unless given.
    """
    for each in FAMILIES.values() if family is None else [FAMILIES[family]]:
        candidates = [*_with_own_solver(each), *_with_other_solvers(each)]
        yield from (cell for cell in candidates if reason_against(cell) is None)


def _with_own_solver(family: Family) -> Iterator[Cell]:
    for way in WAYS:
        for row in family.rows:
            for feature in {**family.features, **row.features}:
                half = WAYS[way] is not torch.float32
                if not half or row.halves is None or feature in row.halves:
                    yield Cell(row.pipeline, row.model, row.solver, way, feature)


def _with_other_solvers(family: Family) -> Iterator[Cell]:
    first: dict[str, str] = {}
    for row in family.rows:
        model = first.setdefault(row.pipeline, row.model)
        for solver in family.solvers:
            if not row.solver or solver == row.solver:
                continue
            for feature in family.crossed if row.crossed is None else row.crossed:
                yield Cell(row.pipeline, row.model, solver, "shared", feature)
            if model == row.model:
                yield Cell(row.pipeline, row.model, solver, "saved", "plain")


def reason_against(cell: Cell) -> str | None:
    """Says why there is no such call in Diffusers, if there is none."""
    own = cell.row.features.get(cell.feature)
    return own if isinstance(own, str) else next(_reasons(cell, given(cell)), None)


def _reasons(cell: Cell, call: Mapping[str, Any]) -> Iterator[str]:
    unknown = sorted(call.keys() - takes(cell.pipeline))
    if unknown:
        yield f"{cell.pipeline} takes no {' and no '.join(unknown)}"
    if cell.way in cell.row.refused:
        yield cell.row.refused[cell.way]
    solver = cell.family.solvers.get(cell.solver)
    if solver is None:
        return
    for reasons, key in ((cell.row.refused, cell.solver), (solver.unlike, cell.feature)):
        if key in reasons:
            yield reasons[key]
    scheduler = getattr(diffusers, solver.scheduler)
    if "strength" in takes(cell.pipeline) and not hasattr(scheduler, cell.family.begins):
        yield f"{solver.scheduler} has no {cell.family.begins}, so it cannot begin with a picture"
    accepted = _accepted(f"solver/{cell.solver}", scheduler)
    for name in ("sigmas", "timesteps"):
        if name in call and name not in accepted:
            yield f"{solver.scheduler} takes no {name}"
    if solver.draws and isinstance(call.get("generator"), list):
        yield f"Diffusers hands {solver.scheduler} no generator"


@functools.cache
def _accepted(solver: str, scheduler: type) -> frozenset[str]:
    """Gives what a scheduler is told of its schedule; less what a solver declines."""
    refuses = SOLVERS[solver].refuses if solver in SOLVERS else frozenset()
    return frozenset(inspect.signature(scheduler.set_timesteps).parameters) - refuses


@functools.cache
def takes(pipeline: str) -> frozenset[str]:
    """Gives the arguments of a pipeline's call."""
    cls = getattr(diffusers, pipeline)
    return frozenset(inspect.signature(cls.__call__).parameters) - {"self", "kwargs"}


def given(cell: Cell, pipe: Any = None) -> dict[str, Any]:
    """Gives the arguments of a cell's call but for generators.

    Args:
        cell: The cell.
        pipe: The pipeline of Diffusers, for arguments that depend on it; without, their names alone
            can be told.
    """
    feature = cell.row.features.get(cell.feature, cell.family.features.get(cell.feature, {}))
    assert not isinstance(feature, str)
    if isinstance(feature, Made):
        feature = dict.fromkeys(feature.names, ...) if pipe is None else feature.make(pipe)
    call = {**cell.family.call, **cell.row.call, **feature}
    call = {name: value for name, value in call.items() if value is not None}
    solver = cell.family.solvers.get(cell.solver)
    needed = solver.call if solver is not None else {}
    return {name: needed.get(name, value) for name, value in call.items()}


def arguments(cell: Cell, pipe: Any, **changes: Any) -> dict[str, Any]:
    """Gives fresh arguments of a cell's call, equal ones each time.

    Args:
        cell: The cell.
        pipe: The pipeline of Diffusers.
        **changes: Laid over them.
    """
    call = {"generator": 0, "output_type": "pt", **given(cell, pipe), **changes}
    solver = cell.family.solvers.get(cell.solver)
    seeds = call.pop("generator")
    if seeds != GLOBAL and (solver is None or not solver.draws):
        several = isinstance(seeds, list)
        call["generator"] = [generator(s) for s in seeds] if several else generator(seeds)
    dtype = WAYS[cell.way]
    return {
        name: _fresh(name, value, dtype)
        for name, value in call.items()
        if name in takes(cell.pipeline)
    }


def _fresh(name: str, value: Any, dtype: torch.dtype) -> Any:
    """Gives a copy of a tensor, since Diffusers writes into some; in the dtype of the models."""
    if not isinstance(value, torch.Tensor):
        return value
    return value.to(dtype if name.endswith(("latents", "_embeds")) else value.dtype, copy=True)
