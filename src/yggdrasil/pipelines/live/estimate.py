"""What a run would end at if the prediction of its last step were right.

The latents between two steps are mostly noise; what people want to see is the model's guess of the
end. Sample and prediction are two mixtures of the clean latents and the noise,

    sample = a x0 + s noise,    prediction = c x0 + d noise,

and a solver says the mixtures itself: ``corrupt`` gives a and s, ``target`` c and d. So one formula
holds for epsilon, v, sample and flow prediction.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from yggdrasil.core.errors import ConfigError
from yggdrasil.core.executor import StepEvent
from yggdrasil.core.plan import Call, Loop, Plan, Slot
from yggdrasil.core.roles import AbstractSolver

__all__ = ["estimate_latents", "keep_predictions"]


@dataclass(frozen=True, slots=True)
class _Places:
    """Where a loop's values are that the estimate needs."""

    solver: Any
    sample: Slot
    timestep: Slot
    prediction: Slot


def keep_predictions(plan: Plan) -> Plan:
    """Gives a plan whose loops keep what ``estimate_latents`` reads until the next step.

    Args:
        plan: What will run; a plan without such loops is given back as it is.
    """
    items = [_keeping(item) if isinstance(item, Loop) else item for item in plan.items]
    return replace(plan, items=tuple(items))


def estimate_latents(event: StepEvent) -> Tensor | None:
    """Estimates the clean latents that a step's prediction points to, packed where the loop's are.

    Args:
        event: A step of a plan that ``keep_predictions`` gave.

    Returns:
        In float32; the latents as they stand where the loop's solver has no such formula, and None
        where the loop's state has no latents.
    """
    places = _places(event.loop)
    latents = getattr(event.values[event.loop.carried], "latents", None)
    estimate = None if places is None else _solve(places, event.values)
    return estimate if estimate is not None else latents


def _solve(places: _Places, values: list[Any]) -> Tensor | None:
    solver = places.solver
    sample, prediction = values[places.sample].float(), values[places.prediction].float()
    try:
        last = solver.spec().num_train_timesteps - 1
        # Schedules may lie between the timesteps of training; the nearest is near enough to look.
        level = values[places.timestep].round().long().clamp(0, last).reshape(-1)
        one = torch.ones((1,) * sample.ndim, device=sample.device)
        zero = torch.zeros_like(one)
        a, s = solver.corrupt(one, zero, level), solver.corrupt(zero, one, level)
        c, d = solver.target(one, zero, level), solver.target(zero, one, level)
    except (ConfigError, NotImplementedError):  # the solver drives no model that it could train
        return None
    estimate: Tensor = (d * sample - s * prediction) / (a * d - s * c)
    return estimate


def _places(loop: Loop) -> _Places | None:
    """Finds the solver's step and tick in a loop, and the slots of what they read and give."""
    step, tick = _call_of(loop.body, "step"), _call_of(loop.body, "tick")
    if step is None or tick is None or "spec" not in step.block.ops():
        return None
    results = dict(tick.results)
    prediction = dict(step.arguments).get("model_output")
    if not isinstance(prediction, int) or not {"sample", "timestep"} <= results.keys():
        return None
    return _Places(step.block, results["sample"], results["timestep"], prediction)


def _call_of(body: Iterable[Call], op: str) -> Call | None:
    return next(
        (c for c in body if c.spec.name == op and isinstance(c.block, AbstractSolver)), None
    )


def _keeping(loop: Loop) -> Loop:
    places = _places(loop)
    if places is None:
        return loop
    kept = {places.sample, places.timestep, places.prediction}
    body = tuple(
        replace(call, frees=tuple(slot for slot in call.frees if slot not in kept))
        for call in loop.body
    )
    return replace(loop, body=body)  # which frees all that its body leaves
