"""What every block that draws timesteps does alike: how many there are, and one draw a sample."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from yggdrasil.blocks.batching import as_generators
from yggdrasil.blocks.checks import check_count
from yggdrasil.core.errors import ConfigError, InputError
from yggdrasil.core.values import SolverSpecValue

__all__ = ["check_timestep_count", "draw_for_each_sample", "timestep_count"]

Draw = Callable[[int, torch.Generator | None, torch.device], Tensor]
"""From how many are wanted, a generator and where it draws to that many timesteps."""


def check_timestep_count(type_name: str, count: int | None) -> None:
    """Refuses a count that a schedule cannot have.

    Raises:
        ConfigError: It is no whole number of at least 1.
    """
    if count is None:
        return
    try:
        check_count("num_train_timesteps", count)
    except InputError as error:
        raise ConfigError(f"{type_name}: {error}") from error


def timestep_count(type_name: str, told: int | None, solver: SolverSpecValue | None) -> int:
    """Gives how many timesteps training has: what the block was told, else the solver's.

    Raises:
        InputError: Nothing says.
    """
    if told is not None:
        return told
    if solver is None:
        raise InputError(
            f"{type_name} does not know how many timesteps training has: give it "
            "num_train_timesteps, or a solver that has the op `spec`."
        )
    return solver.num_train_timesteps


def draw_for_each_sample(
    draw: Draw,
    latents: Tensor,
    generator: torch.Generator | Sequence[torch.Generator] | None,
) -> Tensor:
    """Draws a timestep for each sample, from one generator or from one each.

    Args:
        draw: The distribution.
        latents: ``b ...``; batch and device are read.
        generator: One for the batch, or one for each sample; it draws on its own device.

    Returns:
        ``b``, on the device of the latents.

    Raises:
        InputError: There are several generators, but not one for each sample.
    """
    batch, device = len(latents), latents.device
    generators = as_generators(generator, batch)
    if isinstance(generators, list):
        return torch.cat([draw(1, each, each.device).to(device) for each in generators])
    where = device if generators is None else generators.device
    return draw(batch, generators, where).to(device)
