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
from yggdrasil.core.inner_steps import InnerStep
from yggdrasil.core.plan import Call, Loop, Plan
from yggdrasil.core.values import BranchedConditioningValue

__all__ = ["StepCallback", "StepPipe"]

_TENSORS = {
    "prompt_embeds": "encoder_hidden_states",
    "add_text_embeds": "text_embeds",
    "add_time_ids": "time_ids",
    "pooled_prompt_embeds": "pooled_projections",
}
"""What Diffusers' pipelines call tensors of the conditioning, of all branches where they are one
batch; by the names of the model's arguments."""
_NEGATIVE = "negative_"


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

    def check(self, plan: Plan) -> None:
        """Refuses names that no loop of a plan can give, before anything runs.

        Raises:
            InputError: There is one.
        """
        loops = [item for item in plan.items if isinstance(item, Loop)]
        if not loops:
            self._check_inner(plan)
        for name in self._names:
            if loops and not any(_can_read(loop, name) for loop in loops):
                fixed = {port for loop in loops for port, _ in _fixed(loop)}
                known = {"latents", *_TENSORS, *(fixed - {"branches", "conditioning", "state"})}
                raise InputError(
                    f"callback_on_step_end_tensor_inputs names {name!r}, which no loop reads."
                    f"{nearest(name, known)}"
                )

    def _check_inner(self, plan: Plan) -> None:
        """Refuses names that no block with a loop inside gives."""
        opaque = [call for call in plan.calls() if call.spec.opaque]
        told = {call.vertex: call.block.step_values() for call in opaque}
        for vertex, names in told.items():
            if names is None:
                raise InputError(
                    f"callback_on_step_end: the pipeline of {vertex} takes no callback. Leave it "
                    "out."
                )
            for name in self._names:
                if name not in names:
                    raise InputError(
                        f"callback_on_step_end_tensor_inputs names {name!r}, which {vertex} does "
                        f"not give.{nearest(name, names)}"
                    )

    @property
    def step_values(self) -> tuple[str, ...]:
        """The values that it gets, by name."""
        return self._names

    def on_call(self, call: Call) -> None:
        """Ignores what is no step."""

    def on_inner_step(self, step: InnerStep) -> None:
        """Calls the callback for a step of a pipeline that runs as one block."""
        if step.values is None:
            return
        answer = self._callback(step.owner, step.index - 1, step.timestep, dict(step.values))
        step.values = {**step.values, **(answer or {})}
        # What a pipeline was told by its own flag is to be known here too.
        step.stop = step.stop or bool(getattr(step.owner, "_interrupt", False))

    def on_step(self, event: StepEvent) -> None:
        """Calls the callback and takes over what it gives back."""
        pipe = StepPipe(self._pipeline, event)
        # Read before the callback: it must see what the step was made with.
        values = {name: _read(event, name) for name in self._names}
        state = event.values[event.loop.state]
        index = event.index - 1
        # A mapping of its own: most callbacks write into the one they get and give it back.
        answer = self._callback(pipe, index, state.timesteps[index], dict(values))
        for name, value in (answer or {}).items():
            if value is not values.get(name):
                _write(event, name, value)
        event.stop = event.stop or pipe._interrupt  # noqa: SLF001 - Diffusers' own flag


def _read(event: StepEvent, name: str) -> Any:
    if name == "latents":
        return event.values[event.loop.carried].latents
    tensor = _tensor(name)
    if tensor is not None:
        branches = event.values[_slot_of(event.loop, "conditioning")]
        if branches.apart:
            part = _part(branches, name)
            return None if part is None else branches.parts[part].tensors[tensor]
        if not name.startswith(_NEGATIVE):
            return branches.joined.tensors[tensor]
        return branches.parts[0].tensors[tensor] if len(branches.alike) > 1 else None
    return event.values[_slot_of(event.loop, name)]


def _write(event: StepEvent, name: str, value: Any) -> None:
    if name == "latents":
        carried = event.loop.carried
        event.values[carried] = event.values[carried].with_latents(value)
    elif _tensor(name) is not None and _is_apart(event):
        for slot in _slots_of(event.loop, "conditioning"):
            event.values[slot] = _with_part(event.values[slot], name, value)
    elif name in _TENSORS:
        for slot in _slots_of(event.loop, "branches", "conditioning"):
            event.values[slot] = _with_tensor(event.values[slot], _TENSORS[name], value)
    elif _tensor(name) is None:
        # Diffusers joins the negative tensors before the loop, so replacing them there has no
        # effect either; everything else is taken over.
        for slot in _slots_of(event.loop, name):
            event.values[slot] = value


def _tensor(name: str) -> str | None:
    """Gives the model's name of a tensor of the conditioning, or None for other values."""
    return _TENSORS.get(name.removeprefix(_NEGATIVE))


def _with_tensor(
    value: BranchedConditioningValue, name: str, tensor: Tensor
) -> BranchedConditioningValue:
    """Replaces a tensor of all branches of a batch; one branch's worth of it ends guidance."""
    count = len(value.alike)
    last = value[value.alike[-1]]
    if len(tensor) == last.batch * count:
        own = dict(zip(value.alike, tensor.chunk(count), strict=True))
    else:
        value = BranchedConditioningValue.of({value.alike[-1]: last})
        own = {value.names[-1]: tensor}
    changed = {branch: value[branch] for branch in value.names}
    for branch, part in own.items():
        tensors = {**changed[branch].tensors, name: part}
        changed[branch] = replace(changed[branch], tensors=tensors, batch=len(part))
    return BranchedConditioningValue.of(changed, value.asides)


def _is_apart(event: StepEvent) -> bool:
    """Says whether the family evaluates branches one after the other."""
    value: BranchedConditioningValue = event.values[_slot_of(event.loop, "conditioning")]
    return value.apart


def _part(value: BranchedConditioningValue, name: str) -> int | None:
    """Gives the place of the branch that a name of Diffusers' is about, if there is such a one."""
    branch = "negative" if name.startswith(_NEGATIVE) else "positive"
    return value.names.index(branch) if branch in value.names else None


def _with_part(
    value: BranchedConditioningValue, name: str, tensor: Tensor
) -> BranchedConditioningValue:
    """Replaces a tensor of one branch, where branches are evaluated one after the other."""
    place, key = _part(value, name), _TENSORS[name.removeprefix(_NEGATIVE)]
    if place is None:
        return value
    parts = list(value.parts)
    parts[place] = replace(parts[place], tensors={**parts[place].tensors, key: tensor})
    return replace(value, parts=tuple(parts))


def _can_read(loop: Loop, name: str) -> bool:
    ports = ("conditioning",) if _tensor(name) is not None else (name,)
    return name == "latents" or bool(_slots_of(loop, *ports))


def _slot_of(loop: Loop, port: str) -> int:
    slots = _slots_of(loop, port)
    if not slots:
        raise InputError(f"{loop.vertex} reads no {port!r} from outside.")
    return slots[0]


def _slots_of(loop: Loop, *ports: str) -> list[int]:
    """Gives the slots that a loop reads from outside through ports of these names."""
    return list(dict.fromkeys(slot for port, slot in _fixed(loop) if port in ports))


def _fixed(loop: Loop) -> list[tuple[str, int]]:
    """Gives the ports and slots that a loop reads from outside."""
    inside = loop.writes()
    return [
        (port, slot)
        for call in loop.body
        for port, slot in call.arguments
        if isinstance(slot, int) and slot not in inside
    ]
