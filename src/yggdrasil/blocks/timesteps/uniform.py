"""Timesteps for training, all alike."""

from __future__ import annotations

import torch

from yggdrasil.blocks.batching import as_generators
from yggdrasil.blocks.checks import check_count
from yggdrasil.core.errors import ConfigError, InputError
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
        if num_train_timesteps is not None:
            try:
                check_count("num_train_timesteps", num_train_timesteps)
            except InputError as error:
                raise ConfigError(f"{self.type_name}: {error}") from error
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
        count = self.num_train_timesteps
        if count is None:
            if solver is None:
                raise InputError(
                    f"{self.type_name} does not know how many timesteps training has: give it "
                    "num_train_timesteps, or a solver that has the op `spec`."
                )
            count = solver.num_train_timesteps
        batch = len(latents)
        generators = as_generators(generator, batch)
        if isinstance(generators, list):
            return torch.cat([_draw(count, 1, each, latents.device) for each in generators])
        return _draw(count, batch, generators, latents.device)


def _draw(
    highest: int, count: int, generator: torch.Generator | None, device: torch.device
) -> torch.Tensor:
    where = device if generator is None else generator.device
    return torch.randint(highest, (count,), generator=generator, device=where).to(device)
