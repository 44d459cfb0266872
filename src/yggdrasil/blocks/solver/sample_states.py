"""The state of a batch whose samples stand at steps of their own.

A solver's run over one sample is its *way*: the timesteps that it visits, and a row of coefficients
for each step. A state holds for each sample its way and how far along it is. So samples of
different runs, of different lengths, can be put into one batch after any step, and taken out again;
nothing in a step but the model sees more than one sample.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import torch
from torch import Tensor

from yggdrasil.core.errors import InputError
from yggdrasil.core.values import SolverStateValue

__all__ = ["Coefficients", "SampleStates", "Way"]

Coefficients = Mapping[str, float | Tensor]
"""A step's numbers by name, each one that float32 holds: a number, a float32 scalar in main memory,
or ``b 1 1 1`` where samples are at other steps. All of them give latents the same bits, except that
on a GPU, which multiplies by the reciprocal of a number, quotients may differ in the last one."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Way:
    """What a run over one sample visits.

    Attributes:
        timesteps: ``n``, one an evaluation of the model, where the latents are.
        columns: The names of the coefficients.
        table: ``n+1 columns``, float32, in main memory; the last row is that of the end.
        beyond: How many further evaluations of the schedule are left to another model.
    """

    timesteps: Tensor
    columns: tuple[str, ...]
    table: Tensor
    beyond: int = 0

    def __len__(self) -> int:
        """Gives how many evaluations it takes."""
        return len(self.timesteps)

    def __getstate__(self) -> dict[str, Any]:
        """Leaves out what is made of the rest."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @functools.cached_property
    def each(self) -> tuple[Tensor, ...]:
        """The timesteps one by one, scalars."""
        return self.timesteps.unbind()

    @functools.cached_property
    def rows(self) -> tuple[Coefficients, ...]:
        """The table as numbers, which spare the arithmetic of a scalar tensor at each step."""
        return tuple(dict(zip(self.columns, row, strict=True)) for row in self.table.tolist())


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleStates(SolverStateValue):
    """Where each sample of a batch stands.

    What a state says of the whole batch (``timesteps``, ``index``, ``count``) it says of the sample
    that has the most left to do, so a batch is done when all of its samples are.

    Attributes:
        ways: Of each sample.
        places: How many evaluations each sample has done.
        history: What the solver remembers of earlier steps, each ``b c h w``.
        aligned: Whether all samples stand at the same step of one way.
    """

    ways: tuple[Way, ...]
    places: tuple[int, ...]
    history: tuple[Tensor, ...] = ()
    aligned: bool

    @classmethod
    def of(
        cls,
        latents: Tensor,
        ways: tuple[Way, ...],
        places: tuple[int, ...],
        history: tuple[Tensor, ...] = (),
    ) -> Self:
        """Makes a state of what its samples are.

        Args:
            latents: ``b c h w``.
            ways: Of each sample.
            places: How many evaluations each sample has done.
            history: What the solver remembers.
        """
        last = max(range(len(ways)), key=lambda sample: len(ways[sample]) - places[sample])
        count = len(ways)
        return cls(
            latents=latents,
            timesteps=ways[last].timesteps,
            index=places[last],
            internals={},
            beyond=ways[last].beyond,
            ways=ways,
            places=places,
            history=history,
            aligned=ways.count(ways[0]) == count and places.count(places[0]) == count,
        )

    @classmethod
    def stack(cls, states: Sequence[Self]) -> Self:
        """Puts the samples of several states into one, in order.

        Args:
            states: At least one; made by solvers of one type, for latents of one shape.

        Raises:
            InputError: They do not go together.
        """
        if not states:
            raise InputError("There are no states to stack: give at least one.")
        first = states[0]
        for other in states[1:]:
            _check_alike(first, other)
        return cls.of(
            torch.cat([state.latents for state in states]),
            tuple(way for state in states for way in state.ways),
            tuple(place for state in states for place in state.places),
            tuple(torch.cat(parts) for parts in zip(*(s.history for s in states), strict=True)),
        )

    def take(self, samples: Sequence[int]) -> Self:
        """Gives the state of some of the samples.

        Args:
            samples: Which ones, by number from 0, in the order wanted.

        Raises:
            InputError: There is no such sample, or none is named.
        """
        count = len(self.ways)
        wrong = [number for number in samples if not 0 <= number < count]
        if wrong or not samples:
            raise InputError(
                f"samples is {list(samples)}, of a state of {count}: name at least one, from 0 to "
                f"{count - 1}."
            )
        picked = torch.tensor(list(samples), device=self.latents.device)
        return type(self).of(
            self.latents[picked],
            tuple(self.ways[number] for number in samples),
            tuple(self.places[number] for number in samples),
            tuple(part[picked] for part in self.history),
        )

    @property
    def finished(self) -> tuple[bool, ...]:
        """Whether each sample has no step left."""
        return tuple(place >= len(way) for way, place in zip(self.ways, self.places, strict=True))

    def current_timesteps(self) -> Tensor:
        """Gives the timestep that is next: a scalar where samples are aligned, else ``b``.

        A sample that is finished gives its last one.
        """
        if self.aligned:
            each = self.ways[0].each
            return each[min(self.places[0], len(each) - 1)]
        return torch.stack(
            [
                way.timesteps[min(place, len(way) - 1)]
                for way, place in zip(self.ways, self.places, strict=True)
            ]
        )

    def numbers(self) -> Coefficients:
        """Gives each sample's row of its table by column, as cheaply as there is.

        Returns:
            Numbers where samples are aligned, else ``b 1 1 1`` where the latents are.
        """
        if self.aligned:
            return self.ways[0].rows[self.places[0]]
        return self.coefficients()

    def moved(self, latents: Tensor, history: tuple[Tensor, ...]) -> Self:
        """Gives the next state; samples that were finished stay as they were.

        Args:
            latents: Of the next state, ``b c h w``.
            history: What the solver is to remember.
        """
        if self.aligned and self.index < self.count:
            place = self.index + 1
            return type(self)(
                latents=latents,
                timesteps=self.timesteps,
                index=place,
                internals=self.internals,
                beyond=self.beyond,
                ways=self.ways,
                places=(place,) * len(self.places),
                history=history,
                aligned=True,
            )
        finished = self.finished
        if any(finished):
            done = torch.tensor(finished, device=latents.device)
            done = done.view(-1, *(1,) * (latents.ndim - 1))
            latents = torch.where(done, self.latents, latents)
            history = tuple(
                torch.where(done, old, new) for old, new in zip(self.history, history, strict=True)
            )
        places = tuple(
            place + (not done) for place, done in zip(self.places, finished, strict=True)
        )
        return self.of(latents, self.ways, places, history)

    def coefficients(self) -> Mapping[str, Tensor]:
        """Gives each sample's row of its table by column.

        Returns:
            Scalars in main memory where samples are aligned, else ``b 1 1 1`` where the latents
            are; both multiply latents to the same bits.
        """
        columns = self.ways[0].columns
        if self.aligned:
            return dict(zip(columns, self.ways[0].table[self.places[0]].unbind(), strict=True))
        rows = [way.table[place] for way, place in zip(self.ways, self.places, strict=True)]
        table = torch.stack(rows, dim=1).to(self.latents.device)
        shape = (len(columns), len(rows), *(1,) * (self.latents.ndim - 1))
        return dict(zip(columns, table.view(shape).unbind(), strict=True))


def _check_alike(first: SampleStates, other: SampleStates) -> None:
    ways = first.ways[0].columns, other.ways[0].columns
    if ways[0] != ways[1] or len(first.history) != len(other.history):
        raise InputError(
            f"States of different solvers cannot be stacked: one goes by {', '.join(ways[0])}, "
            f"the other by {', '.join(ways[1])}."
        )
    mine, others = first.latents, other.latents
    if (mine.shape[1:], mine.dtype, mine.device) != (others.shape[1:], others.dtype, others.device):
        raise InputError(
            f"Latents of {_show(mine)} and of {_show(others)} cannot be stacked: samples of one "
            "batch have one size, dtype and device."
        )


def _show(latents: Tensor) -> str:
    dtype = str(latents.dtype).removeprefix("torch.")
    return f"{dtype}{list(latents.shape[1:])} on {latents.device}"
