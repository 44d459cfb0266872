"""What the models of a solver are trained on."""

from __future__ import annotations

import diffusers
import pytest
import torch
from diffusers import DDPMScheduler, FlowMatchEulerDiscreteScheduler

from tests.blocks.solver.driving import CONFIG, NAMES, draw, options_of, scheduler_of
from yggdrasil.core.errors import ConfigError
from yggdrasil.core.registry import block_class, make_block

UNTRAINED = {
    "solver/cogvideox_ddim",
    "solver/consistency",
    "solver/cosine_dpmpp_2m_sde",
    "solver/edm_dpmpp_2m",
    "solver/edm_euler",
    "solver/ipndm",
}
PRESERVING = sorted(
    set(NAMES) - UNTRAINED - {"solver/flow_euler", "solver/flow_heun", "solver/flow_lcm"}
)
FLOWING = [
    ("solver/dpmpp_2m", {"prediction_type": "flow_prediction", "use_flow_sigmas": True}),
    ("solver/flow_euler", {}),
    ("solver/flow_euler", {"shift": 3.0}),
    ("solver/flow_heun", {}),
    ("solver/flow_lcm", {}),
    ("solver/unipc", {"prediction_type": "flow_prediction", "use_flow_sigmas": True}),
]


@pytest.mark.parity
@pytest.mark.parametrize(
    ("name", "prediction"),
    [
        *((name, "v_prediction") for name in PRESERVING),
        *((name, each) for name in ("solver/ddim", "solver/lms") for each in ("epsilon", "sample")),
    ],
)
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


@pytest.mark.parity
@pytest.mark.parametrize(("name", "options"), FLOWING)
def test_flow(name, options):
    latents, noise = draw(0, 3, 4, 8, 8), draw(1, 3, 4, 8, 8)
    reference = FlowMatchEulerDiscreteScheduler()
    timestep = reference.timesteps[[0, 400, 999]]
    solver = make_block(name, **options)
    noised = solver.corrupt(latents, noise, timestep)
    assert torch.equal(noised, reference.scale_noise(latents, timestep, noise))
    flow = solver.target(latents, noise, timestep)
    # The flow leads from the noised latents to the noise in the time that is left.
    left = 1.0 - timestep.view(3, 1, 1, 1) / 1000
    torch.testing.assert_close(noised + left * flow, noise)
    assert solver.spec().num_train_timesteps == 1000


def test_timesteps_of_flow_may_be_whole_numbers():
    latents, noise = draw(0, 1, 4, 8, 8), draw(1, 1, 4, 8, 8)
    solver = make_block("solver/flow_euler")
    assert torch.equal(solver.corrupt(latents, noise, torch.tensor([0])), latents)
    assert torch.equal(solver.corrupt(latents, noise, torch.tensor([1000])), noise)


@pytest.mark.parametrize("name", sorted(UNTRAINED))
def test_some_solvers_say_why_there_is_nothing_to_train_on(name):
    assert block_class(name).untrained
    with pytest.raises(ConfigError, match=f"{name} has no form to train on: .*solver/ddim"):
        make_block(name).corrupt(*_three())


@pytest.mark.parametrize("name", PRESERVING)
def test_what_is_trained_on_betas_has_them(name):
    assert "beta_schedule" in options_of(name)


def test_impossible_schedules_are_refused():
    with pytest.raises(ConfigError, match="no form to train on"):
        make_block("solver/heun", beta_schedule="exp").corrupt(*_three())


def _three():
    return draw(0, 1, 4, 8, 8), draw(1, 1, 4, 8, 8), torch.tensor([500])
