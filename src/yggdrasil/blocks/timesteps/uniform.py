"""Timesteps for training, all alike."""

from __future__ import annotations

import torch

from yggdrasil.blocks.timesteps.drawing import (
    check_timestep_count,
    draw_for_each_sample,
    timestep_count,
)
from yggdrasil.core.kinds import Generator, Latents, Timestep
from yggdrasil.core.ports import op
from yggdrasil.core.registry import register_block
from yggdrasil.core.roles import AbstractTimesteps
from yggdrasil.core.values import SolverSpec

__all__ = ["UniformTimesteps"]


@register_block("timesteps/uniform")
class UniformTimesteps(AbstractTimesteps):
    """Every timestep of the training schedule with the same probability.

    Args:
        num_train_timesteps: How many the schedule has; as many as the solver's unless given.

    Source:
        Ho et al. 2020 (arXiv:2006.11239), algorithm 1.
    """

    def __init__(self, num_train_timesteps: int | None = None) -> None:
        check_timestep_count(self.type_name, num_train_timesteps)
        self.num_train_timesteps = num_train_timesteps

    @op
    def sample(
        self,
        latents: Latents,
        generator: Generator | None = None,
        solver: SolverSpec | None = None,
    ) -> Timestep:
        """Draws a timestep for each sample.

        Args:
            latents: ``b c h w``; batch and device are read.
            generator: One for the batch, or one for each sample; it draws on its own device.
            solver: Says how many timesteps there are, where the block was not told.

        Returns:
            ``b``, int64, from 0 to ``num_train_timesteps`` - 1.

        Raises:
            InputError: There are several generators, but not one for each sample; or nothing says
                how many timesteps there are.
        """
        highest = timestep_count(self.type_name, self.num_train_timesteps, solver)

        def draw(count: int, source: torch.Generator | None, where: torch.device) -> torch.Tensor:
            return torch.randint(highest, (count,), generator=source, device=where)

        return draw_for_each_sample(draw, latents, generator)
