"""The solvers by name. A scheduler of Diffusers becomes a solver by one line here."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import diffusers

from yggdrasil.blocks.solver.brownian_solver import BrownianSolver
from yggdrasil.blocks.solver.diffusers_solver import DiffusersSolver
from yggdrasil.blocks.solver.native_ddim import NativeDDIMSolver
from yggdrasil.blocks.solver.native_dpmpp_2m import NativeDPMPP2MSolver
from yggdrasil.blocks.solver.native_euler import NativeEulerSolver
from yggdrasil.blocks.solver.native_euler_a import NativeEulerASolver
from yggdrasil.blocks.solver.native_pndm import NativePNDMSolver
from yggdrasil.blocks.solver.native_unipc import NativeUniPCSolver
from yggdrasil.blocks.solver.not_driven import NOT_DRIVEN
from yggdrasil.blocks.solver.training_form import FlowForm
from yggdrasil.core.component import Component
from yggdrasil.core.errors import ConfigError, nearest
from yggdrasil.core.registry import register_block

__all__ = ["SOLVERS", "Entry", "solver_type_for"]


class Entry(NamedTuple):
    """A solver's name, the scheduler that it drives, and what is particular about it.

    Attributes:
        name: As in ``solver/name``.
        scheduler: The class's name in Diffusers. Of several entries with one scheduler, the first
            is the solver of models that come with it.
        base: The class that drives it.
        particulars: Class attributes of the solver that differ from the base's.
    """

    name: str
    scheduler: str
    base: type[DiffusersSolver] = DiffusersSolver
    particulars: Mapping[str, Any] = MappingProxyType({})


def _if_stochastic(solver: DiffusersSolver, eta: float) -> bool:
    del eta
    return bool(solver.settings.get("stochastic_sampling"))


def _if_sde(solver: DiffusersSolver, eta: float) -> bool:
    del eta
    return "sde" in str(solver.settings.get("algorithm_type"))


def _with_eta(solver: DiffusersSolver, eta: float) -> bool:
    del solver
    return eta > 0


def _never(solver: DiffusersSolver, eta: float) -> bool:
    # What its scheduler's `step` would draw for is an argument that no pipeline gives.
    del solver, eta
    return False


_EDM = "models of Karras et al. 2022 are trained on noise levels drawn from a distribution"
_ENTRIES = (
    Entry(
        "cogvideox_ddim",
        "CogVideoXDDIMScheduler",
        particulars={"draws": _never, "untrained": "CogVideoX shifts its noise schedule"},
    ),
    Entry(
        "consistency",
        "CMStochasticIterativeScheduler",
        particulars={"untrained": "consistency models are trained on pairs of noise levels"},
    ),
    Entry(
        "cosine_dpmpp_2m_sde",
        "CosineDPMSolverMultistepScheduler",
        base=BrownianSolver,
        particulars={"untrained": _EDM},
    ),
    Entry(
        "ddim",
        "DDIMScheduler",
        particulars={"counts_timesteps": True, "draws": _with_eta, "twin": NativeDDIMSolver},
    ),
    Entry("ddim_inverse", "DDIMInverseScheduler"),
    Entry("ddim_parallel", "DDIMParallelScheduler", particulars={"draws": _with_eta}),
    Entry("ddpm", "DDPMScheduler", particulars={"counts_timesteps": True}),
    Entry("ddpm_parallel", "DDPMParallelScheduler"),
    Entry("deis", "DEISMultistepScheduler"),
    Entry("dpm2", "KDPM2DiscreteScheduler"),
    Entry("dpm2_a", "KDPM2AncestralDiscreteScheduler"),
    Entry(
        "dpmpp_2m",
        "DPMSolverMultistepScheduler",
        particulars={"draws": _if_sde, "twin": NativeDPMPP2MSolver},
    ),
    Entry("dpmpp_2m_inverse", "DPMSolverMultistepInverseScheduler", particulars={"draws": _if_sde}),
    Entry(
        "dpmpp_2m_sde",
        "DPMSolverMultistepScheduler",
        particulars={"draws": _if_sde, "own_options": {"algorithm_type": "sde-dpmsolver++"}},
    ),
    Entry("dpmpp_2s", "DPMSolverSinglestepScheduler", particulars={"draws": _if_sde}),
    Entry("dpmpp_sde", "DPMSolverSDEScheduler", base=BrownianSolver),
    Entry(
        "edm_dpmpp_2m",
        "EDMDPMSolverMultistepScheduler",
        particulars={"draws": _if_sde, "untrained": _EDM},
    ),
    Entry(
        "edm_euler",
        "EDMEulerScheduler",
        # What it calls sigmas are places on the ramp from the highest to the lowest.
        particulars={"draws": _never, "untrained": _EDM, "refuses": frozenset({"sigmas"})},
    ),
    Entry(
        "euler",
        "EulerDiscreteScheduler",
        particulars={"draws": _never, "twin": NativeEulerSolver},
    ),
    Entry("euler_a", "EulerAncestralDiscreteScheduler", particulars={"twin": NativeEulerASolver}),
    Entry(
        "flow_euler",
        "FlowMatchEulerDiscreteScheduler",
        particulars={"draws": _if_stochastic, "form": FlowForm},
    ),
    Entry(
        "flow_heun",
        "FlowMatchHeunDiscreteScheduler",
        particulars={"draws": _never, "form": FlowForm},
    ),
    Entry("flow_lcm", "FlowMatchLCMScheduler", particulars={"form": FlowForm}),
    Entry("heun", "HeunDiscreteScheduler"),
    Entry(
        "ipndm",
        "IPNDMScheduler",
        particulars={"untrained": "its timesteps are angles, no places on a training schedule"},
    ),
    Entry("lcm", "LCMScheduler", particulars={"ends_denoised": True}),
    Entry("lms", "LMSDiscreteScheduler"),
    Entry(
        "pndm",
        "PNDMScheduler",
        particulars={
            "counts_timesteps": True,
            "written_in_place": ("cur_model_output",),
            "twin": NativePNDMSolver,
        },
    ),
    # A function that is made with the scheduler: where the stochastic part begins and ends.
    Entry("sa", "SASolverScheduler", particulars={"unstored": ("tau_func",)}),
    Entry("tcd", "TCDScheduler", particulars={"draws": _with_eta}),
    Entry("unipc", "UniPCMultistepScheduler", particulars={"twin": NativeUniPCSolver}),
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
        reason = NOT_DRIVEN.get(scheduler_class_name)
        raise ConfigError(
            f"No solver drives the scheduler {scheduler_class_name!r}"
            + (f": {reason}." if reason else f".{nearest(scheduler_class_name, _TYPES)}")
        )
    return found


def _define(entry: Entry) -> type[DiffusersSolver]:
    """Makes the class of an entry: its base, with a slot for the entry's scheduler."""
    options = entry.particulars.get("own_options", {})
    shown = "".join(f", {name} {value}" for name, value in options.items())
    body = {
        "__doc__": f"Diffusers' ``{entry.scheduler}``{shown}, as a solver; its options are its "
        "parameters.",
        "__module__": __name__,
        # A function, since Diffusers imports a scheduler when it is first asked for.
        "scheduler": Component[Any](
            functools.partial(getattr, diffusers, entry.scheduler), optional=True
        ),
        **entry.particulars,
    }
    cls = type(_class_name(entry), (entry.base,), body)
    return register_block(f"solver/{entry.name}")(cls)


def _class_name(entry: Entry) -> str:
    return "".join(part.capitalize() for part in entry.name.split("_")) + "Solver"


SOLVERS: Mapping[str, type[DiffusersSolver]] = MappingProxyType(
    {f"solver/{entry.name}": _define(entry) for entry in _ENTRIES}
)
"""The classes by type name."""

_TYPES: Mapping[str, str] = MappingProxyType(
    {entry.scheduler: f"solver/{entry.name}" for entry in reversed(_ENTRIES)}
)

# A class that is pickled is looked up by its name in its module.
globals().update({cls.__name__: cls for cls in SOLVERS.values()})
