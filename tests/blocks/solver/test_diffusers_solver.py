"""Every solver gives what its scheduler gives, and keeps no state of its own."""

from __future__ import annotations

import copy
import itertools
import pickle
import threading

import diffusers
import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, EulerDiscreteScheduler, PNDMScheduler

from yggdrasil.blocks.solver.catalog import SOLVERS, solver_type_for
from yggdrasil.core.component import Given
from yggdrasil.core.errors import ConfigError, InputError
from yggdrasil.core.registry import block_class, make_block
from yggdrasil.core.values import BranchedValue

NAMES = sorted(SOLVERS)
STOCHASTIC = ["solver/ddpm", "solver/euler_a", "solver/lcm"]
CONFIG = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "steps_offset": 1,
}

VARIANTS = [
    ("solver/euler", {"use_karras_sigmas": True}, {}),
    ("solver/euler", {"timestep_type": "continuous", "prediction_type": "v_prediction"}, {}),
    ("solver/euler", {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}, {}),
    ("solver/dpmpp_2m", {"use_karras_sigmas": True, "solver_order": 3}, {}),
    ("solver/dpmpp_2m", {"algorithm_type": "sde-dpmsolver++"}, {}),
    ("solver/heun", {"use_karras_sigmas": True}, {}),
    ("solver/pndm", {"skip_prk_steps": False}, {}),
    ("solver/ddim", {"clip_sample": False, "set_alpha_to_one": False}, {"eta": 0.7}),
    ("solver/unipc", {"solver_order": 3, "final_sigmas_type": "sigma_min"}, {}),
    ("solver/unipc", {"solver_type": "bh1", "final_sigmas_type": "sigma_min"}, {}),
]


def draw(number, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(number))


def model(sample, timestep):
    """Stands in for a network: depends on both of its inputs."""
    return torch.tanh(sample * 0.7) + 1e-4 * timestep


def scheduler_of(name, **options):
    return block_class(name).scheduler_class().from_config(dict(CONFIG), **options)


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
        output = model(scheduler.scale_model_input(latents, timestep), timestep)
        latents = scheduler.step(output, timestep, latents, **further, return_dict=False)[0]
    return latents


def further_of(scheduler, generator, eta):
    accepted = type(scheduler).step.__code__.co_varnames
    both = {"generator": generator, "eta": eta}
    return {name: value for name, value in both.items() if name in accepted}


@pytest.mark.parity
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("name", NAMES)
def test_run_from_noise(name, prediction):
    check_run_from_noise(name, {"prediction_type": prediction}, {})


@pytest.mark.parity
@pytest.mark.parametrize(("name", "options", "call"), VARIANTS)
def test_run_with_options(name, options, call):
    check_run_from_noise(name, options, call)


def check_run_from_noise(name, options, call):
    noise = draw(0, 2, 4, 8, 8)
    eta = call.get("eta", 0.0)
    for several in (False, True):
        seeds = [torch.Generator().manual_seed(n) for n in (5, 6)]
        reference = scheduler_of(name, **options)
        reference.set_timesteps(5)
        expected = drive(
            reference,
            reference.timesteps,
            noise * reference.init_noise_sigma,
            **further_of(reference, seeds if several else seeds[0], eta),
        )
        seeds = [torch.Generator().manual_seed(n) for n in (5, 6)]
        solver = make_block(name, **options).give(scheduler=scheduler_of(name))
        states = run(
            solver,
            solver.start(noise, num_inference_steps=5),
            generator=seeds if several else seeds[0],
            eta=eta,
        )
        assert torch.equal(solver.finish(states[-1]), expected)


@pytest.mark.parity
@pytest.mark.parametrize("strength", [0.65, 1.0])
@pytest.mark.parametrize("name", NAMES)
def test_run_from_latents(name, strength):
    noise, init = draw(0, 2, 4, 8, 8), draw(1, 2, 4, 8, 8)
    reference = scheduler_of(name)
    reference.set_timesteps(7)
    begin = (7 - int(7 * strength)) * reference.order
    timesteps = reference.timesteps[begin:]
    if hasattr(reference, "set_begin_index"):
        reference.set_begin_index(begin)
    seed = torch.Generator().manual_seed(3)
    expected = drive(
        reference,
        timesteps,
        reference.add_noise(init, noise, timesteps[:1].repeat(2)),
        **further_of(reference, seed, 0.0),
    )
    solver = make_block(name).give(scheduler=scheduler_of(name))
    state = solver.start(noise, init, num_inference_steps=7, strength=strength)
    states = run(solver, state, generator=torch.Generator().manual_seed(3))
    assert torch.equal(states[-1].latents, expected)
    assert states[0].count == len(timesteps)


@pytest.mark.parity
@pytest.mark.parametrize("name", NAMES)
def test_renoise_during_a_run(name):
    noise, init = draw(0, 1, 4, 8, 8), draw(1, 1, 4, 8, 8)
    reference = scheduler_of(name)
    reference.set_timesteps(6)
    if hasattr(reference, "set_begin_index"):
        reference.set_begin_index(2 * reference.order)
    timesteps = reference.timesteps[2 * reference.order :]
    latents = reference.add_noise(init, noise, timesteps[:1])
    seed = torch.Generator().manual_seed(3)
    expected = []
    for number, timestep in enumerate(timesteps):
        latents = drive(reference, [timestep], latents, **further_of(reference, seed, 0.0))
        following = timesteps[number + 1 : number + 2]
        known = init
        if len(following):
            known = reference.add_noise(init, noise, torch.tensor([following[0]]))
        expected.append(known)
    solver = make_block(name).give(scheduler=scheduler_of(name))
    state = solver.start(noise, init, num_inference_steps=6, strength=0.7)
    states = run(solver, state, generator=torch.Generator().manual_seed(3))[1:]
    assert all(
        torch.equal(solver.renoise(state, init, noise), known)
        for state, known in zip(states, expected, strict=True)
    )


@pytest.mark.parametrize("name", [*NAMES, "prk"])
def test_stepping_twice_gives_equal_bits(name):
    options = {"skip_prk_steps": False} if name == "prk" else {}
    solver = make_block("solver/pndm" if name == "prk" else name, **options)
    states = run(
        solver,
        solver.start(draw(0, 1, 4, 8, 8), num_inference_steps=5),
        generator=torch.Generator().manual_seed(0),
    )
    before = [state.latents.clone() for state in states]
    for state, following in itertools.pairwise(states):
        # The generator's place does not matter here: every step of both runs draws the same.
        again = []
        for _ in range(2):
            tick = solver.tick(state)
            output = model(tick.sample, tick.timestep)
            generator = torch.Generator().manual_seed(9)
            again.append(solver.step(tick.state, output, generator))
        assert torch.equal(again[0].latents, again[1].latents)
        if name not in STOCHASTIC:
            assert torch.equal(again[0].latents, following.latents)
    assert all(torch.equal(a, b.latents) for a, b in zip(before, states, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_no_tensor_of_a_record_is_written_to(name):
    options = {"skip_prk_steps": False} if name == "solver/pndm" else {}
    solver = make_block(name, **options)
    states = run(solver, solver.start(draw(0, 1, 4, 8, 8), num_inference_steps=5))
    for state in states[:-1]:
        tensors = [v for v in state.internals.values() if isinstance(v, torch.Tensor)]
        for value in state.internals.values():
            if isinstance(value, list):
                tensors.extend(v for v in value if isinstance(v, torch.Tensor))
        versions = [each._version for each in tensors]
        tick = solver.tick(state)
        solver.step(tick.state, model(tick.sample, tick.timestep))
        assert [each._version for each in tensors] == versions


def test_threads_do_not_meet():
    solver = make_block("solver/dpmpp_2m")
    expected = [
        run(solver, solver.start(draw(n, 1, 4, 8, 8), num_inference_steps=8))[-1].latents
        for n in range(4)
    ]
    results = {}

    def work(number):
        for _ in range(3):
            state = solver.start(draw(number, 1, 4, 8, 8), num_inference_steps=8)
            results[number] = run(solver, state)[-1].latents

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(results[n], expected[n]) for n in range(4))


def test_a_state_can_be_copied_and_stored():
    solver = make_block("solver/unipc")
    states = run(solver, solver.start(draw(0, 1, 4, 8, 8), num_inference_steps=5))
    for stored in (copy.deepcopy(states[2]), pickle.loads(pickle.dumps(states[2]))):  # noqa: S301
        assert torch.equal(run(solver, stored)[-1].latents, states[-1].latents)


def test_gradients_go_through_a_run():
    solver = make_block("solver/ddim")
    noise = draw(0, 1, 4, 8, 8).requires_grad_()
    states = run(solver, solver.start(noise, num_inference_steps=3))
    states[-1].latents.sum().backward()
    assert noise.grad is not None
    assert noise.grad.abs().sum() > 0


@pytest.mark.parity
@pytest.mark.parametrize(
    ("name", "custom"),
    [
        ("solver/euler", {"timesteps": [900, 500, 100]}),
        ("solver/euler", {"sigmas": [14.0, 3.0, 0.7, 0.0]}),
        ("solver/ddpm", {"timesteps": [900, 500, 100]}),
        ("solver/dpmpp_2m", {"timesteps": [900, 500, 100]}),
        ("solver/heun", {"timesteps": [900, 500, 100]}),
        ("solver/lcm", {"timesteps": [899, 499, 99]}),
    ],
)
@pytest.mark.parametrize("strength", [None, 0.7])
def test_custom_schedules(name, custom, strength):
    noise, init = draw(0, 1, 4, 8, 8), draw(1, 1, 4, 8, 8)
    reference = scheduler_of(name)
    reference.set_timesteps(**custom)
    timesteps, begin = reference.timesteps, 0
    latents = noise * reference.init_noise_sigma
    if strength is not None:
        steps = len(timesteps)
        begin = (steps - int(steps * strength)) * reference.order
        timesteps = timesteps[begin:]
        if hasattr(reference, "set_begin_index"):
            reference.set_begin_index(begin)
        latents = reference.add_noise(init, noise, timesteps[:1])
    seed = torch.Generator().manual_seed(3)
    expected = drive(reference, timesteps, latents, **further_of(reference, seed, 0.0))
    solver = make_block(name).give(scheduler=scheduler_of(name))
    start = {} if strength is None else {"init_latents": init, "strength": strength}
    states = run(
        solver, solver.start(noise, **custom, **start), generator=torch.Generator().manual_seed(3)
    )
    assert torch.equal(states[-1].latents, expected)


@pytest.mark.parity
def test_sigmas_for_unipc_flow():
    sigmas = [1.0, 0.75, 0.5, 0.25]
    options = {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "flow_shift": 3.0}
    reference = scheduler_of("solver/unipc", **options)
    reference.set_timesteps(sigmas=np.array(sigmas))
    noise = draw(0, 1, 4, 8, 8)
    solver = make_block("solver/unipc", **options).give(scheduler=scheduler_of("solver/unipc"))
    states = run(solver, solver.start(noise, sigmas=sigmas))
    assert torch.equal(states[-1].latents, drive(reference, reference.timesteps, noise))


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


def test_a_run_ends():
    solver = make_block("solver/ddim")
    state = run(solver, solver.start(draw(0, 1, 4, 8, 8), num_inference_steps=2))[-1]
    with pytest.raises(InputError, match="after its last step"):
        solver.tick(state)
    with pytest.raises(InputError, match="after its last step"):
        solver.step(state, state.latents)


def test_branches_are_to_be_combined_first():
    solver = make_block("solver/ddim")
    tick = solver.tick(solver.start(draw(0, 1, 4, 8, 8), num_inference_steps=2))
    branched = BranchedValue(("negative", "positive"), (tick.sample, tick.sample))
    with pytest.raises(InputError, match="negative, positive: combine them first"):
        solver.step(tick.state, branched)


def test_as_many_generators_as_samples():
    solver = make_block("solver/euler_a")
    tick = solver.tick(solver.start(draw(0, 2, 4, 8, 8), num_inference_steps=2))
    with pytest.raises(InputError, match="1 generators were given for a batch of 2"):
        solver.step(tick.state, tick.sample, [torch.Generator()])


@pytest.mark.parity
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("name", NAMES)
def test_training_form(name, prediction):
    latents, noise = draw(0, 3, 4, 8, 8), draw(1, 3, 4, 8, 8)
    timestep = torch.tensor([0, 400, 999])
    solver = make_block(name, prediction_type=prediction).give(scheduler=scheduler_of(name))
    reference = DDPMScheduler(**{**CONFIG, "prediction_type": prediction})
    noised = reference.add_noise(latents, noise, timestep)
    assert torch.equal(solver.corrupt(latents, noise, timestep), noised)
    expected = {
        "epsilon": noise,
        "sample": latents,
        "v_prediction": reference.get_velocity(latents, noise, timestep),
    }[prediction]
    assert torch.equal(solver.target(latents, noise, timestep), expected)


def test_training_form_has_the_schedule_of_the_class_defaults():
    # Heun's defaults are others than those of DDPM.
    solver = make_block("solver/heun")
    latents, noise, timestep = draw(0, 1, 4, 8, 8), draw(1, 1, 4, 8, 8), torch.tensor([500])
    defaults = diffusers.HeunDiscreteScheduler().config
    reference = DDPMScheduler(
        beta_start=defaults.beta_start,
        beta_end=defaults.beta_end,
        beta_schedule=defaults.beta_schedule,
    )
    noised = reference.add_noise(latents, noise, timestep)
    assert torch.equal(solver.corrupt(latents, noise, timestep), noised)


def test_flow_has_no_variance_preserving_form():
    solver = make_block("solver/unipc", prediction_type="flow_prediction", use_flow_sigmas=True)
    latents = draw(0, 1, 4, 8, 8)
    with pytest.raises(ConfigError, match="'flow_prediction'"):
        solver.target(latents, latents, torch.tensor([1]))


def test_configuration_of_another_class_is_taken_over():
    given = PNDMScheduler(**CONFIG, prediction_type="v_prediction")
    solver = make_block("solver/euler").give(scheduler=given)
    reference = EulerDiscreteScheduler.from_config(given.config)
    reference.set_timesteps(4)
    state = solver.start(draw(0, 1, 4, 8, 8), num_inference_steps=4)
    assert torch.equal(state.timesteps, reference.timesteps)
    assert torch.equal(state.internals["sigmas"], reference.sigmas)


def test_another_source_makes_another_solver():
    solver = make_block("solver/ddim")
    first, version = solver.corrupt(*_three()), solver.weights_version()
    solver.load_from(scheduler=Given(DDPMScheduler(**CONFIG)))
    assert not torch.equal(solver.corrupt(*_three()), first)
    assert solver.weights_version() != version
    solver.load()


def _three():
    return draw(0, 1, 4, 8, 8), draw(1, 1, 4, 8, 8), torch.tensor([500])


def test_unknown_options_are_refused():
    with pytest.raises(ConfigError, match=r"use_karas_sigmas.*Did you mean 'use_karras_sigmas'"):
        make_block("solver/euler", use_karas_sigmas=True)


def test_impossible_configurations_are_refused():
    solver = make_block("solver/ddim", beta_schedule="wavy")
    with pytest.raises(ConfigError, match=r"solver/ddim: DDIMScheduler cannot be made.*wavy"):
        solver.check_inputs("start", {})
    with pytest.raises(ConfigError, match="no form to train on"):
        make_block("solver/heun", beta_schedule="exp").corrupt(*_three())


def test_solver_for_a_scheduler():
    assert solver_type_for("EulerDiscreteScheduler") == "solver/euler"
    with pytest.raises(ConfigError, match="Did you mean 'EulerDiscreteScheduler'"):
        solver_type_for("EulerDiscretScheduler")


def test_options_are_the_configuration():
    assert dict(make_block("solver/euler", use_karras_sigmas=True).config) == {
        "use_karras_sigmas": True
    }


def test_the_port_with_two_words():
    port = make_block("solver/ddim").ops()["start"].inputs["full_strength"]
    assert [kind.name for kind in port.kinds] == ["Literal"]
    assert port.default == "noised"
    assert list(make_block("solver/ddim").ops()["tick"].outputs) == [
        "sample",
        "timestep",
        "index",
        "count",
        "state",
    ]


def test_a_solver_can_be_pickled():
    solver = pickle.loads(pickle.dumps(make_block("solver/pndm")))  # noqa: S301
    assert solver.type_name == "solver/pndm"
