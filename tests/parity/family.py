"""What a family of the parity matrix is: its models, calls, features and solvers, as data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["GLOBAL", "Family", "Feature", "Made", "Row", "Solver"]

GLOBAL = "global"
"""In the place of a generator's seed: none is given, and PyTorch's own is seeded."""


@dataclass(frozen=True, slots=True)
class Made:
    """Arguments that depend on the model.

    Attributes:
        names: Those that are given.
        make: Makes them, for a pipeline of Diffusers; those that are None are left out.
    """

    names: tuple[str, ...]
    make: Callable[[Any], Mapping[str, Any]]


Feature = Mapping[str, Any] | Made | str
"""Arguments of a call, or, in a row, the reason why it has no such call."""


@dataclass(frozen=True, slots=True)
class Solver:
    """A scheduler with options.

    Attributes:
        scheduler: Its class in Diffusers.
        options: Laid over the configuration of the model's own.
        node: The block that is put in place of the one that the scheduler names.
        draws: Whether it draws noise from the global generator, since Diffusers' pipelines of the
            family hand it none. Such calls are made without a generator.
        call: Values for arguments that a call has.
        unlike: Features that Diffusers refuses with it, with the reasons.
    """

    scheduler: str
    options: Mapping[str, Any] = field(default_factory=dict)
    node: str | None = None
    draws: bool = False
    call: Mapping[str, Any] = field(default_factory=dict)
    unlike: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Row:
    """A pipeline class of Diffusers with a model: a row of the matrix.

    Attributes:
        pipeline: The class.
        model: A key of the family's ``models``.
        solver: The one that the model comes with, a key of the family's ``solvers``.
        call: Arguments of each call, besides the family's; those that are None are left out.
        features: Its own, and those that are other than the family's.
        change: Arguments that make a difference.
        crossed: The features that other solvers are measured with; the family's unless given.
        halves: The features that half precision is measured with; all unless given.
        refused: Solvers and ways that the class of Diffusers does not run with, with the reasons.
    """

    pipeline: str
    model: str
    solver: str
    call: Mapping[str, Any] = field(default_factory=dict)
    features: Mapping[str, Feature] = field(default_factory=dict)
    change: Mapping[str, Any] = field(default_factory=lambda: {"generator": 1})
    crossed: tuple[str, ...] | None = None
    halves: tuple[str, ...] | None = None
    refused: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Family:
    """Rows that have models, features and solvers in common.

    Attributes:
        name: Of the file of its results.
        models: Makes a pipeline of a class, by the model's name.
        call: Arguments of each call.
        features: Arguments by feature; a row has those whose arguments its class takes.
        crossed: The features that each solver is measured with.
        solvers: By name.
        begins: The method of a scheduler that puts noise on a picture.
        refused: Reasons by scheduler why Diffusers' pipelines of the family do not run with it.
        rows: The rows.
        beside: The family that these pipelines add something to. Of what they have in common its
            quick tests show enough.
    """

    name: str
    models: Mapping[str, Callable[[type], Any]]
    call: Mapping[str, Any]
    features: Mapping[str, Feature]
    crossed: tuple[str, ...]
    solvers: Mapping[str, Solver]
    begins: str
    rows: tuple[Row, ...]
    beside: Family | None = None
    refused: Mapping[str, str] = field(default_factory=dict)
