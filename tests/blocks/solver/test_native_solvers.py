"""Solvers on tensors give the bits of the wrapped ones, and of separate runs where steps differ."""

from __future__ import annotations

import itertools
import re

import pytest
import torch

from tests.blocks.solver.driving import draw, model, options_of, run, scheduler_of, seeded
from yggdrasil.blocks.solver.sample_states import SampleStates
from yggdrasil.core.errors import ConfigError, InputError
from yggdrasil.core.registry import make_block
from yggdrasil.core.values import BranchedValue

NAMES = ["ddim", "dpmpp_2m", "euler", "euler_a", "unipc", "pndm", "flow_euler"]
WHOLE = {"pndm": {"skip_prk_steps": True}}
"""Options without which the rule does not follow the scheduler."""
VARIANTS = [
    *((name, {}) for name in NAMES),
    *((name, {"use_karras_sigmas": True}) for name in ("dpmpp_2m", "euler", "unipc", "flow_euler")),
    *((name, {"use_beta_sigmas": True}) for name in ("dpmpp_2m", "euler", "unipc")),
    *((name, {"prediction_type": "v_prediction"}) for name in NAMES[:-1]),
    *((name, {"prediction_type": "sample"}) for name in ("ddim", "dpmpp_2m", "euler", "unipc")),
    *((name, {"timestep_spacing": "trailing"}) for name in NAMES[:-1]),
    *((name, {"final_sigmas_type": "sigma_min"}) for name in ("dpmpp_2m", "euler", "unipc")),
    *(
        (name, {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction"})
        for name in NAMES[:-2]
    ),
    ("ddim", {"clip_sample": False, "set_alpha_to_one": False}),
    ("pndm", {"set_alpha_to_one": True}),
    ("dpmpp_2m", {"solver_order": 1}),
    ("dpmpp_2m", {"solver_type": "heun"}),
    ("dpmpp_2m", {"euler_at_final": True, "final_sigmas_type": "sigma_min"}),
    ("dpmpp_2m", {"use_lu_lambdas": True}),
    ("unipc", {"solver_order": 1}),
    ("unipc", {"solver_type": "bh1", "final_sigmas_type": "sigma_min"}),
    ("unipc", {"use_exponential_sigmas": True}),
    ("unipc", {"disable_corrector": [0, 3, 40]}),
    ("unipc", {"lower_order_final": False, "final_sigmas_type": "sigma_min"}),
    ("unipc", {"use_flow_sigmas": True, "flow_shift": 3.0, "prediction_type": "flow_prediction"}),
    ("euler", {"interpolation_type": "log_linear"}),
    ("euler", {"timestep_type": "continuous", "prediction_type": "v_prediction"}),
    ("flow_euler", {"shift": 3.0}),
]
GIVEN = [
    ("dpmpp_2m", {"timesteps": [899, 499, 99]}),
    ("euler", {"timesteps": [899, 499, 99]}),
    ("euler", {"sigmas": [14.0, 3.0, 0.7, 0.0]}),
    ("flow_euler", {"sigmas": [1.0, 0.75, 0.5, 0.25]}),
]


def both(name, **options):
    """Gives the wrapped solver, with its scheduler stepped, and the one on tensors."""
    given = scheduler_of("solver/pndm")
    options = WHOLE.get(name, {}) | options
    stepped = {} if name == "flow_euler" else {"on_tensors": False}
    return [
        make_block(f"solver/{name}", **options, **stepped).give(scheduler=given),
        make_block(f"solver/native_{name}", **options).give(scheduler=given),
    ]


def native(name, **options):
    return make_block(f"solver/native_{name}", **WHOLE.get(name, {}), **options)


@pytest.mark.parity
@pytest.mark.parametrize("steps", [1, 6, 16])
@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_every_state_is_that_of_the_wrapped_solver(name, options, steps):
    noise, init = draw(0, 2, 4, 8, 8), draw(1, 2, 4, 8, 8)
    starts = [{}] if steps == 1 else [{}, {"init_latents": init, "strength": 0.6}]
    for start, eta in itertools.product(starts, [0.0, 0.6] if name == "ddim" else [0.0]):
        runs = [
            run(
                solver,
                solver.start(noise, num_inference_steps=steps, **start),
                generator=seeded(3),
                eta=eta,
            )
            for solver in both(name, **options)
        ]
        check_alike(name, options, runs, init, noise)


@pytest.mark.parity
@pytest.mark.parametrize(("name", "given"), GIVEN)
def test_given_schedules_are_those_of_the_wrapped_solver(name, given):
    noise, init = draw(0, 2, 4, 8, 8), draw(1, 2, 4, 8, 8)
    runs = [run(solver, solver.start(noise, **given)) for solver in both(name)]
    check_alike(name, {}, runs, init, noise)


def test_unipc_by_its_first_formula_ends_where_diffusers_has_no_numbers():
    """At sigma 0 that formula multiplies infinity by nothing."""
    noise = draw(0, 2, 4, 8, 8)
    stepped, native = both("unipc", solver_type="bh1")
    runs = [run(each, each.start(noise, num_inference_steps=6)) for each in (stepped, native)]
    for wrapped, other in zip(*(states[:-1] for states in runs), strict=True):
        assert torch.equal(wrapped.latents, other.latents)
    assert runs[0][-1].latents.isnan().all()
    assert runs[1][-1].latents.isfinite().all()


@pytest.mark.parity
@pytest.mark.parametrize("name", NAMES[:-1])
def test_a_run_that_leaves_its_end_to_another_model_begins_at_the_beginning(name):
    noise = draw(0, 2, 4, 8, 8)
    runs = [
        run(solver, solver.start(noise, num_inference_steps=10, end=0.7), generator=seeded(3))
        for solver in both(name)
    ]
    assert 0 < runs[0][0].count < 10
    for wrapped, other in zip(*runs, strict=True):
        assert torch.equal(wrapped.latents, other.latents)


@pytest.mark.parametrize("name", NAMES[:-1])
def test_shares_of_steps_are_counted_of_all_where_the_end_is_left_to_another_model(name):
    noise = draw(0, 2, 4, 8, 8)
    for solver in both(name):
        whole = solver.start(noise, num_inference_steps=10).count
        states = run(solver, solver.start(noise, num_inference_steps=10, end=0.7))
        assert {solver.tick(state).count for state in states[:-1]} == {whole}
        assert len(states) - 1 == states[0].count < whole


def check_alike(name, options, runs, init, noise):
    solvers = both(name, **options)
    for wrapped, other in zip(*runs, strict=True):
        assert torch.equal(wrapped.latents, other.latents)
        assert (wrapped.index, wrapped.count) == (other.index, other.count)
        assert torch.equal(wrapped.timesteps, other.timesteps)
        if not solvers[0].done(wrapped):
            ticks = [
                solver.tick(state) for solver, state in zip(solvers, (wrapped, other), strict=True)
            ]
            assert torch.equal(ticks[0].sample, ticks[1].sample)
            assert torch.equal(ticks[0].timestep, ticks[1].timestep)
        if wrapped.index:
            known = [
                solver.renoise(state, init, noise)
                for solver, state in zip(solvers, (wrapped, other), strict=True)
            ]
            assert torch.equal(*known)


def requests(name):
    """Gives runs of other lengths, schedules and beginnings, each with its noise and eta."""
    plain = native(name).give(scheduler=scheduler_of("solver/pndm"))
    spaced = {"shift": 3.0} if name == "flow_euler" else {"timestep_spacing": "trailing"}
    other = native(name, **spaced).give(scheduler=scheduler_of("solver/ddim"))
    noises = [draw(number, 1, 4, 8, 8) for number in range(4)]
    etas = [0.0, 0.8, 0.4, 0.0] if name == "ddim" else [0.0] * 4
    states = [
        plain.start(noises[0], num_inference_steps=6),
        plain.start(noises[1], num_inference_steps=3),
        other.start(noises[2], num_inference_steps=8),
        plain.start(noises[3], draw(9, 1, 4, 8, 8), num_inference_steps=9, strength=0.5),
    ]
    return plain, states, etas


@pytest.mark.parametrize("name", NAMES)
def test_samples_that_come_and_go_get_the_bits_of_separate_runs(name):
    """As a server does it: requests join a batch while it runs, and leave it when done."""
    solver, waiting, etas = requests(name)
    alone = [
        run(solver, state, generator=[seeded(number)], eta=etas[number])[-1].latents
        for number, state in enumerate(waiting)
    ]
    generators = [seeded(number) for number in range(4)]
    arrivals = {0: [0], 1: [1, 2], 3: [3]}
    done = {}
    inside, batch, sizes = [], None, []
    for round_ in itertools.count():
        for number in arrivals.get(round_, []):
            inside.append(number)
            batch = SampleStates.stack([batch, waiting[number]] if batch else [waiting[number]])
        tick = solver.tick(batch)
        sizes.append(len(tick.sample))
        batch = solver.step(
            tick.state,
            model(tick.sample, tick.timestep),
            [generators[number] for number in inside],
            [etas[number] for number in inside],
        )
        staying = [place for place, finished in enumerate(batch.finished) if not finished]
        for place, number in enumerate(inside):
            if place not in staying:
                done[number] = batch.take([place]).latents
        inside = [inside[place] for place in staying]
        if not inside:
            break
        batch = batch.take(staying)
    assert max(sizes) == 4
    assert all(torch.equal(done[number], alone[number]) for number in range(4))


@pytest.mark.parametrize("name", NAMES)
def test_samples_that_are_done_wait_for_the_others(name):
    solver, states, etas = requests(name)
    alone = [
        run(solver, state, generator=[seeded(number)], eta=etas[number])[-1].latents
        for number, state in enumerate(states)
    ]
    generators = [seeded(number) for number in range(4)]
    together = run(solver, SampleStates.stack(states), generator=generators, eta=etas)
    assert len(together) == 1 + max(state.count for state in states)
    assert torch.equal(solver.finish(together[-1]), torch.cat(alone))
    # Generators of samples that were done stood still.
    expected = [seeded(number) for number in range(4)]
    for number, state in enumerate(states):
        run(solver, state, generator=[expected[number]], eta=etas[number])
    for mine, theirs in zip(generators, expected, strict=True):
        assert torch.equal(mine.get_state(), theirs.get_state())


@pytest.mark.parametrize("name", NAMES)
def test_renoise_goes_by_the_step_of_each_sample(name):
    solver, states, etas = requests(name)
    init, noise = draw(7, 4, 4, 8, 8), draw(8, 4, 4, 8, 8)
    generators = [seeded(number) for number in range(4)]
    after = run(solver, SampleStates.stack(states), generator=generators, eta=etas)[4]
    known = solver.renoise(after, init, noise)
    for number in range(4):
        one = slice(number, number + 1)
        alone = solver.renoise(after.take([number]), init[one], noise[one])
        assert torch.equal(known[one], alone)
    assert torch.equal(known[1], init[1])  # three steps were all it had
    assert not torch.equal(known[0], init[0])


@pytest.mark.parametrize("name", NAMES)
def test_stepping_twice_gives_equal_bits_and_writes_to_nothing(name):
    solver, states, etas = requests(name)
    state = SampleStates.stack(states)
    held = [state.latents, *state.history, *(way.table for way in state.ways)]
    versions = [each._version for each in held]
    again = []
    for _ in range(2):
        tick = solver.tick(state)
        generators = [seeded(number) for number in range(4)]
        output = model(tick.sample, tick.timestep)
        again.append(solver.step(tick.state, output, generators, etas))
    assert torch.equal(again[0].latents, again[1].latents)
    assert [each._version for each in held] == versions


def test_aligned_samples_have_one_timestep_and_others_one_each():
    solver = make_block("solver/native_euler")
    state = solver.start(draw(0, 2, 4, 8, 8), num_inference_steps=4)
    assert solver.tick(state).timestep.ndim == 0
    mixed = SampleStates.stack([state, run(solver, state)[2]])
    assert solver.tick(mixed).timestep.tolist() == [999.0, 999.0, 333.0, 333.0]
    assert solver.tick(mixed.take([2, 3])).timestep.ndim == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", NAMES)
def test_half_precision_stays_half(name, dtype):
    solver = native(name)
    noise = draw(0, 2, 4, 8, 8)
    exact = run(solver, solver.start(noise, num_inference_steps=4), generator=seeded(0))[-1].latents
    start = solver.start(noise.to(dtype), num_inference_steps=4)
    half = run(solver, start, generator=seeded(0))
    assert all(state.latents.dtype == dtype for state in half)
    if name != "euler_a":  # whose noise is drawn in the dtype, and so is another
        torch.testing.assert_close(half[-1].latents.float(), exact, rtol=0.1, atol=0.1)
    mixed = SampleStates.stack([half[0], half[1]])
    assert solver.tick(mixed).sample.dtype == dtype


def test_gradients_go_through_a_run():
    solver = make_block("solver/native_dpmpp_2m")
    noise = draw(0, 1, 4, 8, 8).requires_grad_()
    states = run(solver, solver.start(noise, num_inference_steps=3))
    states[-1].latents.sum().backward()
    assert noise.grad is not None
    assert noise.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("ddim", "thresholding", True),
        ("dpmpp_2m", "algorithm_type", "sde-dpmsolver++"),
        ("dpmpp_2m", "solver_order", 3),
        ("euler_a", "prediction_type", "sample"),
        ("pndm", "skip_prk_steps", False),
        ("flow_euler", "stochastic_sampling", True),
    ],
)
def test_what_the_rule_cannot_follow_is_refused(name, option, value):
    assert option in options_of(f"solver/{name}")
    solver = make_block(f"solver/native_{name}", **{option: value})
    with pytest.raises(
        ConfigError, match=rf"{option}={re.escape(repr(value))}.*Take solver/{name}, which"
    ):
        solver.check_inputs("start", {})


def test_states_of_other_solvers_are_refused():
    stepped = make_block("solver/euler", on_tensors=False)
    state = stepped.start(draw(0, 1, 4, 8, 8), num_inference_steps=2)
    with pytest.raises(InputError, match="native_euler was given a state that another solver made"):
        make_block("solver/native_euler").tick(state)


def test_a_run_ends():
    solver = make_block("solver/native_ddim")
    state = run(solver, solver.start(draw(0, 1, 4, 8, 8), num_inference_steps=2))[-1]
    for call in (solver.tick, lambda state: solver.step(state, state.latents)):
        with pytest.raises(InputError, match="after its last step"):
            call(state)


def test_inputs_for_other_samples_are_refused():
    solver = make_block("solver/native_ddim")
    tick = solver.tick(solver.start(draw(0, 2, 4, 8, 8), num_inference_steps=2))
    with pytest.raises(InputError, match="1 etas were given for a batch of 2"):
        solver.step(tick.state, tick.sample, eta=[0.5])
    with pytest.raises(InputError, match="1 generators were given for a batch of 2"):
        solver.step(tick.state, tick.sample, [torch.Generator()], 0.5)
    branched = BranchedValue(("negative", "positive"), (tick.sample, tick.sample))
    with pytest.raises(InputError, match="negative, positive: combine them first"):
        solver.step(tick.state, branched)


def test_flow_is_trained_on_as_with_the_wrapped_solver():
    latents, noise, timestep = draw(0, 1, 4, 8, 8), draw(1, 1, 4, 8, 8), torch.tensor([500])
    wrapped, other = both("flow_euler")
    assert torch.equal(
        other.corrupt(latents, noise, timestep), wrapped.corrupt(latents, noise, timestep)
    )
    assert torch.equal(other.target(latents, noise, timestep), noise - latents)
