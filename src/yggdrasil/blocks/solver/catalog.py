"""The solvers by name. A scheduler of Diffusers becomes a solver by one line here."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import diffusers

from yggdrasil.blocks.solver.diffusers_solver import DiffusersSolver
from yggdrasil.core.component import Component
from yggdrasil.core.errors import ConfigError, nearest
from yggdrasil.core.registry import register_block

__all__ = ["SOLVERS", "Entry", "solver_type_for"]


class Entry(NamedTuple):
    """A solver's name, the scheduler that it drives, and what is particular about that.

    Attributes:
        name: As in ``solver/name``.
        scheduler: The class's name in Diffusers.
        written_in_place: Attributes holding tensors that ``step`` changes instead of replacing.
        counts_timesteps: Whether ``step`` takes timesteps as places on the training schedule.
    """

    name: str
    scheduler: str
    written_in_place: tuple[str, ...] = ()
    counts_timesteps: bool = False


_ENTRIES = (
    Entry("ddim", "DDIMScheduler", counts_timesteps=True),
    Entry("ddpm", "DDPMScheduler", counts_timesteps=True),
    Entry("dpmpp_2m", "DPMSolverMultistepScheduler"),
    Entry("euler", "EulerDiscreteScheduler"),
    Entry("euler_a", "EulerAncestralDiscreteScheduler"),
    Entry("heun", "HeunDiscreteScheduler"),
    Entry("lcm", "LCMScheduler"),
    Entry("pndm", "PNDMScheduler", written_in_place=("cur_model_output",), counts_timesteps=True),
    Entry("unipc", "UniPCMultistepScheduler"),
)


def solver_type_for(scheduler_class_name: str) -> str:
    """Gives the solver that drives a scheduler of Diffusers.

    Args:
        scheduler_class_name: As in a ``model_index.json``, such as ``EulerDiscreteScheduler``.

    Raises:
        ConfigError: No solver drives it.
    """
    found = _TYPES.get(scheduler_class_name)
    if found is None:
        raise ConfigError(
            f"No solver drives the scheduler {scheduler_class_name!r}."
            f"{nearest(scheduler_class_name, _TYPES)}"
        )
    return found


def _define(entry: Entry) -> type[DiffusersSolver]:
    """Makes the class of an entry: the general solver, with a slot for the entry's scheduler."""
    body = {
        "__doc__": f"Diffusers' ``{entry.scheduler}`` as a solver; its options are its parameters.",
        "__module__": __name__,
        # A function, since Diffusers imports a scheduler when it is first asked for.
        "scheduler": Component[Any](
            functools.partial(getattr, diffusers, entry.scheduler), optional=True
        ),
        "written_in_place": entry.written_in_place,
        "counts_timesteps": entry.counts_timesteps,
    }
    cls = type(f"{entry.scheduler.removesuffix('Scheduler')}Solver", (DiffusersSolver,), body)
    return register_block(f"solver/{entry.name}")(cls)


SOLVERS: Mapping[str, type[DiffusersSolver]] = MappingProxyType(
    {f"solver/{entry.name}": _define(entry) for entry in _ENTRIES}
)
"""The classes by type name."""

_TYPES: Mapping[str, str] = MappingProxyType(
    {entry.scheduler: f"solver/{entry.name}" for entry in _ENTRIES}
)

# A class that is pickled is looked up by its name in its module.
globals().update({cls.__name__: cls for cls in SOLVERS.values()})
