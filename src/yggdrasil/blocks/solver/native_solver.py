"""What the solvers written on tensors share: they step each sample of a batch from where it is."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from yggdrasil.blocks.batching import GeneratorArgument, as_generators
from yggdrasil.blocks.configuration import constructor_defaults
from yggdrasil.blocks.solver.sample_states import Coefficients, SampleStates, Way
from yggdrasil.blocks.solver.schedule import Visited
from yggdrasil.blocks.solver.scheduled import ScheduledSolver, Tick
from yggdrasil.blocks.solver.shell import Scheduler
from yggdrasil.blocks.solver.visits import check_unfinished
from yggdrasil.core.errors import ConfigError, InputError
from yggdrasil.core.kinds import Generator, Latents, Noise
from yggdrasil.core.ports import op
from yggdrasil.core.values import BranchedValue, ModelOutput, SolverState, SolverStateValue

__all__ = ["NativeSolver", "Unfollowed"]

_OF_EVERY_SCHEDULE = frozenset(
    {
        "beta_end",
        "beta_schedule",
        "beta_start",
        "num_train_timesteps",
        "steps_offset",
        "timestep_spacing",
        "trained_betas",
    }
)
_WIDE = (torch.float32, torch.float64)
_SCALE, _SIGNAL, _LEVEL = "scale", "signal", "level"


class Unfollowed(NamedTuple):
    """What a rule does not follow.

    Attributes:
        option: Of the scheduler's configuration.
        value: That it has there.
        values: Those that the rule follows.
    """

    option: str
    value: Any
    values: tuple[Any, ...]


class NativeSolver(ScheduledSolver):
    """An update rule on tensors, over the schedules of a scheduler of Diffusers.

    Its states are ``SampleStates``: those of several runs may be stacked and go on together, each
    sample at its own step. Bits are those of separate runs, as far as the model's are.

    Calculation is in float32 (float64 for such latents), the result in the dtype of the latents.

    Args:
        options: Values of the scheduler's configuration to be used instead, by name.

    Attributes:
        supported: For options that the rule cannot follow everywhere, the values that it can.
        follows: Options that it follows whatever their value, beside those of every noise
            schedule; of options that are in neither, only the default is followed.
        remembers: How many tensors of earlier steps the rule reads.
        numbers_by_latents: Whether the scheduler calculates a step's numbers where the latents
            are; the rule has them calculated in main memory.

    Raises:
        ConfigError: The scheduler has no such option.
    """

    supported: ClassVar[Mapping[str, tuple[Any, ...]]] = {}
    follows: ClassVar[frozenset[str]] = frozenset()
    remembers: ClassVar[int] = 0
    numbers_by_latents: ClassVar[bool] = False

    _last: tuple[tuple[object, ...], Way] | None = None

    @op
    def tick(self, state: SolverState) -> Tick:
        """Reads off the state what the model needs.

        Args:
            state: With a step left for at least one of its samples.

        Raises:
            InputError: No step is left.
        """
        states = state if isinstance(state, SampleStates) else self._own(state)
        if states.index >= states.count:
            check_unfinished(states)
        sample = states.latents
        scale = states.numbers().get(_SCALE)
        if scale is not None:
            # Called for other dtypes alone: a step is short, and calls count.
            sample = sample / scale if sample.dtype in _WIDE else _as(sample, _wide(sample) / scale)
        return Tick(sample, states.current_timesteps(), states.index, states.scheduled, states)

    @op
    def step(
        self,
        state: SolverState,
        model_output: ModelOutput,
        generator: Generator | None = None,
        eta: float | list[float] = 0.0,
    ) -> SolverState:
        """Takes one step of each sample that has one left.

        Args:
            state: As ``tick`` gave it.
            model_output: The prediction ``b c h w`` for the state's samples and timesteps.
            generator: For the noise of stochastic solvers: one, or one for each sample; those of
                samples that are finished, or need no noise, stand still.
            eta: How stochastic DDIM is, 0 to 1, also one for each sample; other solvers do not
                read it.

        Raises:
            InputError: The prediction is one for each branch, there are generators or etas for
                other samples than these, or no step is left.
        """
        if isinstance(model_output, BranchedValue):
            raise InputError(
                f"The solver was given a prediction for each of the branches "
                f"{', '.join(model_output.names)}: combine them first, with a guidance block."
            )
        states = state if isinstance(state, SampleStates) else self._own(state)
        if states.index >= states.count:
            check_unfinished(states)
        count = len(states.ways)
        if not states.aligned or not isinstance(eta, (int, float)):
            etas = _each(eta, count)
            joined = _joined(etas, states.latents)
            drawing = tuple(
                self.draws(one) and not done
                for one, done in zip(etas, states.finished, strict=True)
            )
        else:
            joined, drawing = eta, (self.draws(eta),) * count
        noise = None
        if any(drawing):
            noise = _draw(model_output, as_generators(generator, count), drawing)
        if isinstance(joined, Tensor) or joined:
            # What is calculated with eta is to be rounded as float32 is.
            at = self.with_eta(states.coefficients(), joined)
        else:
            at = states.numbers()
        sample = states.latents
        if sample.dtype in _WIDE and sample.dtype == model_output.dtype:
            latents, history = self.advance(at, sample, model_output, states.history, noise)
        else:
            wide = _wide(sample), _wide(model_output)
            latents, history = self.advance(at, *wide, states.history, noise)
            latents = _as(sample, latents)
        return states.moved(latents, history)

    @op
    def renoise(self, state: SolverState, init_latents: Latents, noise: Noise) -> Latents:
        """Brings clean latents to the noise level of each sample, to be put into the state.

        Args:
            state: After a step.
            init_latents: Clean latents ``b c h w``.
            noise: ``b c h w``, the same at every step.

        Returns:
            ``b c h w``; the clean latents of samples that are finished.
        """
        init_latents = init_latents.to(noise.dtype)  # the codec may have a dtype of its own
        at = self._own(state).numbers()
        level = at[_SIGNAL] * _wide(init_latents) + at[_LEVEL] * _wide(noise)
        return _as(init_latents, level)

    def draws(self, eta: float) -> bool:
        """Says whether a step needs noise.

        Args:
            eta: Of the sample.
        """
        del eta
        return False

    def with_eta(self, at: Mapping[str, Tensor], eta: float | Tensor) -> Coefficients:
        """Puts into a step's numbers those that depend on eta; the table has those of eta 0.

        Args:
            at: The step's numbers.
            eta: One number other than 0, or ``b 1 1 1``.
        """
        del eta
        return at

    @classmethod
    def unfollowed(cls, config: Mapping[str, Any]) -> Unfollowed | None:
        """Gives what of a configuration the rule does not follow, if anything.

        Args:
            config: Of the scheduler.
        """
        for option, default in constructor_defaults(cls.scheduler_class()).items():
            if option in _OF_EVERY_SCHEDULE or option in cls.follows:
                continue
            values = cls.supported.get(option, (default,))
            value = config.get(option, values[0])
            if value not in values:
                return Unfollowed(option, value, values)
        return None

    @classmethod
    def gives_bits_on(cls, device: torch.device) -> bool:
        """Says whether the rule gives the bits of its scheduler.

        Args:
            device: Of the latents.
        """
        return not cls.numbers_by_latents or device.type == "cpu"

    @property
    def prediction(self) -> str:
        """What the model predicts."""
        return self._prepare().prediction

    @abstractmethod
    def table(self, scheduler: Any, begin: int) -> Mapping[str, Tensor]:
        """Computes the coefficients of a run.

        Among them are ``signal`` and ``level``, how much of clean latents and of noise there is
        before each step, and ``scale``, what the model's input is divided by, if by anything.

        Args:
            scheduler: With its schedule set.
            begin: How many of the schedule's timesteps the run leaves out.

        Returns:
            By name, ``n`` or ``n+1`` float32 each, in main memory; more are left out.
        """

    @abstractmethod
    def advance(
        self,
        at: Coefficients,
        sample: Tensor,
        output: Tensor,
        history: tuple[Tensor, ...],
        noise: Tensor | None,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Takes the step.

        Args:
            at: The step's numbers.
            sample: ``b c h w``, single or double precision.
            output: The model's prediction ``b c h w``, as precise.
            history: What ``advance`` gave at the step before; zeros at first.
            noise: ``b c h w``, where a sample draws.

        Returns:
            The next sample, and what is to be remembered.
        """

    def _first_state(
        self, latents: Tensor, visited: Visited, scheduler: Scheduler
    ) -> SolverStateValue:
        return self.first_state(latents, visited, scheduler)

    def first_state(self, latents: Tensor, visited: Visited, scheduler: Scheduler) -> SampleStates:
        """Makes the first state.

        Args:
            latents: To begin with, ``b c h w``.
            visited: What the run visits.
            scheduler: With its schedule set; nobody else holds it.
        """
        way = self._way(visited, scheduler)
        count = len(latents)
        blank = torch.zeros_like(_wide(latents))
        return SampleStates.of(latents, (way,) * count, (0,) * count, (blank,) * self.remembers)

    def _way(self, visited: Visited, scheduler: Scheduler) -> Way:
        """Gives the way of a run; the last one is kept, since most calls have the same schedule."""
        timesteps = visited.timesteps
        held = vars(scheduler)
        sigmas = held.get("sigmas")
        # All that a table is made of, beside the configuration.
        key = (
            self._prepare(),
            visited.begin,
            timesteps.device,
            timesteps.tolist(),
            scheduler.timesteps.tolist(),
            sigmas.tolist() if isinstance(sigmas, Tensor) else None,
            held.get("num_inference_steps"),
        )
        # Read once: another run may put its own there meanwhile.
        last = self._last
        if last is None or last[0] != key:
            last = self._last = (key, self._make_way(visited, scheduler))
        return last[1]

    def _make_way(self, visited: Visited, scheduler: Scheduler) -> Way:
        timesteps = visited.timesteps
        columns = self.table(scheduler, visited.begin)
        # At the end nothing is left to noise.
        ends = {_SIGNAL: 1.0, _LEVEL: 0.0}
        table = torch.ones(len(timesteps) + 1, len(columns), dtype=torch.float32)
        for place, (name, values) in enumerate(columns.items()):
            # Between sigmas set apart by their logarithms Diffusers has one more than it visits.
            table[: len(values), place] = values[: len(table)]
            table[-1, place] = ends.get(name, 1.0)
        return Way(timesteps=timesteps, columns=tuple(columns), table=table, beyond=visited.beyond)

    def _check_config(self, config: Mapping[str, Any]) -> None:
        found = self.unfollowed(config)
        if found is not None:
            raise ConfigError(
                f"{self._name()} does not follow {found.option}={found.value!r}, only "
                f"{' or '.join(map(repr, found.values))}. Take solver/"
                f"{self.type_name.removeprefix('solver/native_')}, which follows all that its "
                "scheduler can do."
            )

    def _own(self, state: SolverStateValue) -> SampleStates:
        if not isinstance(state, SampleStates):
            raise InputError(
                f"{self._name()} was given a state that another solver made: begin with its own "
                "`start`."
            )
        return state


def _wide(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype in _WIDE else tensor.float()


def _as(like: Tensor, tensor: Tensor) -> Tensor:
    # Asking spares a call into PyTorch at each step.
    return tensor if tensor.dtype == like.dtype else tensor.to(like.dtype)


def _each(eta: float | Sequence[float], batch: int) -> tuple[float, ...]:
    if isinstance(eta, Sequence):
        if len(eta) != batch:
            raise InputError(f"{len(eta)} etas were given for a batch of {batch}: give one each.")
        return tuple(eta)
    return (eta,) * batch


def _joined(etas: Sequence[float], latents: Tensor) -> float | Tensor:
    """Gives one eta where all are equal, else ``b 1 1 1``."""
    if etas.count(etas[0]) == len(etas):
        return etas[0]
    shape = (-1, *(1,) * (latents.ndim - 1))
    return torch.tensor(etas, dtype=torch.float32, device=latents.device).view(shape)


def _draw(like: Tensor, generator: GeneratorArgument, drawing: tuple[bool, ...]) -> Tensor:
    """Draws noise; of several generators only those of the samples that draw are asked."""
    if not isinstance(generator, list):
        noise: Tensor = randn_tensor(
            like.shape, generator=generator, device=like.device, dtype=like.dtype
        )
        return _wide(noise)
    one = (1, *like.shape[1:])
    parts = [
        randn_tensor(one, generator=each, device=like.device, dtype=like.dtype)
        if draws
        else like.new_zeros(one)
        for each, draws in zip(generator, drawing, strict=True)
    ]
    return _wide(torch.cat(parts))
