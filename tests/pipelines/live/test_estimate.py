"""What a step's prediction points to, for every kind of prediction."""

from __future__ import annotations

import pytest
import torch

from tests.pipelines.conftest import quiet
from tests.tiny_models import tiny_pipeline
from yggdrasil import InferencePipeline
from yggdrasil.core.registry import make_block
from yggdrasil.pipelines.live.estimate import _Places, _solve, estimate_latents, keep_predictions


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("solver", ["solver/ddim", "solver/euler", "solver/dpmpp_2m"])
def test_a_true_prediction_points_to_the_clean_latents(solver, prediction):
    block = make_block(solver, prediction_type=prediction)
    x0, noise = torch.randn(2, 2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    for timestep in (10, 500, 980):
        level = torch.full((2,), timestep)
        values = [
            block.corrupt(x0, noise, level),
            torch.tensor(timestep),
            block.target(x0, noise, level),
        ]
        estimate = _solve(_Places(block, 0, 1, 2), values)
        torch.testing.assert_close(estimate, x0, atol=2e-4, rtol=0)


class Estimates:
    """Estimates at each step."""

    def __init__(self):
        self.seen = []

    def prepare(self, plan, graph):
        return keep_predictions(plan)

    def on_call(self, call):
        pass

    def on_step(self, event):
        self.seen.append(estimate_latents(event))


@pytest.mark.parametrize("kind", ["sd15", "sd2"])
def test_after_the_last_step_the_estimate_is_the_result(kind):
    """Of a solver whose last step goes all the way to its prediction."""
    theirs = tiny_pipeline(kind)
    ours = quiet(InferencePipeline.from_diffusers(theirs))
    ours.graph.replace_node("solver", "solver/ddim", set_alpha_to_one=True, clip_sample=False)
    estimates = Estimates()
    call = {"num_inference_steps": 4, "output_type": "latent", "seed": 0}
    result = ours("a cat", observers=[estimates], **call).latents
    assert len(estimates.seen) == 4
    torch.testing.assert_close(estimates.seen[-1], result, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(estimates.seen[0], result, atol=1e-1)


def test_keeping_predictions_changes_no_bit_and_frees_after_the_loop(ours):
    call = {"prompt": "a cat", "num_inference_steps": 3, "seed": 0, "output_type": "pt"}
    plan = ours.plan(**call)
    kept = keep_predictions(plan)
    (before,), (after,) = (
        [item for item in each.items if hasattr(item, "body")] for each in (plan, kept)
    )
    freed, still = ({slot for c in each.body for slot in c.frees} for each in (before, after))
    assert {plan.labels[slot] for slot in freed - still} == {
        "solver.tick.sample", "solver.tick.timestep", "guidance.combine.prediction",
    }  # fmt: skip
    assert freed - still <= set(after.frees)
    assert torch.equal(ours(**call, observers=[Estimates()]).images, ours(**call).images)


def test_a_plan_without_a_loop_is_given_back(ours):
    plan = ours._runtime.plan({"prompt": "a cat"}, ["text.encode"])
    assert keep_predictions(plan) == plan


def test_a_solver_that_has_no_such_formula_gives_the_latents_as_they_are(ours):
    # Of this schedule Diffusers knows no form to train on.
    ours.graph.replace_node("solver", "solver/euler")
    block = ours.graph.block("solver")

    def refuses(*_):
        raise NotImplementedError

    block.corrupt = refuses
    estimates, states = Estimates(), []

    class States:
        def on_call(self, call):
            pass

        def on_step(self, event):
            states.append(event.values[event.loop.carried].latents)

    ours("a cat", seed=0, num_inference_steps=2, output_type="latent",
         observers=[estimates, States()])  # fmt: skip
    assert all(map(torch.equal, estimates.seen, states))
