"""What a caller may say of the timesteps of a run, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import EDMEulerScheduler

from tests.blocks.solver.driving import (
    NAMES,
    SEEDED,
    draw,
    drive,
    further_of,
    noised,
    run,
    scheduler_of,
    seeded,
)
from yggdrasil.blocks.solver.shell import can_noise
from yggdrasil.core.errors import InputError
from yggdrasil.core.registry import block_class, make_block


def taking(word):
    """Gives the solvers that take timesteps, or sigmas, of the caller's."""
    return [name for name in NAMES if word in block_class(name).schedules()]


# LCM and TCD warn of timesteps that are none of those they were distilled at.
GIVEN = {
    "timesteps": [899, 499, 99],
    "sigmas": [14.0, 3.0, 0.7, 0.0],
}
OTHERWISE_GIVEN = {
    ("solver/consistency", "timesteps"): [39, 20, 5],  # of 40
    ("solver/flow_euler", "sigmas"): [1.0, 0.75, 0.5, 0.25],
    ("solver/flow_lcm", "sigmas"): [1.0, 0.75, 0.5, 0.25],
    ("solver/unipc", "sigmas"): [1.0, 0.75, 0.5, 0.25],
}


@pytest.mark.parity
@pytest.mark.parametrize(
    ("name", "word"), [(name, word) for word in GIVEN for name in taking(word)]
)
@pytest.mark.parametrize("strength", [None, 0.7])
def test_given_schedules(name, word, strength):
    given = OTHERWISE_GIVEN.get((name, word), GIVEN[word])
    flows = {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "flow_shift": 3.0}
    options = flows if (name, word) == ("solver/unipc", "sigmas") else {}
    noise, init = draw(0, 1, 4, 8, 8), draw(1, 1, 4, 8, 8)
    reference = scheduler_of(name, **options)
    # UniPC calculates with sigmas as they are.
    reference.set_timesteps(**{word: np.array(given) if word == "sigmas" else given})
    timesteps, begin = reference.timesteps, 0
    latents = noise * getattr(reference, "init_noise_sigma", 1.0)
    if strength is not None:
        steps = len(timesteps)
        begin = (steps - int(steps * strength)) * reference.order
        timesteps = timesteps[begin:]
        if hasattr(reference, "set_begin_index"):
            reference.set_begin_index(begin)
        latents = noised(reference, init, noise, timesteps[:1])
    expected = drive(reference, timesteps, latents, **further_of(reference, seeded(3)))
    solver = make_block(name, **SEEDED.get(name, {}), **options).give(scheduler=scheduler_of(name))
    start = {} if strength is None else {"init_latents": init, "strength": strength}
    states = run(solver, solver.start(noise, **{word: given}, **start), generator=seeded(3))
    assert torch.equal(states[-1].latents, expected)


def test_which_solvers_take_schedules():
    assert set(taking("timesteps")) == {
        "solver/consistency",
        "solver/ddpm",
        "solver/ddpm_parallel",
        "solver/dpmpp_2m",
        "solver/dpmpp_2m_sde",
        "solver/dpmpp_2s",
        "solver/euler",
        "solver/flow_euler",
        "solver/flow_lcm",
        "solver/heun",
        "solver/lcm",
        "solver/tcd",
    }
    assert set(taking("sigmas")) == {
        "solver/euler",
        "solver/flow_euler",
        "solver/flow_lcm",
        "solver/unipc",
    }


def test_a_list_of_sigmas_is_none_for_edm_euler():
    with pytest.raises(AttributeError, match="'list' object has no attribute 'to'"):
        EDMEulerScheduler().set_timesteps(sigmas=[14.0, 3.0])
    with pytest.raises(InputError, match="solver/edm_euler takes no sigmas of the caller's"):
        make_block("solver/edm_euler").check_inputs("start", {"sigmas": [14.0, 3.0]})


def test_full_strength_of_inpainting_begins_with_noise():
    solver = make_block("solver/euler")
    noise, init = draw(0, 1, 4, 8, 8), draw(1, 1, 4, 8, 8)
    plain = solver.start(noise, num_inference_steps=4)
    for given in (init, None):
        state = solver.start(
            noise, given, num_inference_steps=4, strength=1.0, full_strength="noise"
        )
        assert torch.equal(state.latents, plain.latents)
    partly = solver.start(noise, init, num_inference_steps=4, strength=0.5, full_strength="noise")
    noised = solver.start(noise, init, num_inference_steps=4, strength=0.5)
    assert torch.equal(partly.latents, noised.latents)
    given_noise = solver.start(noise, num_inference_steps=4, strength=0.5, full_strength="noise")
    assert given_noise.count == 2
    assert not torch.equal(given_noise.latents, noised.latents)


@pytest.mark.parametrize(
    ("known", "unused"),
    [
        ({"full_strength": "noise", "strength": 1.0}, {"init_latents"}),
        ({"full_strength": "noise", "strength": 0.5}, set()),
        ({"full_strength": "noise", "strength": 0.5, "noise": None}, {"init_latents"}),
        ({"strength": 1.0}, set()),
        ({}, set()),
    ],
)
def test_unused_latents(known, unused):
    assert make_block("solver/ddim").unused_inputs("start", known) == unused
    assert make_block("solver/ddim").unused_inputs("step", known) == set()


@pytest.mark.parametrize(
    ("known", "message"),
    [
        ({"num_inference_steps": 0}, "num_inference_steps is 0: give a whole number of at least 1"),
        ({"num_inference_steps": True}, "num_inference_steps is True"),
        ({"num_inference_steps": 4.0}, "num_inference_steps is 4.0"),
        ({"num_inference_steps": None}, "num_inference_steps is None"),
        ({"num_inference_steps": 2000}, "EulerDiscrete|cannot be larger|refuses"),
        ({"strength": 1.5}, "strength is 1.5: it lies between 0.0 and 1.0; the nearest is 1.0"),
        ({"strength": float("nan")}, "strength is nan: give a finite number"),
        ({"strength": "much"}, "strength is 'much'"),
        ({"strength": 0.01, "num_inference_steps": 10}, "leaves none of 10 steps.*strength=0.1"),
        ({"timesteps": [1], "sigmas": [1.0]}, "timesteps and sigmas are both given"),
        ({"timesteps": [500, 1]}, "solver/ddim takes no timesteps"),
        ({"linear_sigmas": "alway"}, "linear_sigmas is 'alway'.*'always'"),
        ({"full_strength": "noize"}, "Did you mean 'noise' or 'noised'"),
    ],
)
def test_refused_inputs(known, message):
    with pytest.raises(InputError, match=message):
        make_block("solver/ddim").check_inputs("start", known)


def test_refused_custom_schedules():
    solver = make_block("solver/euler", use_karras_sigmas=True)
    with pytest.raises(InputError, match="refuses the schedule: Cannot set `timesteps`"):
        solver.check_inputs("start", {"timesteps": [500, 1]})
    with pytest.raises(InputError, match="timesteps is empty"):
        solver.check_inputs("start", {"timesteps": []})


def test_accepted_inputs():
    solver = make_block("solver/euler")
    solver.check_inputs("start", {})
    solver.check_inputs("start", {"num_inference_steps": None, "timesteps": [500, 1]})
    solver.check_inputs("start", {"strength": 0.5, "num_inference_steps": 2})
    solver.check_inputs("step", {"num_inference_steps": 0})


def test_latents_and_strength_go_together():
    solver = make_block("solver/ddim")
    noise = draw(0, 1, 4, 8, 8)
    with pytest.raises(InputError, match="init_latents are given without a strength"):
        solver.start(noise, noise)
    with pytest.raises(InputError, match="there are no init_latents to begin from"):
        solver.start(noise, strength=0.5)


@pytest.mark.parametrize("name", [n for n in NAMES if n != "solver/pndm"])
@pytest.mark.parametrize("steps", [1, 2])
def test_the_shortest_schedules(name, steps):
    solver = make_block(name)
    states = run(solver, solver.start(draw(0, 1, 4, 8, 8), num_inference_steps=steps))
    assert torch.isfinite(states[-1].latents).all()


@pytest.mark.parametrize("name", ["solver/ddim_inverse", "solver/ipndm"])
def test_some_schedulers_cannot_begin_with_a_picture(name):
    assert not can_noise(block_class(name).scheduler_class())
    solver = make_block(name)
    message = f"{name} cannot begin with a picture: .*Scheduler has no add_noise"
    with pytest.raises(InputError, match=message):
        solver.check_inputs("start", {"strength": 0.5, "num_inference_steps": 4})
    with pytest.raises(InputError, match=message):
        solver.check_inputs("renoise", {})
    solver.check_inputs("start", {"num_inference_steps": 4})
    solver.check_inputs("start", {"strength": 1.0, "full_strength": "noise"})
    noise = draw(0, 1, 4, 8, 8)
    with pytest.raises(InputError, match=message):
        solver.start(noise, noise, num_inference_steps=4, strength=0.5)


def test_given_latents_may_be_what_is_begun_with():
    solver = make_block("solver/flow_euler", shift=3.0)
    given = draw(0, 1, 4, 8, 8)
    call = {"num_inference_steps": 4, "strength": 0.5, "given_latents": "sample"}
    state = solver.start(given, **call)
    assert torch.equal(state.latents, given)
    assert state.count == 2
    assert solver.unused_inputs("start", {**call, "noise": given}) == {"init_latents"}
    assert solver.unused_inputs("start", call) == set()
    with pytest.raises(InputError, match="given_latents is 'picture'"):
        solver.check_inputs("start", {**call, "given_latents": "picture"})


def test_what_has_nothing_to_shift_refuses_mu():
    with pytest.raises(InputError, match="solver/euler has no schedule to shift: leave mu out"):
        make_block("solver/euler").check_inputs("start", {"mu": 0.5})


def test_a_family_says_the_largest_shift_where_the_scheduler_does_not():
    solver = make_block(
        "solver/dpmpp_2m", use_dynamic_shifting=True, use_flow_sigmas=True,
        prediction_type="flow_prediction",
    )  # fmt: skip
    noise, call = draw(0, 1, 4, 8, 8), {"num_inference_steps": 3, "tokens": 4096}
    said = [solver.start(noise, max_shift=each, **call).timesteps for each in (1.15, 1.16, None)]
    assert not torch.equal(said[0], said[1])
    assert torch.equal(said[0], said[2])
