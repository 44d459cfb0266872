"""What all solvers over a scheduler's configuration share: schedule, beginning, training form."""

from __future__ import annotations

import functools
import importlib.util
import inspect
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, ClassVar, Literal, NamedTuple, Self

import torch
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from torch import Tensor

from yggdrasil.blocks.checks import check_choice
from yggdrasil.blocks.configuration import constructor_defaults
from yggdrasil.blocks.solver.schedule import Schedule, Visited
from yggdrasil.blocks.solver.shell import (
    Record,
    Scheduler,
    can_noise,
    noised,
    open_shell,
    read_shell,
)
from yggdrasil.blocks.solver.training_form import FlowForm, TrainingForm, VariancePreservingForm
from yggdrasil.core.component import Component, ComponentSource
from yggdrasil.core.errors import ConfigError, InputError, nearest
from yggdrasil.core.kinds import Latents, Noise, Timestep, TokenCount
from yggdrasil.core.ports import op
from yggdrasil.core.roles import AbstractSolver
from yggdrasil.core.values import (
    LatentShape,
    ModelInput,
    ModelOutput,
    SolverSpec,
    SolverSpecValue,
    SolverState,
    SolverStateValue,
)

__all__ = ["ScheduledSolver", "Tick"]

_STEPS = 50
_FULL_STRENGTH = ("noised", "noise")
_GIVEN = ("noise", "sample")


class Tick(NamedTuple):
    """What a step of the loop reads off the state.

    Attributes:
        sample: The latents ``b c h w``, scaled as the model reads them.
        timestep: A scalar, or ``b`` where samples stand at steps of their own.
        index: Of the evaluation, from 0.
        count: Of all evaluations, those behind an end that the caller set too: shares of the steps
            are counted in them, as Diffusers' pipelines do.
        state: To step from.
    """

    sample: ModelInput
    timestep: Timestep
    index: int  # type: ignore[assignment] # the port's name hides a method of tuple, unused here
    count: int  # type: ignore[assignment] # the same
    state: SolverState


@dataclass(frozen=True, slots=True, eq=False)
class _Prepared:
    """What is made of the scheduler's configuration once."""

    source: ComponentSource | None
    config: Mapping[str, Any]
    record: Record
    prediction: str


class ScheduledSolver(AbstractSolver):
    """A solver whose schedule is that of a scheduler of Diffusers.

    Of the component only the configuration is used, so another family's scheduler may be given,
    as with Diffusers' ``from_config``; without one, the class's defaults hold.

    Args:
        options: Values of the scheduler's configuration to be used instead, by name.

    Attributes:
        scheduler: The slot; its class says how schedules are made.
        own_options: Values of the configuration that make the solver what its name says; given
            options go before them, and they before the model's configuration.
        written_in_place: See ``shell.open_shell``.
        refuses: What ``start`` does not hand on although the scheduler's ``set_timesteps`` has a
            parameter of the name.
        form: What the solver's models are trained on.
        untrained: Why there is nothing to train on, where there is not.

    Raises:
        ConfigError: The scheduler has no such option.
    """

    scheduler = Component[Any](SchedulerMixin, optional=True)
    own_options: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    written_in_place: ClassVar[tuple[str, ...]] = ()
    refuses: ClassVar[frozenset[str]] = frozenset()
    form: ClassVar[type[TrainingForm]] = VariancePreservingForm
    untrained: ClassVar[str] = ""

    _prepared: _Prepared | None
    _form: tuple[_Prepared, TrainingForm] | None

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

    @classmethod
    def scheduler_class(cls) -> type:
        """Gives the class of the scheduler."""
        return _scheduler_class(cls)

    @classmethod
    def schedules(cls) -> frozenset[str]:
        """Gives the names of what a schedule may be given by."""
        return _parameters(cls.scheduler_class(), "set_timesteps") - cls.refuses

    @property
    def settings(self) -> Mapping[str, Any]:
        """The configuration of the scheduler, options included."""
        return self._prepare().config

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
        given_latents: Literal["noise", "sample"] = "noise",
        end: float | None = None,
        begin_index: int | None = None,
        whole_steps: bool = True,  # noqa: FBT001, FBT002 - a port
        linear_sigmas: bool | Literal["always"] = False,  # noqa: FBT001, FBT002 - a port
        mu: float | None = None,
        tokens: TokenCount | None = None,
        max_shift: float | None = None,
        given: Latents | None = None,
        original_inference_steps: int | None = None,
        own_strength: bool = False,  # noqa: FBT001, FBT002 - a port
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
            given_latents: What latents are that a caller gives in the place of noise: ``noise``,
                or the ``sample`` to begin with as it is, wherever strength says.
            end: Where in training's schedule to end, 0 (noise) to 1, for another model to go on.
            begin_index: What a scheduler that counts its steps is told to begin at; some find
                another place where a schedule visits a timestep twice.
            whole_steps: Whether strength times the number of steps is rounded down before it is
                counted from the end; else what is left before it is.
            linear_sigmas: Whether noise levels fall evenly from 1 unless they are given, or laid by
                the scheduler as a flow of its own; ``always``: even then.
            mu: How far a flow's schedule is shifted; told by ``tokens`` unless given.
            tokens: How many tokens the latents make.
            max_shift: The shift of the largest picture, for schedulers that do not say it.
            given: Latents to begin with as they are, wherever the schedule begins.
            original_inference_steps: How many steps a consistency model was distilled from, of
                which the schedule's are chosen.
            own_strength: Whether the scheduler counts strength when it lays its schedule, of which
                all is run then.

        Raises:
            InputError: A value cannot be right, or latents and strength do not go together.
        """
        schedule = Schedule(
            num_inference_steps=num_inference_steps,
            timesteps=timesteps,
            sigmas=sigmas,
            strength=strength,
            end=end,
            begin_index=begin_index,
            whole_steps=whole_steps,
            linear_sigmas=linear_sigmas,
            mu=mu,
            tokens=tokens,
            max_shift=max_shift,
            original_inference_steps=original_inference_steps,
            own_strength=own_strength,
        )
        schedule.check(self._name(), self.schedules())
        check_choice("full_strength", full_strength, _FULL_STRENGTH)
        check_choice("given_latents", given_latents, _GIVEN)
        scheduler = self._open(self._prepare().record)
        visited = schedule.set_on(scheduler, noise.device)
        from_noise = full_strength == "noise" and (strength == 1.0 or init_latents is None)
        if strength is None and init_latents is not None:
            raise InputError(
                "init_latents are given without a strength: give strength, from 0 (keep them) to "
                "1 (noise them fully), such as strength=0.8."
            )
        if given is not None:
            latents = given.to(device=noise.device, dtype=noise.dtype)
        elif strength is None or from_noise:
            # Flow begins with the noise as it is, and its schedulers do not say so.
            latents = noise * getattr(scheduler, "init_noise_sigma", 1.0)
        elif init_latents is None and given_latents == "sample":
            latents = noise
        elif init_latents is None:
            raise InputError(
                f"strength is {strength}, and there are no init_latents to begin from: give the "
                "picture too, or leave strength out."
            )
        else:
            self._check_noising()
            begin = init_latents.to(noise.dtype)  # the codec may have a dtype of its own
            latents = noised(scheduler, begin, noise, visited.timesteps[:1].repeat(len(noise)))
        return self._first_state(latents, visited, scheduler)

    @op
    def resume(
        self,
        init_latents: Latents,
        begin: float,
        num_inference_steps: int = _STEPS,
        timesteps: list[int] | None = None,
        sigmas: list[float] | None = None,
        end: float | None = None,
        shape: LatentShape | None = None,
    ) -> SolverState:
        """Makes a first state in the middle of the schedule, where another model has ended.

        Args:
            init_latents: Latents ``b c h w``, as noisy as they are to be there.
            begin: Where in training's schedule they are, 0 (noise) to 1.
            num_inference_steps: How many steps the whole schedule has.
            timesteps: The schedule itself, in the place of their number.
            sigmas: The schedule itself as noise levels.
            end: Where in training's schedule to end.
            shape: Gives the dtype that the run has; that of the latents unless given.

        Raises:
            InputError: A value cannot be right.
        """
        schedule = Schedule(
            num_inference_steps=num_inference_steps,
            timesteps=timesteps,
            sigmas=sigmas,
            begin=begin,
            end=end,
        )
        schedule.check(self._name(), self.schedules())
        scheduler = self._open(self._prepare().record)
        visited = schedule.set_on(scheduler, init_latents.device)
        # The codec may have a dtype of its own.
        latents = init_latents if shape is None else init_latents.to(shape.dtype)
        return self._first_state(latents, visited, scheduler)

    @op
    def corrupt(self, latents: Latents, noise: Noise, timestep: Timestep) -> ModelInput:
        """Gives the model's training input, as the model reads it.

        Args:
            latents: Clean latents ``b c h w``.
            noise: Noise of the same shape.
            timestep: ``b``, positions on the training schedule.

        Raises:
            ConfigError: The scheduler's configuration has no form to train on.
        """
        return self._training_form().corrupt(latents, noise, timestep)

    @op
    def target(self, latents: Latents, noise: Noise, timestep: Timestep) -> ModelOutput:
        """Gives what the model should answer, as ``prediction_type`` says.

        Args:
            latents: Clean latents ``b c h w``.
            noise: Noise of the same shape.
            timestep: ``b``, positions on the training schedule.

        Raises:
            ConfigError: The scheduler's configuration has no form to train on.
        """
        return self._training_form().target(latents, noise, timestep)

    def make_scheduler(self) -> Any:
        """Makes the scheduler, of the model's configuration and the own options.

        Raises:
            ConfigError: They do not go together.
        """
        cls: Any = self.scheduler_class()
        options = {**self.own_options, **self._options}
        try:
            return cls.from_config(dict(self.component_config("scheduler")), **options)
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
        if op == "renoise":
            self._check_noising()
        if op not in ("start", "resume"):
            return
        if "full_strength" in known:
            check_choice("full_strength", known["full_strength"], _FULL_STRENGTH)
        if "given_latents" in known:
            check_choice("given_latents", known["given_latents"], _GIVEN)
        schedule = Schedule(
            num_inference_steps=known.get("num_inference_steps", _STEPS),
            timesteps=known.get("timesteps"),
            sigmas=known.get("sigmas"),
            strength=known.get("strength"),
            begin=known.get("begin"),
            end=known.get("end"),
            begin_index=known.get("begin_index"),
            whole_steps=known.get("whole_steps", True),
            linear_sigmas=known.get("linear_sigmas", False),
            mu=known.get("mu"),
            original_inference_steps=known.get("original_inference_steps"),
            own_strength=known.get("own_strength", False),
        )
        schedule.check(self._name(), self.schedules())
        schedule.set_on(self._open(self._prepare().record), torch.device("cpu"))
        if schedule.strength is not None and not self.unused_inputs(op, known):
            self._check_noising()

    def unused_inputs(self, op: str, known: Mapping[str, Any]) -> frozenset[str]:
        """Says what is not read: latents, to begin with noise; a generator, to step without any.

        Args:
            op: The op that will be run.
            known: Values of its inputs that are known; noise is where the caller gives it.
        """
        if op == "step":
            return frozenset(() if self._may_draw(known.get("eta")) else {"generator"})
        from_noise = known.get("strength") == 1.0 or "noise" in known
        unread = (known.get("full_strength") == "noise" and from_noise) or (
            known.get("given_latents") == "sample" and "noise" in known
        )
        return frozenset({"init_latents"} if op == "start" and unread else ())

    def settled_by(self) -> tuple[Any, ...]:
        """Gives the scheduler's configuration: it is what the numbers depend on."""
        config = self._prepare().config
        return tuple(sorted((name, repr(value)) for name, value in config.items()))

    @abstractmethod
    def draws(self, eta: float) -> bool:
        """Says whether steps need noise.

        Args:
            eta: As ``step`` is given it, of one sample.
        """

    def _may_draw(self, eta: object) -> bool:
        """Says whether steps may need noise; an eta that is not known may be any.

        Args:
            eta: One for all samples, or one for each.
        """
        etas = eta if isinstance(eta, list) else [eta]
        return any(not isinstance(one, (int, float)) or self.draws(one) for one in etas)

    def adopt(self, other: ScheduledSolver) -> Self:
        """Takes over the configuration of another solver, with all that was made of it.

        Args:
            other: One whose scheduler is of the same class.
        """
        self._prepared = replace(other._prepare(), source=None)
        return self

    @abstractmethod
    def _first_state(
        self, latents: Tensor, visited: Visited, scheduler: Scheduler
    ) -> SolverStateValue:
        """Makes the first state.

        Args:
            latents: To begin with.
            visited: What the run visits.
            scheduler: With its schedule set; nobody else holds it.
        """

    def _name(self) -> str:
        return self.type_name or type(self).__qualname__

    def _open(self, record: Record) -> Scheduler:
        return open_shell(_scheduler_class(type(self)), record, self.written_in_place)

    def _check_noising(self) -> None:
        cls = self.scheduler_class()
        if not can_noise(cls):
            raise InputError(
                f"{self._name()} cannot begin with a picture: {cls.__name__} has no add_noise. "
                "Leave the picture and strength out, or take another solver, such as solver/ddim."
            )

    def _prepare(self) -> _Prepared:
        """Builds the scheduler once for each source; twice, harmlessly, where threads meet."""
        source = self.sources.get("scheduler")
        prepared = self._prepared
        if prepared is None or prepared.source is not source:
            made = self.make_scheduler()
            public = {k: v for k, v in made.config.items() if not k.startswith("_")}
            self._check_config(public)
            prepared = self._prepared = _Prepared(
                source, public, read_shell(made), str(public.get("prediction_type"))
            )
        return prepared

    def _check_config(self, config: Mapping[str, Any]) -> None:
        """Refuses a configuration that the solver cannot follow."""
        del config

    def _training_form(self) -> TrainingForm:
        prepared = self._prepare()
        form = self._form
        if form is None or form[0] is not prepared:
            form = self._form = (prepared, self._make_form(prepared.config))
        return form[1]

    def _make_form(self, config: Mapping[str, Any]) -> TrainingForm:
        if self.untrained:
            raise ConfigError(
                f"{self._name()} has no form to train on: {self.untrained}. Train with the solver "
                "whose scheduler the model comes with, such as solver/ddim."
            )
        flows = config.get("prediction_type") == "flow_prediction"
        return (FlowForm if flows else self.form)(config)


@functools.cache
def _scheduler_class(cls: type[ScheduledSolver]) -> type:
    # Asked for at every step, and finding a class's slots walks all of its attributes.
    found = cls.declared_slots()["scheduler"].cls
    # Diffusers' stand-in for a class that it cannot import names what the class needs.
    needs = getattr(found, "_backends", ())
    lacking = " ".join(name for name in needs if importlib.util.find_spec(name) is None)
    if lacking:
        raise ConfigError(
            f"{cls.type_name} needs {lacking}, which is not installed: pip install {lacking}"
        )
    return found


@functools.cache
def _parameters(cls: type, method: str) -> frozenset[str]:
    return frozenset(inspect.signature(getattr(cls, method)).parameters)
