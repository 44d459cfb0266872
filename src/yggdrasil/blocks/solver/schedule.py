"""Which timesteps a run visits, and how much of them ``strength`` leaves."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from yggdrasil.blocks.checks import check_choice, check_count, check_finite, check_range
from yggdrasil.blocks.solver.shell import Scheduler
from yggdrasil.blocks.solver.shift import shift_of
from yggdrasil.core.errors import InputError

__all__ = ["Schedule", "Visited"]


class Visited(NamedTuple):
    """The part of a schedule that a run visits.

    Attributes:
        timesteps: One an evaluation of the model.
        begin: How many of the schedule's timesteps lie before them.
        beyond: How many of them lie behind.
    """

    timesteps: Tensor
    begin: int
    beyond: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """What a caller may say of the timesteps of a run.

    Attributes:
        num_inference_steps: How many steps the whole schedule has; not read beside the next two.
        timesteps: The timesteps themselves, falling.
        sigmas: The noise levels themselves, falling.
        strength: How much of the schedule to run, from its end; None for all, from pure noise.
        begin: Where in training's schedule to begin, 0 (noise) to 1, in the place of a strength.
        end: Where in it to end.
        begin_index: Where a scheduler that counts its steps is told to begin, where all of the
            schedule is run; None leaves it to find its place.
        whole_steps: Whether strength times the number of steps is rounded down before it is counted
            from the end; else what is left before it is.
        linear_sigmas: Whether the noise levels fall evenly from 1 where nobody gives them, as FLUX
            has them, and the scheduler lays no flow of its own; ``always``: even where it does.
        mu: How far a flow's schedule is shifted, for schedulers that are told.
        tokens: How many tokens the latents make, which says the shift where ``mu`` does not.
        max_shift: The shift of the largest picture, for schedulers that do not say it.
        original_inference_steps: How many steps a consistency model was distilled from, of which
            the schedule's are chosen, in the place of what the configuration says.
        own_strength: Whether the scheduler itself counts the strength when it lays its schedule, of
            which all is run then.
    """

    num_inference_steps: int | None
    timesteps: Sequence[int] | None = None
    sigmas: Sequence[float] | None = None
    strength: float | None = None
    begin: float | None = None
    end: float | None = None
    begin_index: int | None = None
    whole_steps: bool = True
    linear_sigmas: bool | Literal["always"] = False
    mu: float | None = None
    tokens: int | None = None
    max_shift: float | None = None
    original_inference_steps: int | None = None
    own_strength: bool = False

    def check(self, name: str, accepts: frozenset[str]) -> None:
        """Refuses what cannot be, as far as it is seen without the scheduler.

        Args:
            name: Of the solver.
            accepts: The names of what its ``set_timesteps`` takes.

        Raises:
            InputError: A value cannot be right, or the solver does not take it.
        """
        if self.timesteps is not None and self.sigmas is not None:
            raise InputError("timesteps and sigmas are both given: one says the other; give one.")
        for word in ("timesteps", "sigmas"):
            custom = getattr(self, word)
            if custom is None:
                continue
            if word not in accepts:
                raise InputError(
                    f"{name} takes no {word} of the caller's: leave {word} out and give "
                    "num_inference_steps, or take a solver that does, such as solver/euler."
                )
            if not len(custom):
                raise InputError(f"{word} is empty: give at least one, or leave it out.")
        if self.mu is not None:
            check_finite("mu", self.mu)
            if "mu" not in accepts:
                raise InputError(
                    f"{name} has no schedule to shift: leave mu out, or take a solver that has, "
                    "such as solver/flow_euler."
                )
        if self.timesteps is None and self.sigmas is None:
            check_count("num_inference_steps", self.num_inference_steps)
        if self.strength is not None:
            check_range("strength", self.strength, 0.0, 1.0)
        self._check_distilled(name, accepts)
        self._check_share()

    def _check_distilled(self, name: str, accepts: frozenset[str]) -> None:
        if self.original_inference_steps is not None:
            check_count("original_inference_steps", self.original_inference_steps)
        for word, given in (
            ("original_inference_steps", self.original_inference_steps is not None),
            ("strength", self.own_strength),
        ):
            if given and word not in accepts:
                raise InputError(
                    f"{name} makes no schedule of another by {word}: take a solver that does, such "
                    "as solver/lcm."
                )

    def _check_share(self) -> None:
        for word, value in (("denoising_start", self.begin), ("denoising_end", self.end)):
            if value is not None:
                check_range(word, value, 0.0, 1.0)
        if self.begin is not None and self.end is not None and self.begin >= self.end:
            raise InputError(
                f"denoising_start is {self.begin} and denoising_end {self.end}: give a smaller "
                "start."
            )

    def set_on(self, scheduler: Scheduler, device: torch.device) -> Visited:
        """Sets a scheduler's timesteps and cuts them by the strength.

        Args:
            scheduler: It is changed.
            device: Of the timesteps.

        Returns:
            What to visit.

        Raises:
            InputError: The scheduler cannot make such a schedule, or nothing of it is left.
        """
        try:
            steps = self._set_steps(scheduler, device)
        except ValueError as error:
            raise InputError(f"{type(scheduler).__name__} refuses the schedule: {error}") from error
        begin = self._find_begin(scheduler, steps)
        left = scheduler.timesteps[begin:]
        kept = self._until_end(scheduler, left)
        return Visited(kept, begin, len(left) - len(kept))

    def _find_begin(self, scheduler: Scheduler, steps: int) -> int:
        """Gives how many timesteps lie before the beginning."""
        timesteps: Tensor = scheduler.timesteps
        if self.begin is not None and 0.0 < self.begin < 1.0:
            # As ``get_timesteps`` of Diffusers' StableDiffusionXLImg2ImgPipeline counts them.
            left = int((timesteps < _cutoff(scheduler, self.begin)).sum())
            if scheduler.order == 2 and left % 2 == 0:
                left += 1  # an even number would begin in the middle of a step
            return self._told(scheduler, len(timesteps) - left)
        if self.own_strength:
            return self._counted(scheduler)
        if self.strength is None:
            return 0 if self.begin_index is None else self._told(scheduler, 0)
        kept = min(steps * self.strength, steps)
        left = int(kept) if self.whole_steps else steps - int(steps - kept)
        if left < 1:
            raise self._nothing_left(steps)
        return self._told(scheduler, (steps - left) * scheduler.order)

    def _counted(self, scheduler: Scheduler) -> int:
        """Has a scheduler that counts the strength itself begin with the first of its timesteps."""
        if not len(scheduler.timesteps):
            raise self._nothing_left(scheduler.num_inference_steps)
        return 0

    def _nothing_left(self, steps: int) -> InputError:
        return InputError(
            f"strength is {self.strength}, which leaves none of {steps} steps: give at least "
            f"strength={1 / steps:.3g}, or more steps."
        )

    def _told(self, scheduler: Scheduler, begin: int) -> int:
        """Tells schedulers that count their steps where to begin; the others go by timesteps."""
        set_begin_index = getattr(scheduler, "set_begin_index", None)
        if set_begin_index is not None:
            set_begin_index(begin)
        return begin

    def _until_end(self, scheduler: Scheduler, timesteps: Tensor) -> Tensor:
        """Cuts off what lies behind the end."""
        if self.end is None or not 0.0 < self.end < 1.0:
            return timesteps
        kept = timesteps[: int((timesteps >= _cutoff(scheduler, self.end)).sum())]
        if not len(kept):
            raise InputError(
                f"denoising_end is {self.end}, before the first of the steps: give a greater one, "
                "or more steps."
            )
        return kept

    def _shift(self, scheduler: Scheduler) -> dict[str, Any]:
        if self.mu is not None:
            return {"mu": self.mu}
        if not scheduler.config.get("use_dynamic_shifting"):
            return {}
        return {"mu": shift_of(scheduler.config, self.tokens, self.max_shift)}

    def _set_steps(self, scheduler: Scheduler, device: torch.device) -> int:
        """Gives how many steps the whole schedule has, as Diffusers counts them."""
        further = self._shift(scheduler)
        if self.original_inference_steps is not None:
            further["original_inference_steps"] = self.original_inference_steps
        if self.own_strength and self.strength is not None:
            further["strength"] = self.strength
        sigmas = self.sigmas
        if sigmas is None and self._lays_linear(scheduler) and self.num_inference_steps is not None:
            count = self.num_inference_steps
            sigmas = np.linspace(1.0, 1 / count, count).tolist()
        if self.timesteps is not None:
            scheduler.set_timesteps(timesteps=list(self.timesteps), device=device, **further)
        elif sigmas is not None:
            if not _takes_sigmas(scheduler):
                raise InputError(
                    f"{type(scheduler).__name__} takes no noise levels, and this model's fall "
                    "evenly: take a solver that does, such as solver/flow_euler."
                )
            # An array, since some schedulers calculate with it as it is.
            scheduler.set_timesteps(sigmas=np.asarray(sigmas), device=device, **further)
        elif self.num_inference_steps is not None:
            scheduler.set_timesteps(self.num_inference_steps, device=device, **further)
            return self.num_inference_steps
        return len(scheduler.timesteps)

    def _lays_linear(self, scheduler: Scheduler) -> bool:
        """Says whether even noise levels are made for a scheduler that is given none."""
        if isinstance(self.linear_sigmas, str):
            check_choice("linear_sigmas", self.linear_sigmas, ("always",))
        if not self.linear_sigmas or not scheduler.config.get("use_flow_sigmas"):
            return bool(self.linear_sigmas)
        return self.linear_sigmas == "always" and _takes_sigmas(scheduler)


def _takes_sigmas(scheduler: Scheduler) -> bool:
    return "sigmas" in inspect.signature(scheduler.set_timesteps).parameters


def _cutoff(scheduler: Scheduler, share: float) -> int:
    """Gives the timestep of training at a share of its schedule, counted from noise."""
    count: int = scheduler.config.num_train_timesteps
    return round(count - share * count)
