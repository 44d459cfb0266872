"""Wrapped solvers step by the rule on tensors where it gives the bits of their scheduler."""

from __future__ import annotations

import itertools
from types import MappingProxyType

import pytest
import torch

from tests.blocks.solver.driving import draw, drive, further_of, model, run, scheduler_of, seeded
from yggdrasil.blocks.solver import native_solver
from yggdrasil.blocks.solver.catalog import SOLVERS
from yggdrasil.blocks.solver.sample_states import SampleStates
from yggdrasil.core.errors import ConfigError, InputError
from yggdrasil.core.registry import make_block

TWINS = ["ddim", "dpmpp_2m", "euler", "euler_a", "pndm", "unipc"]


def solver_of(name, **options):
    given = {"skip_prk_steps": True} | options if name == "pndm" else options
    return make_block(f"solver/{name}", **given)


def started(solver, dtype=torch.float32, **call):
    return solver.start(draw(0, 2, 4, 8, 8).to(dtype), **{"num_inference_steps": 5, **call})


def on_tensors(state):
    return isinstance(state, SampleStates)


def test_the_twins_step_the_same_schedulers():
    named = {name: cls.twin for name, cls in SOLVERS.items() if cls.twin is not None}
    assert sorted(named) == [f"solver/{name}" for name in TWINS]
    for name, twin in named.items():
        assert twin.scheduler_class() is SOLVERS[name].scheduler_class()


@pytest.mark.parametrize("name", TWINS)
def test_the_twin_is_taken_in_single_precision_only(name):
    assert on_tensors(started(solver_of(name)))
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        assert not on_tensors(started(solver_of(name), dtype))
    with torch.autocast("cpu", torch.bfloat16):
        assert not on_tensors(started(solver_of(name)))


@pytest.mark.parametrize("name", TWINS)
def test_numbers_that_the_scheduler_has_on_the_device_are_calculated_there(name):
    twin = SOLVERS[f"solver/{name}"].twin
    assert twin.gives_bits_on(torch.device("cpu"))
    assert twin.gives_bits_on(torch.device("cuda", 1)) == (name != "unipc")


def test_the_twin_is_not_taken_where_it_does_not_give_the_bits(monkeypatch):
    assert on_tensors(started(solver_of("euler")))
    monkeypatch.setattr(
        SOLVERS["solver/euler"].twin, "gives_bits_on", staticmethod(lambda _: False)
    )
    assert not on_tensors(started(solver_of("euler")))


@pytest.mark.parametrize("name", TWINS)
def test_the_twin_can_be_switched_off(name):
    assert not on_tensors(started(solver_of(name, on_tensors=False)))
    with pytest.raises(ConfigError, match="on_tensors is 'no': give true or false"):
        solver_of(name, on_tensors="no")
    with pytest.raises(ConfigError, match="DEISMultistepScheduler has no option 'on_tensors'"):
        make_block("solver/deis", on_tensors=False)


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("ddim", "thresholding", True),
        ("dpmpp_2m", "solver_order", 3),
        ("dpmpp_2m", "algorithm_type", "sde-dpmsolver++"),
        ("pndm", "skip_prk_steps", False),
        ("unipc", "solver_order", 3),
        ("unipc", "predict_x0", False),
    ],
)
def test_the_twin_is_not_taken_where_it_does_not_follow(name, option, value):
    assert not on_tensors(started(solver_of(name, **{option: value})))


@pytest.mark.parametrize("name", TWINS)
def test_an_option_that_a_later_version_may_bring_is_not_followed(name, monkeypatch):
    cls = SOLVERS[f"solver/{name}"]
    known = native_solver.constructor_defaults(cls.scheduler_class())
    later = MappingProxyType({**known, "warp": 0.0})
    monkeypatch.setattr(native_solver, "constructor_defaults", lambda _: later)
    config = {**known, "skip_prk_steps": True}
    assert cls.twin.unfollowed(config) is None
    assert cls.twin.unfollowed({**config, "warp": 0.0}) is None
    assert cls.twin.unfollowed({**config, "warp": 0.5}).option == "warp"


@pytest.mark.parametrize("name", ["dpmpp_2m", "euler"])
def test_a_schedule_that_visits_its_first_timestep_twice_is_the_schedulers(name):
    given = [899, 899, 499, 99]
    solver = solver_of(name)
    assert not on_tensors(started(solver, timesteps=given))
    # A scheduler that is told where to begin goes from there.
    assert on_tensors(started(solver, timesteps=given, begin_index=0))


@pytest.mark.parity
def test_a_schedule_that_visits_a_later_timestep_twice_is_followed():
    scheduler = scheduler_of("solver/dpmpp_2m", use_karras_sigmas=True)
    scheduler.set_timesteps(50)
    assert len(set(scheduler.timesteps.tolist())) < 50
    noise = draw(0, 1, 4, 8, 8)
    expected = drive(scheduler, scheduler.timesteps, noise)
    solver = solver_of("dpmpp_2m", use_karras_sigmas=True)
    solver.give(scheduler=scheduler_of("solver/pndm"))
    states = run(solver, solver.start(noise, num_inference_steps=50))
    assert on_tensors(states[0])
    assert torch.equal(states[-1].latents, expected)


@pytest.mark.parity
def test_a_scheduler_that_is_told_where_to_begin_visits_a_timestep_twice():
    given = [899, 899, 499, 99]
    solver, scheduler = solver_of("euler"), scheduler_of("solver/euler")
    solver.give(scheduler=scheduler_of("solver/euler"))
    scheduler.set_timesteps(timesteps=given)
    scheduler.set_begin_index(0)
    noise = draw(0, 2, 4, 8, 8) * scheduler.init_noise_sigma
    expected = drive(scheduler, scheduler.timesteps, noise)
    states = run(solver, started(solver, timesteps=given, begin_index=0))
    assert torch.equal(states[-1].latents, expected)


@pytest.mark.parity
@pytest.mark.parametrize("size", [(1, 4, 1, 1), (3, 4, 9, 7), (1, 4, 64, 64)])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("name", TWINS)
def test_runs_are_those_of_the_scheduler(name, prediction, size):
    """Sizes that fill vectors of the processor and that do not."""
    options = {"prediction_type": prediction}
    if name == "pndm":
        options["skip_prk_steps"] = True
    scheduler = scheduler_of(f"solver/{name}", **options)
    solver = solver_of(name, **options).give(scheduler=scheduler_of("solver/ddim"))
    for steps, eta in itertools.product((1, 2, 3, 20), (0.0, 0.5, 1) if name == "ddim" else (0.0,)):
        noise = draw(steps, *size)
        scheduler = scheduler_of(f"solver/{name}", **options)
        scheduler.set_timesteps(steps)
        expected = drive(
            scheduler,
            scheduler.timesteps,
            noise * scheduler.init_noise_sigma,
            **further_of(scheduler, seeded(4), eta),
        )
        state = solver.start(noise, num_inference_steps=steps)
        assert on_tensors(state)
        states = run(solver, state, generator=seeded(4), eta=eta)
        assert torch.equal(states[-1].latents, expected)


@pytest.mark.parametrize("name", TWINS)
def test_stepping_twice_gives_equal_bits_and_writes_to_nothing(name):
    solver = solver_of(name)
    for state in run(solver, started(solver), generator=seeded(0))[:-1]:
        held = [state.latents, state.timesteps, *state.history, state.ways[0].table]
        versions = [each._version for each in held]
        again = []
        for _ in range(2):
            tick = solver.tick(state)
            output = model(tick.sample, tick.timestep)
            again.append(solver.step(tick.state, output, seeded(9)))
        assert torch.equal(again[0].latents, again[1].latents)
        assert all(map(torch.equal, again[0].history, again[1].history))
        assert [each._version for each in held] == versions


def test_another_source_makes_another_rule():
    solver = solver_of("ddim")
    assert on_tensors(started(solver))
    solver.give(scheduler=scheduler_of("solver/ddim", thresholding=True))
    assert not on_tensors(started(solver))


def test_a_state_of_another_solver_is_refused():
    state = started(make_block("solver/native_euler"))
    with pytest.raises(InputError, match="solver/deis was given a state at step 0 that another"):
        make_block("solver/deis").tick(state)
