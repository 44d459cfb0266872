"""Solvers whose noise is a Brownian path."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from yggdrasil.blocks.batching import GeneratorArgument, as_generators
from yggdrasil.blocks.solver.diffusers_solver import DiffusersSolver
from yggdrasil.blocks.solver.shell import Scheduler
from yggdrasil.core.kinds import Generator

__all__ = ["BrownianSolver"]

# As DPMSolverSDEScheduler calls it, where the configuration may fill it.
_SEEDS = "noise_sampler_seed"


class BrownianSolver(DiffusersSolver):
    """A scheduler of Diffusers that takes its noise from a Brownian path.

    Diffusers keeps the path in the scheduler, a tree that grows where it is asked. Here a state
    holds the seeds, and each step grows as much of the tree as it asks for, so the same state
    gives the same bits however often it is stepped from, and can be stored.

    The seed is that of the configuration, where it has one. Otherwise a scheduler that takes a
    generator reads it off there, and for one that takes none, a number is drawn from the caller's
    generator: one for the batch or one for each sample. (Diffusers draws it from PyTorch's global
    generator, so that a seed does not decide the picture.)

    Args:
        options: Values of the scheduler's configuration to be used instead, by name.

    Raises:
        ConfigError: The scheduler has no such option, or torchsde is not installed.

    Source:
        Li et al. 2020 (arXiv:2001.01328), section 4, for the path.
    """

    unstored: ClassVar[tuple[str, ...]] = ("noise_sampler",)

    def draws(self, eta: float) -> bool:
        """Says that every step needs noise; the seed of its path may be drawn.

        Args:
            eta: Not read.
        """
        del eta
        return True

    def _further(
        self, scheduler: Scheduler, latents: Tensor, generator: Generator | None, eta: float
    ) -> dict[str, Any]:
        further = super()._further(scheduler, latents, generator, eta)
        if further.get("generator") is not None:
            return further
        own = vars(scheduler)
        if own.get(_SEEDS) is None:
            own[_SEEDS] = _draw_seeds(as_generators(generator, len(latents)))
        seeds: Any = own[_SEEDS]
        if "generator" in further:
            further["generator"] = torch.Generator().manual_seed(seeds)
        else:
            own["noise_sampler"] = _path(scheduler, latents, seeds)
        return further


def _path(scheduler: Any, latents: Tensor, seeds: int | list[int]) -> object:
    """Makes the path that ``DPMSolverSDEScheduler`` would hold at this moment."""
    # Here, since torchsde, which it imports, is no requirement.
    from diffusers.schedulers.scheduling_dpmsolver_sde import (  # noqa: PLC0415
        BrownianTreeNoiseSampler,
    )

    sigmas = scheduler.sigmas
    low, high = sigmas[sigmas > 0].min(), sigmas.max()
    path = BrownianTreeNoiseSampler(latents, low.item(), high.item(), seeds)
    if scheduler.mid_point_sigma is not None:
        # The increment of a whole step is the sum of its parts where these were asked for before,
        # and the sum is rounded otherwise than the whole.
        sigma = sigmas[scheduler.step_index - 1]
        path(sigma.log().neg().neg().exp(), scheduler.mid_point_sigma)
    return path


def _draw_seeds(generator: GeneratorArgument) -> int | list[int]:
    if isinstance(generator, list):
        return [_draw_seed(each) for each in generator]
    return _draw_seed(generator)


def _draw_seed(generator: torch.Generator | None) -> int:
    device = "cpu" if generator is None else generator.device
    return int(torch.randint(0, 2**63 - 1, [], generator=generator, device=device).item())
