"""The names of solvers, their options, and which schedulers of Diffusers they drive."""

from __future__ import annotations

import diffusers
import pytest
import torch
from diffusers import DDPMScheduler, EulerDiscreteScheduler, PNDMScheduler, StableDiffusionPipeline
from diffusers.schedulers.scheduling_utils import KarrasDiffusionSchedulers
from diffusers.utils.dummy_torch_and_torchsde_objects import (
    DPMSolverSDEScheduler as StandInForTorchsde,
)

from tests.blocks.solver.driving import CONFIG, NAMES, draw, run, seeded, with_option
from tests.tiny_models import tiny_components
from tools.list_solvers import PAGE, page
from yggdrasil.blocks.solver import catalog
from yggdrasil.blocks.solver.catalog import SOLVERS, solver_type_for
from yggdrasil.blocks.solver.not_driven import NOT_DRIVEN
from yggdrasil.core.component import Given
from yggdrasil.core.errors import ConfigError
from yggdrasil.core.registry import make_block

EXPORTED = {
    name
    for module in (diffusers, diffusers.schedulers)
    for name in dir(module)
    if name.endswith("Scheduler")
}
DRIVEN = {cls.scheduler_class().__name__ for cls in SOLVERS.values()}
FLOW = {each for each in DRIVEN if each.startswith("FlowMatch")}


def test_every_scheduler_of_diffusers_has_a_solver_or_a_reason():
    assert DRIVEN | set(NOT_DRIVEN) == EXPORTED
    assert not DRIVEN & set(NOT_DRIVEN)


def test_what_diffusers_names_for_stable_diffusion_has_a_solver():
    assert {each.name for each in KarrasDiffusionSchedulers} <= DRIVEN


@pytest.mark.parity
@pytest.mark.parametrize("name", sorted(NOT_DRIVEN))
def test_stable_diffusion_runs_with_no_scheduler_that_has_a_reason(name):
    cls = getattr(diffusers, name, None) or getattr(diffusers.schedulers, name)
    # TypeError and ValueError: it cannot be made of what every other scheduler is made of.
    with pytest.raises((AttributeError, KeyError, TypeError, ValueError)):
        _run(cls)


@pytest.mark.parity
@pytest.mark.parametrize("name", sorted(DRIVEN - FLOW))
def test_stable_diffusion_runs_with_every_scheduler_that_has_a_solver(name):
    assert torch.isfinite(_run(getattr(diffusers, name))).all()


STOCHASTIC = [
    *[(name, {}, eta) for name in NAMES for eta in (0.0, 0.5)],
    *[(name, {"algorithm_type": "sde-dpmsolver++"}, 0.0) for name in with_option("algorithm_type")
      if name not in {"solver/deis", "solver/sa", "solver/unipc"}],
    ("solver/flow_euler", {"stochastic_sampling": True}, 0.0),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options", "eta"), STOCHASTIC)
def test_a_solver_says_whether_its_steps_draw(name, options, eta):
    solver = make_block(name, **options)
    begin = solver.start(draw(0, 1, 4, 8, 8), num_inference_steps=4)
    generator, untouched = seeded(1), seeded(1).get_state()
    torch.manual_seed(0)
    globally = torch.get_rng_state()
    first, second = (
        run(solver, begin, generator=each, eta=eta)[-1].latents for each in (seeded(0), generator)
    )
    assert torch.equal(torch.get_rng_state(), globally)
    assert solver.draws(eta) is not torch.equal(first, second)
    assert solver.draws(eta) or torch.equal(generator.get_state(), untouched)
    still = solver.unused_inputs("step", {"eta": eta}) == {"generator"}
    assert still is not solver.draws(eta)
    assert not solver.unused_inputs("step", {}) or not solver.draws(1.0)


def _run(cls):
    components = tiny_components("sd15")
    config = dict(components["scheduler"].config)
    components["scheduler"] = (
        cls.from_config(config) if hasattr(cls, "from_config") else cls(num_train_timesteps=1000)
    )
    pipe = StableDiffusionPipeline(**components)
    pipe.set_progress_bar_config(disable=True)
    return pipe("a cat", num_inference_steps=4, output_type="latent").images


def test_what_is_particular_about_a_solver_is_known_to_its_base():
    for entry in catalog._ENTRIES:
        assert all(hasattr(entry.base, name) for name in entry.particulars), entry.name


def test_solver_for_a_scheduler():
    assert solver_type_for("EulerDiscreteScheduler") == "solver/euler"
    with pytest.raises(ConfigError, match="Did you mean 'EulerDiscreteScheduler'"):
        solver_type_for("EulerDiscretScheduler")
    with pytest.raises(ConfigError, match="'AmusedScheduler': it decides tokens"):
        solver_type_for("AmusedScheduler")


def test_models_with_a_scheduler_of_two_solvers_get_the_plain_one():
    assert solver_type_for("DPMSolverMultistepScheduler") == "solver/dpmpp_2m"


def test_a_missing_library_is_named(monkeypatch):
    from yggdrasil.blocks.solver import scheduled

    monkeypatch.setattr(diffusers, "DPMSolverSDEScheduler", StandInForTorchsde)
    monkeypatch.setattr(scheduled.importlib.util, "find_spec", lambda name: name == "torch" or None)
    scheduled._scheduler_class.cache_clear()
    try:
        with pytest.raises(ConfigError, match=r"dpmpp_sde needs torchsde.*pip install torchsde"):
            make_block("solver/dpmpp_sde", noise_sampler_seed=1)
    finally:
        scheduled._scheduler_class.cache_clear()


def test_configuration_of_another_class_is_taken_over():
    given = PNDMScheduler(**CONFIG, prediction_type="v_prediction")
    solver = make_block("solver/euler", on_tensors=False).give(scheduler=given)
    reference = EulerDiscreteScheduler.from_config(given.config)
    reference.set_timesteps(4)
    state = solver.start(draw(0, 1, 4, 8, 8), num_inference_steps=4)
    assert torch.equal(state.timesteps, reference.timesteps)
    assert torch.equal(state.internals["sigmas"], reference.sigmas)


def test_another_source_makes_another_solver():
    solver = make_block("solver/ddim")
    first, version = solver.corrupt(*_three()), solver.settled_by()
    solver.load_from(scheduler=Given(DDPMScheduler(**CONFIG)))
    assert not torch.equal(solver.corrupt(*_three()), first)
    assert solver.settled_by() != version
    solver.load()


def _three():
    return draw(0, 1, 4, 8, 8), draw(1, 1, 4, 8, 8), torch.tensor([500])


def test_unknown_options_are_refused():
    with pytest.raises(ConfigError, match=r"use_karas_sigmas.*Did you mean 'use_karras_sigmas'"):
        make_block("solver/euler", use_karas_sigmas=True)


def test_given_options_go_before_those_of_the_name_and_they_before_the_models():
    model = scheduler_config(algorithm_type="dpmsolver++")
    assert _algorithm(make_block("solver/dpmpp_2m").give(scheduler=model)) == "dpmsolver++"
    solver = make_block("solver/dpmpp_2m_sde").give(scheduler=model)
    assert _algorithm(solver) == "sde-dpmsolver++"
    solver = make_block("solver/dpmpp_2m_sde", algorithm_type="dpmsolver++")
    assert _algorithm(solver) == "dpmsolver++"


def scheduler_config(**options):
    return diffusers.DPMSolverMultistepScheduler(**CONFIG | options)


def _algorithm(solver):
    return solver.make_scheduler().config.algorithm_type


def test_impossible_configurations_are_refused():
    solver = make_block("solver/ddim", beta_schedule="wavy")
    with pytest.raises(ConfigError, match=r"solver/ddim: DDIMScheduler cannot be made.*wavy"):
        solver.check_inputs("start", {})


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


def test_the_page_lists_the_solvers_that_there_are():
    text = PAGE.read_text(encoding="utf-8")
    assert page(text) == text, "run: python -m tools.list_solvers"
