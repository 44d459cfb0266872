"""Solvers whose noise is a Brownian path, which grows where it is asked."""

from __future__ import annotations

import pytest
import torch

from tests.blocks.solver.driving import draw, drive, model, run, scheduler_of, seeded
from yggdrasil.core.registry import make_block

PATHS = ["solver/cosine_dpmpp_2m_sde", "solver/dpmpp_sde"]


@pytest.mark.parity
@pytest.mark.parametrize("options", [{"use_karras_sigmas": True}, {"timestep_spacing": "trailing"}])
@pytest.mark.parametrize("seeds", [7, [7, 8]])
def test_a_path_grown_anew_at_each_step_is_the_one_that_diffusers_keeps(options, seeds):
    noise = draw(0, 2, 4, 8, 8)
    reference = scheduler_of("solver/dpmpp_sde", **options, noise_sampler_seed=seeds)
    reference.set_timesteps(12)
    expected = drive(reference, reference.timesteps, noise * reference.init_noise_sigma)
    solver = make_block("solver/dpmpp_sde", **options, noise_sampler_seed=seeds)
    solver.give(scheduler=scheduler_of("solver/ddim"))
    states = run(solver, solver.start(noise, num_inference_steps=12))
    assert torch.equal(states[-1].latents, expected)


@pytest.mark.parity
@pytest.mark.parametrize("name", PATHS)
def test_without_a_seed_the_global_generator_is_asked_as_diffusers_asks_it(name):
    noise = draw(0, 1, 4, 8, 8)
    reference = scheduler_of(name, **({"noise_sampler_seed": None} if "sde" in name[:17] else {}))
    reference.set_timesteps(6)
    torch.manual_seed(5)
    expected = drive(reference, reference.timesteps, noise * reference.init_noise_sigma)
    solver = make_block(name).give(scheduler=scheduler_of("solver/ddim"))
    torch.manual_seed(5)
    states = run(solver, solver.start(noise, num_inference_steps=6))
    assert torch.equal(states[-1].latents, expected)


@pytest.mark.parametrize("name", PATHS)
def test_samples_with_generators_of_their_own_do_not_depend_on_the_batch(name):
    noise = draw(0, 2, 4, 8, 8)
    solver = make_block(name)
    both = run(
        solver,
        solver.start(noise, num_inference_steps=5),
        generator=[seeded(1), seeded(2)],
    )[-1].latents
    for number in range(2):
        start = solver.start(noise[number : number + 1], num_inference_steps=5)
        alone = run(solver, start, generator=[seeded(number + 1)])[-1].latents
        assert torch.equal(both[number : number + 1], alone)


def test_the_seed_is_drawn_once_and_the_rest_of_the_run_needs_no_generator():
    solver = make_block("solver/dpmpp_sde")
    generator = seeded(3)
    state = solver.start(draw(0, 1, 4, 8, 8), num_inference_steps=4)
    states = [state]
    places = []
    while not solver.done(state):
        tick = solver.tick(state)
        state = solver.step(tick.state, model(tick.sample, tick.timestep), generator)
        states.append(state)
        places.append(generator.get_state())
    assert not torch.equal(places[0], seeded(3).get_state())
    assert all(torch.equal(place, places[0]) for place in places)
    assert torch.equal(run(solver, states[1])[-1].latents, state.latents)
