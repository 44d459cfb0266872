from __future__ import annotations

import pytest
import torch

from yggdrasil.core.errors import ConfigError, InputError
from yggdrasil.core.registry import make_block
from yggdrasil.core.runtime import Runtime
from yggdrasil.core.templates import resolve_template
from yggdrasil.core.values import SolverSpecValue

LATENTS = torch.zeros(5, 4, 8, 8)
THOUSAND = SolverSpecValue(num_train_timesteps=1000)


def seeds(count):
    return [torch.Generator().manual_seed(number) for number in range(count)]


def test_as_the_training_scripts_of_diffusers_draw():
    drawn = make_block("timesteps/uniform").sample(LATENTS, seeds(1)[0], THOUSAND)
    expected = torch.randint(0, 1000, (5,), generator=seeds(1)[0])
    assert torch.equal(drawn, expected)
    assert drawn.dtype == torch.int64


def test_range():
    drawn = make_block("timesteps/uniform", num_train_timesteps=3).sample(torch.zeros(500, 1))
    assert set(drawn.tolist()) == {0, 1, 2}


def test_as_many_as_the_solver_has_unless_told():
    spec = make_block("solver/ddim", num_train_timesteps=3).spec()
    assert spec == SolverSpecValue(num_train_timesteps=3)
    drawn = make_block("timesteps/uniform").sample(torch.zeros(500, 1), solver=spec)
    assert set(drawn.tolist()) == {0, 1, 2}
    told = make_block("timesteps/uniform", num_train_timesteps=2)
    assert set(told.sample(torch.zeros(500, 1), solver=spec).tolist()) == {0, 1}
    with pytest.raises(InputError, match=r"does not know how many .*give it num_train_timesteps"):
        make_block("timesteps/uniform").sample(LATENTS)


def test_the_solver_of_the_graph_is_asked():
    graph, _ = resolve_template("sd15")
    graph.replace_node("solver", "solver/ddim", num_train_timesteps=3)
    graph.add_node("timesteps", "timesteps/uniform")
    latents = torch.zeros(500, 4, 1, 1)
    given = {"timesteps.sample.latents": latents, "generator": seeds(1)[0]}
    drawn = Runtime(graph).run(given, ["timesteps.sample"], mode="corrupt")["timesteps.sample"]
    assert torch.equal(drawn, torch.randint(3, (500,), generator=seeds(1)[0]))


def test_a_generator_each():
    drawn = make_block("timesteps/uniform").sample(LATENTS, seeds(5), THOUSAND)
    expected = [torch.randint(0, 1000, (1,), generator=each) for each in seeds(5)]
    assert torch.equal(drawn, torch.cat(expected))
    with pytest.raises(InputError, match="2 generators"):
        make_block("timesteps/uniform").sample(LATENTS, seeds(2), THOUSAND)


def test_refused_options():
    with pytest.raises(ConfigError, match="timesteps/uniform: num_train_timesteps is 0"):
        make_block("timesteps/uniform", num_train_timesteps=0)
