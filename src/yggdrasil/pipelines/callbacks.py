"""Diffusers' step callbacks on a graph: they see and replace values by name.

``callback_on_step_end(pipe, step, timestep, values) -> values`` is called after each step. It may
replace ``latents`` (the solver's state goes on from them) and whatever is fixed in the loop
(``prompt_embeds``, ``guidance_scale``, ``mask``, ...); replacements last to the loop's end. It may
set ``pipe._interrupt = True`` to end the loop there and go on to the decoder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from yggdrasil.core.errors import InputError, nearest
from yggdrasil.core.executor import StepEvent
from yggdrasil.core.plan import Call
from yggdrasil.core.values import BranchedConditioningValue, ConditioningValue

__all__ = ["StepCallback", "StepPipe"]

_EMBEDS = "encoder_hidden_states"


class StepPipe:
    """What a callback gets as ``pipe``: the pipeline, with Diffusers' names for a running call.

    Args:
        pipeline: The pipeline; unknown attributes are looked up there.
        event: The step.
    """

    def __init__(self, pipeline: object, event: StepEvent) -> None:
        self._pipeline = pipeline
        self._event = event
        self._interrupt = False

    @property
    def num_timesteps(self) -> int | None:
        """How many evaluations the loop takes."""
        return self._event.count

    _num_timesteps = num_timesteps

    @property
    def guidance_scale(self) -> float:
        """The guidance scale of this and the following steps."""
        return float(_read(self._event, "guidance_scale"))

    @property
    def _guidance_scale(self) -> float:
        return self.guidance_scale

    @_guidance_scale.setter
    def _guidance_scale(self, value: float) -> None:
        _write(self._event, "guidance_scale", value)

    def __getattr__(self, name: str) -> Any:
        """Looks an attribute up on the pipeline."""
        return getattr(self._pipeline, name)


class StepCallback:
    """Calls a Diffusers step callback after every step.

    Args:
        callback: The function, or a ``PipelineCallback`` of Diffusers.
        pipeline: Handed to the callback.
        names: Which values it gets, by name.
    """

    def __init__(
        self,
        callback: Callable[..., Mapping[str, Any] | None],
        pipeline: object,
        names: Sequence[str],
    ) -> None:
        self._callback = callback
        self._pipeline = pipeline
        self._names = tuple(getattr(callback, "tensor_inputs", None) or names)

    def on_call(self, call: Call) -> None:
        """Ignores what is no step."""

    def on_step(self, event: StepEvent) -> None:
        """Calls the callback and takes over what it gives back."""
        pipe = StepPipe(self._pipeline, event)
        # Read before the callback: it must see what the step was made with.
        values = {name: _read(event, name) for name in self._names}
        state = event.values[event.loop.state]
        index = event.index - 1
        answer = self._callback(pipe, index, state.timesteps[index], values)
        for name, value in (answer or {}).items():
            if value is not values.get(name):
                _write(event, name, value)
        event.stop = event.stop or pipe._interrupt  # noqa: SLF001 - Diffusers' own flag


def _read(event: StepEvent, name: str) -> Any:
    if name == "latents":
        return event.values[event.loop.carried].latents
    if name in ("prompt_embeds", "negative_prompt_embeds"):
        branches = event.values[_slot_of(event, "branches")]
        if name == "prompt_embeds":
            return branches.joined.tensors[_EMBEDS]
        return branches.parts[0].tensors[_EMBEDS] if len(branches.parts) > 1 else None
    return event.values[_slot_of(event, name)]


def _write(event: StepEvent, name: str, value: Any) -> None:
    if name == "latents":
        carried = event.loop.carried
        event.values[carried] = event.values[carried].with_latents(value)
    elif name == "prompt_embeds":
        for slot in _slots_of(event, "branches", "conditioning"):
            event.values[slot] = _with_embeds(event.values[slot], value)
    elif name != "negative_prompt_embeds":
        # Diffusers joins the negative embeddings before the loop, so replacing them there has no
        # effect either; everything else is taken over.
        for slot in _slots_of(event, name):
            event.values[slot] = value


def _with_embeds(
    value: BranchedConditioningValue | ConditioningValue, embeds: Tensor
) -> BranchedConditioningValue | ConditioningValue:
    """Replaces the embeddings; one branch's worth of them ends guidance."""
    if isinstance(value, ConditioningValue):
        return replace(value, tensors={**value.tensors, _EMBEDS: embeds}, batch=len(embeds))
    if len(embeds) == value.joined.batch:
        tensors = {**value.joined.tensors, _EMBEDS: embeds}
        return replace(value, joined=replace(value.joined, tensors=tensors))
    part = value.parts[-1]
    tensors = {**part.tensors, _EMBEDS: embeds}
    return BranchedConditioningValue.join(
        {value.names[-1]: ConditioningValue(tensors=tensors, batch=len(embeds))}
    )


def _slot_of(event: StepEvent, *ports: str) -> int:
    slots = _slots_of(event, *ports)
    if not slots:
        fixed = {port for call in event.loop.body for port, _ in call.arguments}
        raise InputError(
            f"callback_on_step_end_tensor_inputs names {ports[0]!r}, which this loop does not "
            f"read.{nearest(ports[0], fixed | {'latents', 'prompt_embeds'})}"
        )
    return slots[0]


def _slots_of(event: StepEvent, *ports: str) -> list[int]:
    """Gives the slots that the loop reads from outside through ports of these names."""
    inside = event.loop.writes()
    found = {
        slot: None
        for call in event.loop.body
        for port, slot in call.arguments
        if port in ports and isinstance(slot, int) and slot not in inside
    }
    return list(found)
