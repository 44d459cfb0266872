from __future__ import annotations

import pytest
import torch

from yggdrasil.blocks.solver.catalog import SOLVERS
from yggdrasil.blocks.solver.shell import scales_input


@pytest.mark.parametrize("name", sorted(SOLVERS))
def test_a_scheduler_said_to_scale_nothing_gives_the_sample_back_and_nothing_else(name):
    cls = SOLVERS[name].scheduler_class()
    scheduler = cls()
    scheduler.set_timesteps(4)
    if not hasattr(scheduler, "scale_model_input"):
        assert not scales_input(cls)
        return
    before = dict(vars(scheduler))
    sample = torch.ones(1, 4, 2, 2)
    given = scheduler.scale_model_input(sample, scheduler.timesteps[0])
    changed = any(value is not before.get(key) for key, value in vars(scheduler).items())
    assert scales_input(cls) == (given is not sample or changed)
