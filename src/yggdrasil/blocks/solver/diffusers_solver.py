"""Every scheduler of Diffusers as a solver."""

from __future__ import annotations

import functools
import inspect
from typing import Any, ClassVar, NamedTuple

from torch import Tensor

from yggdrasil.blocks.batching import as_generators
from yggdrasil.blocks.solver.schedule import Visited
from yggdrasil.blocks.solver.scheduled import ScheduledSolver, Tick
from yggdrasil.blocks.solver.shell import Record, Scheduler, noised, read_shell, scales_input
from yggdrasil.blocks.solver.visits import Visits
from yggdrasil.core.errors import InputError
from yggdrasil.core.kinds import Generator, Latents, Noise
from yggdrasil.core.ports import op
from yggdrasil.core.values import BranchedValue, ModelOutput, SolverState, SolverStateValue

__all__ = ["DiffusersSolver"]


class _Manner(NamedTuple):
    """What is asked of a scheduler's class at every step."""

    scales: bool
    eta: bool
    generator: bool


class DiffusersSolver(ScheduledSolver):
    """A scheduler of Diffusers, driven through immutable states.

    Args:
        options: Values of the scheduler's configuration to be used instead, by name.

    Attributes:
        unstored: Attributes of the scheduler that states do not hold, because they cannot be
            copied or stored; each step finds them as a scheduler just made has them, or None.
        counts_timesteps: Whether ``step`` takes a timestep as a place on the training schedule and
            nothing else. It is then given as a number, which spares the arithmetic of tensors and,
            on a GPU, waiting for it.

    Raises:
        ConfigError: The scheduler has no such option.
    """

    unstored: ClassVar[tuple[str, ...]] = ()
    counts_timesteps: ClassVar[bool] = False

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._visits = Visits(numbers=self.counts_timesteps)

    @op
    def tick(self, state: SolverState) -> Tick:
        """Reads off the state what the model needs.

        Args:
            state: With a step left.

        Raises:
            InputError: No step is left.
        """
        timestep = self._visits.at(state).timestep
        if not self._manner().scales:
            return Tick(state.latents, timestep, state.index, state.count, state)
        scheduler = self._open(state.internals)
        sample = scheduler.scale_model_input(state.latents, timestep)
        # Schedulers find their place in the schedule here, and some warn where it was not done.
        seen = SolverStateValue(
            latents=state.latents,
            timesteps=state.timesteps,
            index=state.index,
            internals=self._close(scheduler),
        )
        return Tick(sample, timestep, state.index, state.count, seen)

    @op
    def step(
        self,
        state: SolverState,
        model_output: ModelOutput,
        generator: Generator | None = None,
        eta: float = 0.0,
    ) -> SolverState:
        """Takes one step.

        Args:
            state: As ``tick`` gave it.
            model_output: The prediction ``b c h w`` for the state's sample and timestep.
            generator: For the noise of stochastic solvers: one, or one for each sample.
            eta: How stochastic DDIM and TCD are, 0 to 1; other solvers do not read it.

        Raises:
            InputError: The prediction is one for each branch, or no step is left.
        """
        if isinstance(model_output, BranchedValue):
            raise InputError(
                f"The solver was given a prediction for each of the branches "
                f"{', '.join(model_output.names)}: combine them first, with a guidance block."
            )
        given = self._visits.at(state).given
        scheduler = self._open(state.internals)
        further = self._further(scheduler, state.latents, generator, eta)
        latents = scheduler.step(
            model_output,
            given,
            state.latents,
            **further,
            return_dict=False,
        )[0]
        return SolverStateValue(
            latents=latents,
            timesteps=state.timesteps,
            index=state.index + 1,
            internals=self._close(scheduler),
        )

    @op
    def renoise(self, state: SolverState, init_latents: Latents, noise: Noise) -> Latents:
        """Brings clean latents to the noise level of a state, to be put into it.

        Args:
            state: After a step.
            init_latents: Clean latents ``b c h w``.
            noise: ``b c h w``, the same at every step.

        Returns:
            ``b c h w``; the clean latents when the run is done.
        """
        if state.index >= state.count:
            return init_latents
        level = state.timesteps[state.index : state.index + 1]
        return noised(self._open(state.internals), init_latents, noise, level)

    def _first_state(
        self, latents: Tensor, visited: Visited, scheduler: Scheduler
    ) -> SolverStateValue:
        return SolverStateValue(
            latents=latents, timesteps=visited.timesteps, index=0, internals=self._close(scheduler)
        )

    def _further(
        self, scheduler: Scheduler, latents: Tensor, generator: Generator | None, eta: float
    ) -> dict[str, Any]:
        """Gives what the scheduler's ``step`` takes beside prediction, timestep and sample.

        Args:
            scheduler: About to step; it may be changed.
            latents: To step from.
            generator: As ``step`` was given it.
            eta: As ``step`` was given it.
        """
        del scheduler
        manner = self._manner()
        further: dict[str, Any] = {}
        if manner.eta:
            further["eta"] = eta
        if manner.generator:
            further["generator"] = as_generators(generator, latents.size(0))
        return further

    def _manner(self) -> _Manner:
        return _manner_of(type(self))

    def _open(self, record: Record) -> Scheduler:
        if self.unstored:
            made = self._prepare().record
            record = {**record, **{name: made.get(name) for name in self.unstored}}
        return super()._open(record)

    def _close(self, scheduler: Scheduler) -> Record:
        record = read_shell(scheduler)
        if not self.unstored:
            return record
        return {name: value for name, value in record.items() if name not in self.unstored}


@functools.cache
def _manner_of(cls: type[DiffusersSolver]) -> _Manner:
    scheduler = cls.scheduler_class()
    accepted = inspect.signature(scheduler.step).parameters  # type: ignore[attr-defined] # all have it
    return _Manner(
        scales=scales_input(scheduler), eta="eta" in accepted, generator="generator" in accepted
    )
