"""Requests of several callers in one batch of Stable Diffusion, each at its own step."""

from __future__ import annotations

import pytest
import torch

from tests.blocks.by_hand import Parts
from tests.tiny_models import tiny_pipeline
from yggdrasil.blocks.solver.sample_states import SampleStates
from yggdrasil.core.registry import make_block
from yggdrasil.core.values import BranchedConditioningValue, ConditioningValue

PROMPTS = ["a red cat", "the blurry blue dog on a house", "a photo"]
STEPS = [3, 6, 4]


def draw(seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, 4, 8, 8, generator=generator, dtype=torch.float64)


def joined(parts):
    """Gives the branches of several requests as those of one batch."""

    def batch(branch):
        values = [each.parts[each.names.index(branch)] for each in parts]
        tensors = {
            name: torch.cat([value.tensors[name] for value in values]) for name in values[0].tensors
        }
        return ConditioningValue(tensors=tensors, batch=len(values))

    return BranchedConditioningValue.join({name: batch(name) for name in parts[0].names})


@pytest.mark.parametrize("name", ["native_ddim", "native_dpmpp_2m", "native_euler_a"])
@torch.no_grad()
def test_requests_in_one_batch_get_the_pictures_that_they_get_alone(name):
    # In double precision, since a model's sums are rounded otherwise in another batch.
    parts = Parts(pipe := tiny_pipeline().to(dtype=torch.float64))
    parts.solver = make_block(f"solver/{name}").give(scheduler=pipe.scheduler)
    branches = [parts.condition(prompt)[1] for prompt in PROMPTS]
    states = [
        parts.solver.start(draw(number), num_inference_steps=steps)
        for number, steps in enumerate(STEPS)
    ]
    alone = [
        parts.loop(state, each, generator=[torch.Generator().manual_seed(number)])
        for number, (state, each) in enumerate(zip(states, branches, strict=True))
    ]
    generators = [torch.Generator().manual_seed(number) for number in range(3)]
    both = parts.loop(SampleStates.stack(states), joined(branches), generator=generators)
    torch.testing.assert_close(both, torch.cat(alone), rtol=0.0, atol=1e-9)
    assert not torch.allclose(both[0], both[1], atol=0.1)
