"""Runs made by solvers and by the schedulers of Diffusers, with a stand-in for the model."""

from __future__ import annotations

import torch

from yggdrasil.blocks.solver.catalog import SOLVERS
from yggdrasil.core.registry import block_class

NAMES = sorted(SOLVERS)
CONFIG = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "steps_offset": 1,
}
SEEDED = {"solver/dpmpp_sde": {"noise_sampler_seed": 7}}
"""Without them Diffusers takes a seed that the caller cannot decide."""


def draw(number, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(number))


def seeded(number):
    return torch.Generator().manual_seed(number)


def model(sample, timestep):
    """Stands in for a network: depends on both of its inputs."""
    if timestep.ndim:
        timestep = timestep.view(-1, 1, 1, 1)
    return torch.tanh(sample * 0.7) + 1e-4 * timestep


def with_option(option):
    """Gives the solvers whose schedulers have an option."""
    return [name for name in NAMES if option in options_of(name)]


def options_of(name):
    from yggdrasil.blocks.configuration import constructor_defaults

    return constructor_defaults(block_class(name).scheduler_class())


def scheduler_of(name, **options):
    """Makes the scheduler that a solver of the name should do as."""
    cls = block_class(name)
    given = {**cls.own_options, **SEEDED.get(name, {}), **options}
    return cls.scheduler_class().from_config(dict(CONFIG), **given)


def run(solver, state, *, generator=None, eta=0.0):
    states = [state]
    while not solver.done(state):
        tick = solver.tick(state)
        output = model(tick.sample, tick.timestep)
        state = solver.step(tick.state, output, generator, eta)
        states.append(state)
    return states


def drive(scheduler, timesteps, latents, **further):
    for timestep in timesteps:
        sample = latents
        if hasattr(scheduler, "scale_model_input"):
            sample = scheduler.scale_model_input(latents, timestep)
        output = model(sample, timestep)
        latents = scheduler.step(output, timestep, latents, **further, return_dict=False)[0]
    return latents


def further_of(scheduler, generator, eta=0.0):
    accepted = type(scheduler).step.__code__.co_varnames
    both = {"generator": generator, "eta": eta}
    return {name: value for name, value in both.items() if name in accepted}


def noised(scheduler, init, noise, timesteps):
    if hasattr(scheduler, "add_noise"):
        return scheduler.add_noise(init, noise, timesteps)
    return scheduler.scale_noise(init, timesteps, noise)
