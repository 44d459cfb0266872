"""Timesteps for training, some of them more often."""

from __future__ import annotations

import torch

from yggdrasil.blocks.checks import check_count, check_range
from yggdrasil.blocks.timesteps.drawing import (
    check_timestep_count,
    draw_for_each_sample,
    timestep_count,
)
from yggdrasil.core.errors import ConfigError, InputError
from yggdrasil.core.kinds import Generator, Latents, Timestep
from yggdrasil.core.ports import op
from yggdrasil.core.registry import register_block
from yggdrasil.core.roles import AbstractTimesteps
from yggdrasil.core.values import SolverSpec

__all__ = ["BiasedTimesteps"]


@register_block("timesteps/biased")
class BiasedTimesteps(AbstractTimesteps):
    """The timesteps of a range more often, or less often, than the others.

    What a caption says is decided while there is much noise, and details while there is little:
    training may dwell on either.

    Args:
        begin: The first timestep of the range.
        end: The timestep after the last of the range; the schedule's end unless given.
        multiplier: How many times as probable as the others those of the range are.
        num_train_timesteps: How many the schedule has; as many as the solver's unless given.

    Source:
        ``generate_timestep_weights`` in Diffusers' ``train_text_to_image_sdxl.py``, whose
        ``range`` strategy this is; ``later`` and ``earlier`` are ranges up to an end.
    """

    def __init__(
        self,
        begin: int = 0,
        end: int | None = None,
        multiplier: float = 1.0,
        num_train_timesteps: int | None = None,
    ) -> None:
        check_timestep_count(self.type_name, num_train_timesteps)
        try:
            check_count("begin", begin, least=0)
            if end is not None:
                check_count("end", end, least=begin + 1)
            # Weights are added up in float32: nothing may vanish or overflow.
            check_range("multiplier", multiplier, 1e-6, 1e6)
        except InputError as error:
            raise ConfigError(f"{self.type_name}: {error}") from error
        self.begin = begin
        self.end = end
        self.multiplier = multiplier
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
            InputError: There are several generators, but not one for each sample; nothing says how
                many timesteps there are; or the range goes beyond them.
        """
        highest = timestep_count(self.type_name, self.num_train_timesteps, solver)
        end = highest if self.end is None else self.end
        if not self.begin < end <= highest:
            raise InputError(
                f"{self.type_name} has the range {self.begin} to {end}, and training has "
                f"{highest} timesteps: give begin and end within them."
            )

        def draw(count: int, source: torch.Generator | None, where: torch.device) -> torch.Tensor:
            weights = torch.ones(highest, device=where)
            weights[self.begin : end] *= self.multiplier
            return torch.multinomial(weights, count, replacement=True, generator=source)

        return draw_for_each_sample(draw, latents, generator)
