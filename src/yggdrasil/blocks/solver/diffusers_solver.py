"""Every scheduler of Diffusers as a solver."""

from __future__ import annotations

import functools
import inspect
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from yggdrasil.blocks.batching import as_generators
from yggdrasil.blocks.solver.native_solver import NativeSolver
from yggdrasil.blocks.solver.sample_states import SampleStates
from yggdrasil.blocks.solver.schedule import Visited
from yggdrasil.blocks.solver.scheduled import ScheduledSolver, Tick
from yggdrasil.blocks.solver.shell import Record, Scheduler, noised, read_shell, scales_input
from yggdrasil.blocks.solver.visits import Visits
from yggdrasil.core.errors import ConfigError, InputError
from yggdrasil.core.kinds import Generator, Latents, Noise
from yggdrasil.core.ports import op
from yggdrasil.core.values import BranchedValue, ModelOutput, SolverState, SolverStateValue

__all__ = ["DiffusersSolver"]

_ON_TENSORS = "on_tensors"


class _Manner(NamedTuple):
    """What is asked of a scheduler's class at every step."""

    scales: bool
    eta: bool
    generator: bool


class DiffusersSolver(ScheduledSolver):
    """A scheduler of Diffusers, driven through immutable states.

    Where the solver has a twin on tensors that gives the same bits, the states are the twin's, and
    so are the steps: Diffusers' calculate each coefficient anew, on scalar tensors. That is so for
    float32 latents (others are rounded as the scheduler rounds them) and configurations that the
    twin follows.

    Args:
        options: Values of the scheduler's configuration to be used instead, by name; and
            ``on_tensors``, of solvers with a twin: whether it may take the scheduler's place.

    Attributes:
        twin: The same rule on tensors, if there is one.
        unstored: Attributes of the scheduler that states do not hold, because they cannot be
            copied or stored; each step finds them as a scheduler just made has them, or None.
        counts_timesteps: Whether ``step`` takes a timestep as a place on the training schedule and
            nothing else. It is then given as a number, which spares the arithmetic of tensors and,
            on a GPU, waiting for it.
        ends_denoised: Whether a run ends with what the last step puts noise on. A consistency model
            counts timesteps of the caller's that the strength has cut off, and noises its result.

    Raises:
        ConfigError: The scheduler has no such option, or a value is of a wrong type.
    """

    twin: ClassVar[type[NativeSolver] | None] = None
    unstored: ClassVar[tuple[str, ...]] = ()
    counts_timesteps: ClassVar[bool] = False
    ends_denoised: ClassVar[bool] = False

    _rule: tuple[object, NativeSolver | None] | None

    def __init__(self, **options: Any) -> None:
        on_tensors = options.pop(_ON_TENSORS, True) if self.twin is not None else True
        if not isinstance(on_tensors, bool):
            raise ConfigError(
                f"{self._name()}: {_ON_TENSORS} is {on_tensors!r}: give true or false."
            )
        super().__init__(**options)
        self._on_tensors = on_tensors
        self._rule = None
        self._visits = Visits(numbers=self.counts_timesteps)

    @op
    def tick(self, state: SolverState) -> Tick:
        """Reads off the state what the model needs.

        Args:
            state: With a step left.

        Raises:
            InputError: No step is left.
        """
        if isinstance(state, SampleStates):
            return self._rule_of(state).tick(state)
        timestep = self._visits.at(state).timestep
        if not self._manner().scales:
            return Tick(state.latents, timestep, state.index, state.scheduled, state)
        scheduler = self._open(state.internals)
        sample = scheduler.scale_model_input(state.latents, timestep)
        # Schedulers find their place in the schedule here, and some warn where it was not done.
        seen = SolverStateValue(
            latents=state.latents,
            timesteps=state.timesteps,
            index=state.index,
            internals=self._close(scheduler),
            beyond=state.beyond,
        )
        return Tick(sample, timestep, state.index, state.scheduled, seen)

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
        if isinstance(state, SampleStates):
            return self._rule_of(state).step(state, model_output, generator, eta)
        if isinstance(model_output, BranchedValue):
            raise InputError(
                f"The solver was given a prediction for each of the branches "
                f"{', '.join(model_output.names)}: combine them first, with a guidance block."
            )
        given = self._visits.at(state).given
        scheduler = self._open(state.internals)
        further = self._further(scheduler, state.latents, generator, eta)
        made = scheduler.step(
            model_output,
            given,
            state.latents,
            **further,
            return_dict=False,
        )
        ends = state.index + 1 == len(state.timesteps) and not state.beyond
        latents = made[1 if ends and self.ends_denoised else 0]
        return SolverStateValue(
            latents=latents,
            timesteps=state.timesteps,
            index=state.index + 1,
            internals=self._close(scheduler),
            beyond=state.beyond,
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
        init_latents = init_latents.to(noise.dtype)  # the codec may have a dtype of its own
        if isinstance(state, SampleStates):
            return self._rule_of(state).renoise(state, init_latents, noise)
        if state.index >= state.count:
            return init_latents
        level = state.timesteps[state.index : state.index + 1]
        return noised(self._open(state.internals), init_latents, noise, level)

    def draws(self, eta: float) -> bool:
        """Says whether steps need noise; of a scheduler that takes a generator, that they do.

        Args:
            eta: As ``step`` is given it.
        """
        del eta
        return self._manner().generator

    def _first_state(
        self, latents: Tensor, visited: Visited, scheduler: Scheduler
    ) -> SolverStateValue:
        if self._on_tensors and _in_single_precision(latents) and _begins_in_place(scheduler):
            rule = self._find_rule()
            if rule is not None and rule.gives_bits_on(latents.device):
                return rule.first_state(latents, visited, scheduler)
        return SolverStateValue(
            latents=latents,
            timesteps=visited.timesteps,
            index=0,
            internals=self._close(scheduler),
            beyond=visited.beyond,
        )

    def _rule_of(self, state: SampleStates) -> NativeSolver:
        # The rule that made the state, as a rule: asked for twice at every step.
        known = self._rule
        rule = known[1] if known is not None else self._find_rule()
        if rule is None:
            raise InputError(
                f"{self._name()} was given a state at step {state.index} that another solver made: "
                "begin with its own `start`."
            )
        return rule

    def _find_rule(self) -> NativeSolver | None:
        """Gives the twin, where it follows the configuration."""
        prepared = self._prepare()
        rule = self._rule
        if rule is None or rule[0] is not prepared:
            cls = self.twin
            follows = cls is not None and cls.unfollowed(prepared.config) is None
            rule = (prepared, cls().adopt(self) if cls is not None and follows else None)
            self._rule = rule
        return rule[1]

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


def _in_single_precision(latents: Tensor) -> bool:
    """Says whether a scheduler would calculate with these latents in float32 throughout."""
    # Autocast gives predictions in half precision, which schedulers multiply as they are.
    return latents.dtype == torch.float32 and not torch.is_autocast_enabled(latents.device.type)


def _begins_in_place(scheduler: Scheduler) -> bool:
    """Says whether a scheduler begins where its run does, with its numbers in main memory."""
    held = vars(scheduler)
    # Some move their tables to a GPU to noise a picture, where division is rounded otherwise.
    moved = any(
        value.device.type != "cpu"
        for name, value in held.items()
        if isinstance(value, Tensor) and name != "timesteps"
    )
    # One that was not told where to begin looks for the first timestep, and may find it again.
    looks = getattr(scheduler, "begin_index", 0) is None
    timesteps = scheduler.timesteps.tolist()
    return not moved and not (looks and timesteps.count(timesteps[0]) > 1)


@functools.cache
def _manner_of(cls: type[DiffusersSolver]) -> _Manner:
    scheduler = cls.scheduler_class()
    accepted = inspect.signature(scheduler.step).parameters  # type: ignore[attr-defined] # all have it
    return _Manner(
        scales=scales_input(scheduler), eta="eta" in accepted, generator="generator" in accepted
    )
