"""Every solver gives what its scheduler gives, and keeps no state of its own."""

from __future__ import annotations

import copy
import itertools
import pickle
import threading

import numpy as np
import pytest
import torch

from tests.blocks.solver.driving import (
    NAMES,
    SEEDED,
    draw,
    drive,
    further_of,
    model,
    noised,
    run,
    scheduler_of,
    seeded,
    with_option,
)
from yggdrasil.blocks.solver.shell import can_noise
from yggdrasil.core.errors import InputError
from yggdrasil.core.registry import block_class, make_block
from yggdrasil.core.values import BranchedValue

DRAWING = {
    "solver/consistency",
    "solver/cosine_dpmpp_2m_sde",
    "solver/ddpm",
    "solver/ddpm_parallel",
    "solver/dpm2_a",
    "solver/dpmpp_2m_sde",
    "solver/dpmpp_sde",
    "solver/euler_a",
    "solver/flow_lcm",
    "solver/lcm",
    "solver/sa",
}
NOISING = [name for name in NAMES if can_noise(block_class(name).scheduler_class())]
SIGMAS = ("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas")
SINGLE = {"algorithm_type": "sde-dpmsolver++", "final_sigmas_type": "sigma_min"}

VARIANTS = [
    *((name, {option: True}, {}) for option in SIGMAS for name in with_option(option)),
    *((name, {"timestep_spacing": "trailing"}, {}) for name in with_option("timestep_spacing")),
    *((name, {"sigma_schedule": "karras"}, {}) for name in with_option("sigma_schedule")),
    *((name, {"sigma_schedule": "exponential"}, {}) for name in with_option("sigma_schedule")),
    ("solver/euler", {"timestep_type": "continuous", "prediction_type": "v_prediction"}, {}),
    ("solver/euler", {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}, {}),
    ("solver/dpmpp_2m", {"use_karras_sigmas": True, "solver_order": 3}, {}),
    ("solver/dpmpp_2m", {"algorithm_type": "sde-dpmsolver++"}, {}),
    ("solver/dpmpp_2m_sde", {"use_karras_sigmas": True, "solver_order": 3}, {}),
    ("solver/dpmpp_2m_sde", {"algorithm_type": "dpmsolver++"}, {}),
    ("solver/dpmpp_2s", {"solver_order": 3, "lower_order_final": True}, {}),
    ("solver/dpmpp_2s", SINGLE, {}),
    ("solver/deis", {"solver_order": 3}, {}),
    ("solver/pndm", {"skip_prk_steps": False}, {}),
    ("solver/ddim", {"clip_sample": False, "set_alpha_to_one": False}, {"eta": 0.7}),
    ("solver/ddim_parallel", {"clip_sample": False}, {"eta": 0.7}),
    ("solver/cogvideox_ddim", {"snr_shift_scale": 1.0}, {"eta": 0.7}),
    ("solver/tcd", {}, {"eta": 0.3}),
    ("solver/tcd", {}, {"eta": 1.0}),
    ("solver/sa", {"predictor_order": 3, "corrector_order": 4}, {}),
    ("solver/sa", {"algorithm_type": "noise_prediction"}, {}),
    ("solver/flow_euler", {"shift": 3.0}, {}),
    ("solver/flow_euler", {"stochastic_sampling": True}, {}),
    ("solver/unipc", {"solver_order": 3, "final_sigmas_type": "sigma_min"}, {}),
    ("solver/unipc", {"solver_type": "bh1", "final_sigmas_type": "sigma_min"}, {}),
]


def solver_of(name, **options):
    given = {**SEEDED.get(name, {}), **options}
    # The model's scheduler is another one, as it is when the caller chooses the solver.
    return make_block(name, **given).give(scheduler=scheduler_of("solver/pndm"))


@pytest.mark.parity
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("name", with_option("prediction_type"))
def test_run_from_noise(name, prediction):
    check_run_from_noise(name, {"prediction_type": prediction}, {})


@pytest.mark.parity
@pytest.mark.parametrize("name", sorted(set(NAMES) - set(with_option("prediction_type"))))
def test_run_from_noise_with_one_prediction(name):
    check_run_from_noise(name, {}, {})


@pytest.mark.parity
@pytest.mark.parametrize(("name", "options", "call"), VARIANTS)
def test_run_with_options(name, options, call):
    check_run_from_noise(name, options, call)


def check_run_from_noise(name, options, call):
    noise = draw(0, 2, 4, 8, 8)
    eta = call.get("eta", 0.0)
    reference = scheduler_of(name, **options)
    solver = solver_of(name, **options)
    for several in (False, True) if name in DRAWING or eta else (False,):
        generators = [seeded(5), seeded(6)]
        reference.set_timesteps(6)
        expected = drive(
            reference,
            reference.timesteps,
            noise * getattr(reference, "init_noise_sigma", 1.0),
            **further_of(reference, generators if several else generators[0], eta),
        )
        generators = [seeded(5), seeded(6)]
        states = run(
            solver,
            solver.start(noise, num_inference_steps=6),
            generator=generators if several else generators[0],
            eta=eta,
        )
        assert torch.equal(solver.finish(states[-1]), expected)
        assert torch.isfinite(expected).all()


@pytest.mark.parity
@pytest.mark.parametrize("strength", [0.65, 1.0])
@pytest.mark.parametrize("name", NOISING)
def test_run_from_latents(name, strength):
    noise, init = draw(0, 2, 4, 8, 8), draw(1, 2, 4, 8, 8)
    reference = scheduler_of(name)
    reference.set_timesteps(7)
    begin = (7 - int(7 * strength)) * reference.order
    timesteps = reference.timesteps[begin:]
    if hasattr(reference, "set_begin_index"):
        reference.set_begin_index(begin)
    expected = drive(
        reference,
        timesteps,
        noised(reference, init, noise, timesteps[:1].repeat(2)),
        **further_of(reference, seeded(3)),
    )
    solver = solver_of(name)
    state = solver.start(noise, init, num_inference_steps=7, strength=strength)
    states = run(solver, state, generator=seeded(3))
    assert torch.equal(states[-1].latents, expected)
    assert states[0].count == len(timesteps)


@pytest.mark.parity
@pytest.mark.parametrize("name", NOISING)
def test_renoise_during_a_run(name):
    noise, init = draw(0, 1, 4, 8, 8), draw(1, 1, 4, 8, 8)
    reference = scheduler_of(name)
    reference.set_timesteps(6)
    if hasattr(reference, "set_begin_index"):
        reference.set_begin_index(2 * reference.order)
    timesteps = reference.timesteps[2 * reference.order :]
    latents = noised(reference, init, noise, timesteps[:1])
    seed = seeded(3)
    expected = []
    for number, timestep in enumerate(timesteps):
        latents = drive(reference, [timestep], latents, **further_of(reference, seed))
        following = timesteps[number + 1 : number + 2]
        known = init
        if len(following):
            known = noised(reference, init, noise, torch.tensor([following[0]]))
        expected.append(known)
    solver = solver_of(name)
    state = solver.start(noise, init, num_inference_steps=6, strength=0.7)
    states = run(solver, state, generator=seeded(3))[1:]
    assert all(
        torch.equal(solver.renoise(state, init, noise), known)
        for state, known in zip(states, expected, strict=True)
    )


@pytest.mark.parametrize("name", [*NAMES, "prk"])
def test_stepping_twice_gives_equal_bits(name):
    options = {"skip_prk_steps": False} if name == "prk" else {}
    solver = make_block("solver/pndm" if name == "prk" else name, **options)
    states = run(
        solver, solver.start(draw(0, 1, 4, 8, 8), num_inference_steps=5), generator=seeded(0)
    )
    before = [state.latents.clone() for state in states]
    for state, following in itertools.pairwise(states):
        # The generator's place does not matter here: every step of both runs draws the same.
        again = []
        for _ in range(2):
            tick = solver.tick(state)
            output = model(tick.sample, tick.timestep)
            again.append(solver.step(tick.state, output, seeded(9)))
        assert torch.equal(again[0].latents, again[1].latents)
        if name not in DRAWING:
            assert torch.equal(again[0].latents, following.latents)
    assert all(torch.equal(a, b.latents) for a, b in zip(before, states, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_decides_a_run_and_no_draw_is_left_out(name):
    solver = make_block(name)
    noise = draw(0, 1, 4, 8, 8)

    def made(seed):
        start = solver.start(noise, num_inference_steps=5)
        return run(solver, start, generator=seeded(seed))[-1].latents

    torch.manual_seed(1)
    first = made(0)
    torch.manual_seed(2)
    assert torch.equal(made(0), first)
    assert torch.equal(made(1), first) is (name not in DRAWING)


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


@pytest.mark.parametrize("name", NAMES)
def test_a_record_holds_plain_values_only(name):
    """What has a state of its own would be shared by all states of a run."""
    solver = make_block(name)
    plain = (torch.Tensor, torch.Size, np.ndarray, int, float, str, bool, type(None))
    for state in run(solver, solver.start(draw(0, 1, 4, 8, 8), num_inference_steps=5)):
        for key, value in state.internals.items():
            if key != "_internal_dict":
                held = value if isinstance(value, list | dict) else [value]
                assert all(isinstance(each, plain) for each in held), key


@pytest.mark.parametrize("name", NAMES)
def test_a_state_can_be_copied_and_stored(name):
    solver = make_block(name)
    states = run(
        solver, solver.start(draw(0, 1, 4, 8, 8), num_inference_steps=5), generator=seeded(0)
    )
    rest = run(solver, states[2], generator=seeded(1))[-1]
    for stored in (copy.deepcopy(states[2]), pickle.loads(pickle.dumps(states[2]))):  # noqa: S301
        assert torch.equal(run(solver, stored, generator=seeded(1))[-1].latents, rest.latents)


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


def test_gradients_go_through_a_run():
    solver = make_block("solver/ddim")
    noise = draw(0, 1, 4, 8, 8).requires_grad_()
    states = run(solver, solver.start(noise, num_inference_steps=3))
    states[-1].latents.sum().backward()
    assert noise.grad is not None
    assert noise.grad.abs().sum() > 0


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


@pytest.mark.parametrize("name", ["solver/euler_a", "solver/dpmpp_sde"])
def test_as_many_generators_as_samples(name):
    solver = make_block(name)
    tick = solver.tick(solver.start(draw(0, 2, 4, 8, 8), num_inference_steps=2))
    with pytest.raises(InputError, match="1 generators were given for a batch of 2"):
        solver.step(tick.state, tick.sample, [torch.Generator()])


def test_a_solver_can_be_pickled():
    solver = pickle.loads(pickle.dumps(make_block("solver/pndm")))  # noqa: S301
    assert solver.type_name == "solver/pndm"
