"""Every scheduler of Diffusers as a solver."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from torch import Tensor

from yggdrasil.blocks.batching import as_generators
from yggdrasil.blocks.checks import check_choice
from yggdrasil.blocks.configuration import constructor_defaults
from yggdrasil.blocks.solver.schedule import Schedule
from yggdrasil.blocks.solver.shell import (
    Record,
    Scheduler,
    open_shell,
    read_shell,
    scales_input,
)
from yggdrasil.blocks.solver.training_form import TrainingForm
from yggdrasil.blocks.solver.visits import Visits
from yggdrasil.core.component import Component, ComponentSource
from yggdrasil.core.errors import ConfigError, InputError, nearest
from yggdrasil.core.kinds import Generator, Latents, Noise, Timestep
from yggdrasil.core.ports import op
from yggdrasil.core.roles import AbstractSolver
from yggdrasil.core.values import (
    BranchedValue,
    ModelInput,
    ModelOutput,
    SolverSpec,
    SolverSpecValue,
    SolverState,
    SolverStateValue,
)

__all__ = ["DiffusersSolver", "Tick"]

_STEPS = 50
_FULL_STRENGTH = ("noised", "noise")


class Tick(NamedTuple):
    """What a step of the loop reads off the state.

    Attributes:
        sample: The latents ``b c h w``, scaled as the model reads them.
        timestep: A scalar.
        index: Of the evaluation, from 0.
        count: Of all evaluations.
        state: To step from.
    """

    sample: ModelInput
    timestep: Timestep
    index: int  # type: ignore[assignment] # the port's name hides a method of tuple, unused here
    count: int  # type: ignore[assignment] # the same
    state: SolverState


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What is made of the scheduler's configuration once."""

    source: ComponentSource | None
    config: Mapping[str, Any]
    record: Record


class DiffusersSolver(AbstractSolver):
    """A scheduler of Diffusers, driven through immutable states.

    Of the component only the configuration is used, so another family's scheduler may be given,
    as with Diffusers' ``from_config``; without one, the class's defaults hold.

    Args:
        options: Values of the scheduler's configuration to be used instead, by name.

    Attributes:
        scheduler: The slot; its class is the scheduler that is driven.
        written_in_place: See ``shell.open_shell``.
        counts_timesteps: Whether ``step`` takes a timestep as a place on the training schedule and
            nothing else. It is then given as a number, which spares the arithmetic of tensors and,
            on a GPU, waiting for it.

    Raises:
        ConfigError: The scheduler has no such option.
    """

    scheduler = Component[Any](SchedulerMixin, optional=True)
    written_in_place: ClassVar[tuple[str, ...]] = ()
    counts_timesteps: ClassVar[bool] = False

    _prepared: _Prepared | None
    _form: tuple[_Prepared, TrainingForm] | None
    _visits: Visits

    def __init__(self, **options: Any) -> None:
        known = constructor_defaults(self.scheduler_class())
        for name in options:
            if name not in known:
                raise ConfigError(
                    f"{self._name()}: {self.scheduler_class().__name__} has no option {name!r}."
                    f"{nearest(name, known)}"
                )
        self._options = options
        self._prepared = None
        self._form = None
        self._visits = Visits(numbers=self.counts_timesteps)

    @classmethod
    def scheduler_class(cls) -> type:
        """Gives the class that is driven."""
        return _driven(cls)

    @op(fact=True)
    def spec(self) -> SolverSpec:
        """Gives what the configuration says of the schedule that training draws from.

        Raises:
            ConfigError: The scheduler's configuration says nothing of it.
        """
        count = self._prepare().config.get("num_train_timesteps")
        if not isinstance(count, int):
            raise ConfigError(
                f"{self._name()}: num_train_timesteps is {count!r}, so there are no timesteps to "
                "train on: give a number."
            )
        return SolverSpecValue(num_train_timesteps=count)

    @op
    def start(
        self,
        noise: Noise,
        init_latents: Latents | None = None,
        num_inference_steps: int = _STEPS,
        timesteps: list[int] | None = None,
        sigmas: list[float] | None = None,
        strength: float | None = None,
        full_strength: Literal["noised", "noise"] = "noised",
    ) -> SolverState:
        """Makes the first state.

        Args:
            noise: ``b c h w``, standard normal.
            init_latents: Latents ``b c h w`` to begin from, as much noised as ``strength`` says.
            num_inference_steps: How many steps the whole schedule has.
            timesteps: The schedule itself, in the place of their number.
            sigmas: The schedule itself as noise levels.
            strength: How much of the schedule to run, from its end, 0 to 1. None begins with
                noise and runs all of it.
            full_strength: What strength 1 begins with: ``noised`` latents, or nothing but
                ``noise``, scaled, as inpainting does, which then needs no latents.

        Raises:
            InputError: A value cannot be right, or latents and strength do not go together.
        """
        schedule = Schedule(
            num_inference_steps=num_inference_steps,
            timesteps=timesteps,
            sigmas=sigmas,
            strength=strength,
        )
        schedule.check(self._name(), self._accepts("set_timesteps"))
        check_choice("full_strength", full_strength, _FULL_STRENGTH)
        scheduler = self._open(self._prepare().record)
        visited = schedule.set_on(scheduler, noise.device)
        from_noise = full_strength == "noise" and (strength == 1.0 or init_latents is None)
        if strength is None and init_latents is not None:
            raise InputError(
                "init_latents are given without a strength: give strength, from 0 (keep them) to "
                "1 (noise them fully), such as strength=0.8."
            )
        if strength is None or from_noise:
            latents = noise * scheduler.init_noise_sigma
        elif init_latents is None:
            raise InputError(
                f"strength is {strength}, and there are no init_latents to begin from: give the "
                "picture too, or leave strength out."
            )
        else:
            first = visited[:1].repeat(len(noise))
            latents = scheduler.add_noise(init_latents, noise, first)
        return SolverStateValue(
            latents=latents, timesteps=visited, index=0, internals=read_shell(scheduler)
        )

    @op
    def tick(self, state: SolverState) -> Tick:
        """Reads off the state what the model needs.

        Args:
            state: With a step left.

        Raises:
            InputError: No step is left.
        """
        timestep = self._visits.at(state).timestep
        if not scales_input(self.scheduler_class()):
            return Tick(state.latents, timestep, state.index, state.count, state)
        scheduler = self._open(state.internals)
        sample = scheduler.scale_model_input(state.latents, timestep)
        # Schedulers find their place in the schedule here, and some warn where it was not done.
        seen = SolverStateValue(
            latents=state.latents,
            timesteps=state.timesteps,
            index=state.index,
            internals=read_shell(scheduler),
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
            eta: How stochastic DDIM is, 0 to 1; other solvers do not read it.

        Raises:
            InputError: The prediction is one for each branch, or no step is left.
        """
        if isinstance(model_output, BranchedValue):
            raise InputError(
                f"The solver was given a prediction for each of the branches "
                f"{', '.join(model_output.names)}: combine them first, with a guidance block."
            )
        visit = self._visits.at(state)
        scheduler = self._open(state.internals)
        accepts = self._accepts("step")
        further: dict[str, Any] = {}
        if "eta" in accepts:
            further["eta"] = eta
        if "generator" in accepts:
            further["generator"] = as_generators(generator, state.latents.size(0))
        latents = scheduler.step(
            model_output,
            visit.given,
            state.latents,
            **further,
            return_dict=False,
        )[0]
        return SolverStateValue(
            latents=latents,
            timesteps=state.timesteps,
            index=state.index + 1,
            internals=read_shell(scheduler),
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
        noised: Tensor = self._open(state.internals).add_noise(init_latents, noise, level)
        return noised

    @op
    def corrupt(self, latents: Latents, noise: Noise, timestep: Timestep) -> ModelInput:
        """Gives the model's training input, in the variance-preserving form.

        Args:
            latents: Clean latents ``b c h w``.
            noise: Noise of the same shape.
            timestep: ``b``, int64, positions on the training schedule.

        Raises:
            ConfigError: The scheduler's configuration has no such form.
        """
        return self._training_form().corrupt(latents, noise, timestep)

    @op
    def target(self, latents: Latents, noise: Noise, timestep: Timestep) -> ModelOutput:
        """Gives what the model should answer, as ``prediction_type`` says.

        Args:
            latents: Clean latents ``b c h w``.
            noise: Noise of the same shape.
            timestep: ``b``, int64, positions on the training schedule.

        Raises:
            ConfigError: The scheduler's configuration has no such form.
        """
        return self._training_form().target(latents, noise, timestep)

    def make_scheduler(self) -> Any:
        """Makes the scheduler that is driven, of the model's configuration and the own options.

        Raises:
            ConfigError: They do not go together.
        """
        cls: Any = self.scheduler_class()
        try:
            return cls.from_config(dict(self.component_config("scheduler")), **self._options)
        except (ImportError, NotImplementedError, TypeError, ValueError) as error:
            raise ConfigError(
                f"{self._name()}: {cls.__name__} cannot be made from its configuration: {error}"
            ) from error

    def check_inputs(self, op: str, known: Mapping[str, Any]) -> None:
        """Refuses schedules that cannot be, by making the one that is asked for.

        Args:
            op: The op that will be run.
            known: Values of its inputs that are known.

        Raises:
            InputError: A value cannot be right.
            ConfigError: The scheduler's configuration cannot be.
        """
        if op != "start":
            return
        if "full_strength" in known:
            check_choice("full_strength", known["full_strength"], _FULL_STRENGTH)
        schedule = Schedule(
            num_inference_steps=known.get("num_inference_steps", _STEPS),
            timesteps=known.get("timesteps"),
            sigmas=known.get("sigmas"),
            strength=known.get("strength"),
        )
        schedule.check(self._name(), self._accepts("set_timesteps"))
        schedule.set_on(self._open(self._prepare().record), torch.device("cpu"))

    def unused_inputs(self, op: str, known: Mapping[str, Any]) -> frozenset[str]:
        """Says that latents to begin from are not read where nothing but noise is begun with.

        Args:
            op: The op that will be run.
            known: Values of its inputs that are known; noise is where the caller gives it.
        """
        from_noise = known.get("strength") == 1.0 or "noise" in known
        if op == "start" and known.get("full_strength") == "noise" and from_noise:
            return frozenset({"init_latents"})
        return frozenset()

    def weights_version(self) -> tuple[Any, ...]:
        """Gives the scheduler's configuration: it is what the numbers depend on."""
        config = self._prepare().config
        return tuple(sorted((name, repr(value)) for name, value in config.items()))

    def _name(self) -> str:
        return self.type_name or type(self).__qualname__

    def _open(self, record: Record) -> Scheduler:
        return open_shell(self.scheduler_class(), record, self.written_in_place)

    def _accepts(self, method: str) -> frozenset[str]:
        return _parameters(self.scheduler_class(), method)

    def _prepare(self) -> _Prepared:
        """Builds the scheduler once for each source; twice, harmlessly, where threads meet."""
        source = self.sources.get("scheduler")
        if self._prepared is None or self._prepared.source is not source:
            made = self.make_scheduler()
            public = {k: v for k, v in made.config.items() if not k.startswith("_")}
            self._prepared = _Prepared(source, public, read_shell(made))
        return self._prepared

    def _training_form(self) -> TrainingForm:
        prepared = self._prepare()
        if self._form is None or self._form[0] is not prepared:
            self._form = (prepared, TrainingForm(prepared.config))
        return self._form[1]


@functools.cache
def _driven(cls: type[DiffusersSolver]) -> type:
    # Asked for at every step, and finding a class's slots walks all of its attributes.
    return cls.slots()["scheduler"].cls


@functools.cache
def _parameters(cls: type, method: str) -> frozenset[str]:
    return frozenset(inspect.signature(getattr(cls, method)).parameters)
