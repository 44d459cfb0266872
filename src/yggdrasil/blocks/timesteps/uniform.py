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

__all__ = ["UniformTimesteps"]


@register_block("timesteps/uniform")
class UniformTimesteps(AbstractTimesteps):
    """Every timestep of the training schedule with the same probability.

    Args:
        num_train_timesteps: How many the schedule has.

    Source:
        Ho et al. 2020 (arXiv:2006.11239), algorithm 1.
    """

    def __init__(self, num_train_timesteps: int = 1000) -> None:
        try:
            check_count("num_train_timesteps", num_train_timesteps)
        except InputError as error:
            raise ConfigError(f"{self.type_name}: {error}") from error
        self.num_train_timesteps = num_train_timesteps

    @op
    def sample(self, latents: Latents, generator: Generator | None = None) -> Timestep:
        """Draws a timestep for each sample.

        Args:
            latents: ``b c h w``; batch and device are read.
            generator: One for the batch, or one for each sample; it draws on its own device.

        Returns:
            ``b``, int64, from 0 to ``num_train_timesteps`` - 1.

        Raises:
            InputError: There are several generators, but not one for each sample.
        """
        batch = len(latents)
        generators = as_generators(generator, batch)
        if isinstance(generators, list):
            return torch.cat([self._draw(1, each, latents.device) for each in generators])
        return self._draw(batch, generators, latents.device)

    def _draw(
        self, count: int, generator: torch.Generator | None, device: torch.device
    ) -> torch.Tensor:
        where = device if generator is None else generator.device
        drawn = torch.randint(self.num_train_timesteps, (count,), generator=generator, device=where)
        return drawn.to(device)
