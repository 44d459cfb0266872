"""Schedulers without a state of their own.

A scheduler of Diffusers changes itself at every call. Here its state is a *record*, the mapping of
its attributes, which nobody changes; for each call a *shell*, a fresh object of the class, is
filled from the record, called once, and read back. So calling twice from one record gives equal
bits, and threads do not meet. Making a shell costs a microsecond or two.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, cast

from torch import Tensor

__all__ = ["Record", "Scheduler", "can_noise", "noised", "open_shell", "read_shell", "scales_input"]


class Scheduler(Protocol):
    """What the schedulers of Diffusers have in common."""

    order: int
    timesteps: Tensor
    num_inference_steps: int
    config: Any

    def set_timesteps(self, num_inference_steps: int = ..., **further: object) -> None:
        """Makes the schedule of a run."""
        ...

    def scale_model_input(self, sample: Tensor, timestep: Tensor) -> Tensor:
        """Scales a sample as the model reads it."""
        ...

    def step(
        self, model_output: Tensor, timestep: Tensor | int, sample: Tensor, **further: object
    ) -> tuple[Tensor, ...]:
        """Takes one step."""
        ...


Record = Mapping[str, Any]
"""The attributes of a scheduler at one moment; never changed."""


def open_shell(cls: type, record: Record, written_in_place: Iterable[str] = ()) -> Scheduler:
    """Makes a scheduler that stands where a record says.

    Args:
        cls: The scheduler's class.
        record: Its attributes. Lists and dicts are copied, since schedulers shift their history in
            place; tensors are shared, since schedulers replace them.
        written_in_place: The exceptions: tensors that are copied too.
    """
    attributes = dict(record)
    for name, value in record.items():
        kind = type(value)
        if kind is list or kind is dict:
            attributes[name] = value.copy()
    for name in written_in_place:
        if isinstance(attributes.get(name), Tensor):
            attributes[name] = attributes[name].clone()
    shell: object = object.__new__(cls)
    shell.__dict__ = attributes
    return cast("Scheduler", shell)


def scales_input(cls: type) -> bool:
    """Says whether a scheduler's ``scale_model_input`` does more than give the sample back.

    Most do not, which their bytecode tells, and knowing it spares a shell in each step.

    Args:
        cls: The scheduler's class.
    """
    method = getattr(cls, "scale_model_input", None)
    code = getattr(method, "__code__", None)
    return method is not None and (code is None or code.co_code != _give_back.__code__.co_code)


def _give_back(self: object, sample: Tensor, timestep: Tensor) -> Tensor:  # noqa: ARG001 - a method
    return sample


def read_shell(shell: object) -> Record:
    """Takes the attributes of a shell, which must not be used any more.

    Args:
        shell: A scheduler that nobody else holds.
    """
    return vars(shell)


def can_noise(cls: type) -> bool:
    """Says whether schedulers of a class can noise clean samples to a timestep."""
    return hasattr(cls, "add_noise") or hasattr(cls, "scale_noise")


def noised(scheduler: Any, clean: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
    """Noises clean samples to timesteps.

    Args:
        scheduler: One that can.
        clean: ``b c h w``.
        noise: ``b c h w``.
        timestep: ``b``, or one for all.
    """
    # The schedulers of flow have a name and an order of arguments of their own.
    if hasattr(scheduler, "add_noise"):
        result: Tensor = scheduler.add_noise(clean, noise, timestep)
    else:
        result = scheduler.scale_noise(clean, timestep, noise)
    return result
