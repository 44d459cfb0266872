"""Samples of several runs in one state."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

from tests.blocks.solver.driving import draw, run
from yggdrasil.blocks.solver.sample_states import SampleStates
from yggdrasil.core.cache import copied
from yggdrasil.core.errors import InputError
from yggdrasil.core.registry import make_block


def started(name="native_dpmpp_2m", steps=4, batch=1, seed=0, size=8):
    solver = make_block(f"solver/{name}")
    return solver.start(draw(seed, batch, 4, size, size), num_inference_steps=steps)


def pickled(state):
    return pickle.loads(pickle.dumps(state))  # noqa: S301


def test_a_batch_says_what_its_slowest_sample_says():
    solver = make_block("solver/native_dpmpp_2m")
    ahead = run(solver, started(steps=5))[4]
    behind = run(solver, started(steps=3))[1]
    state = SampleStates.stack([ahead, behind])
    assert (state.index, state.count) == (1, 3)
    assert torch.equal(state.timesteps, behind.timesteps)
    assert state.finished == (False, False)
    assert not solver.done(state)


def test_a_batch_is_done_when_all_of_its_samples_are():
    solver = make_block("solver/native_dpmpp_2m")
    short, long = run(solver, started(steps=2))[-1], run(solver, started(steps=3))
    state = SampleStates.stack([short, long[1]])
    assert state.finished == (True, False)
    assert not solver.done(state)
    assert solver.done(SampleStates.stack([short, long[-1]]))


def test_what_is_taken_out_is_what_was_put_in():
    solver = make_block("solver/native_dpmpp_2m")
    states = [run(solver, started(steps=4, batch=2, seed=seed))[seed] for seed in range(3)]
    both = SampleStates.stack(states)
    for number, state in enumerate(states):
        back = both.take([2 * number, 2 * number + 1])
        assert torch.equal(back.latents, state.latents)
        assert torch.equal(back.history[0], state.history[0])
        assert (back.ways, back.places) == (state.ways, state.places)
        assert (back.index, back.count) == (state.index, state.count)
    swapped = both.take([5, 0])
    assert torch.equal(swapped.latents, both.latents[[5, 0]])
    assert swapped.places == (2, 0)


def test_samples_are_aligned_where_way_and_step_are_the_same():
    solver = make_block("solver/native_dpmpp_2m")
    first = started(batch=2)
    assert first.aligned
    assert not SampleStates.stack([first, run(solver, first)[1]]).aligned
    assert not SampleStates.stack([first, started(steps=7)]).aligned


def test_coefficients_are_the_same_numbers_aligned_or_not():
    first, other = started(), started()
    scalars, vectors = first.coefficients(), SampleStates.stack([first, other]).coefficients()
    assert list(scalars) == list(vectors)
    for name, scalar in scalars.items():
        assert scalar.ndim == 0
        assert vectors[name].shape == (2, 1, 1, 1)
        assert torch.equal(vectors[name][0, 0, 0, 0], scalar)


@pytest.mark.parametrize("store", [copy.deepcopy, copied, pickled])
def test_a_state_can_be_copied_and_stored(store):
    solver = make_block("solver/native_dpmpp_2m")
    state = SampleStates.stack([started(), run(solver, started(steps=6))[2]])
    expected = run(solver, state)[-1].latents
    assert torch.equal(run(solver, store(state))[-1].latents, expected)


def test_latents_may_be_replaced():
    state = started()
    other = state.with_latents(state.latents * 2)
    assert isinstance(other, SampleStates)
    assert torch.equal(other.latents, state.latents * 2)
    assert other.ways is state.ways


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            lambda: started("native_ddim"),
            "States of different solvers cannot be stacked.*following",
        ),
        (lambda: started(size=4), r"float32\[4, 8, 8\] on cpu and of float32\[4, 4, 4\] on cpu"),
        (
            lambda: started().with_latents(torch.zeros(1, 4, 8, 8).half()),
            r"float32\[4, 8, 8\] on cpu and of float16\[4, 8, 8\] on cpu cannot be stacked",
        ),
    ],
)
def test_states_that_do_not_go_together(other, message):
    with pytest.raises(InputError, match=message):
        SampleStates.stack([started(), other()])


def test_there_is_something_to_stack_and_to_take():
    with pytest.raises(InputError, match="no states to stack"):
        SampleStates.stack([])
    for samples in ([], [2], [-1]):
        with pytest.raises(InputError, match="of a state of 2: name at least one, from 0 to 1"):
            started(batch=2).take(samples)
