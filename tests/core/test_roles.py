from __future__ import annotations

import contextlib

import pytest
import torch

from yggdrasil.core.roles import AbstractBackbone
from yggdrasil.core.values import (
    BackboneSpecValue,
    BranchedConditioningValue,
    BranchedValue,
    ConditioningValue,
)


class Recorder(AbstractBackbone):
    """Answers with its sample times its conditioning, and remembers what it was asked."""

    def __init__(self, *, joins_branches: bool) -> None:
        self.joins_branches = joins_branches
        self.asked: list[tuple[str | None, int]] = []
        self.timesteps: list[list[int] | int] = []
        self.branch: str | None = None

    def describe_input(self):
        return BackboneSpecValue(in_channels=1, sample_size=None)

    def evaluate(self, sample, timestep, conditioning, residuals, model_arguments):
        self.asked.append((self.branch, len(sample)))
        self.timesteps.append(timestep.tolist())
        return sample * conditioning.tensors["scale"][:, None, None, None]

    @contextlib.contextmanager
    def cache_context(self, branch):
        self.branch = branch
        yield
        self.branch = None


def conditioned(value: float, batch: int = 2) -> ConditioningValue:
    return ConditioningValue(tensors={"scale": torch.full((batch,), value)}, batch=batch)


BRANCHES = BranchedConditioningValue.join(
    {"negative": conditioned(2.0), "positive": conditioned(3.0)}
)


@pytest.mark.parametrize(
    ("joins", "asked"), [(True, [(None, 4)]), (False, [("negative", 2), ("positive", 2)])]
)
def test_each_branch_gets_its_own_conditioning(joins, asked):
    backbone = Recorder(joins_branches=joins)
    sample = BranchedValue(BRANCHES.names, (torch.ones(2, 1, 1, 1), torch.full((2, 1, 1, 1), 5.0)))
    answer = backbone.predict(sample, torch.tensor(1), BRANCHES)
    assert answer.names == ("negative", "positive")
    assert answer["negative"].flatten().tolist() == [2.0, 2.0]
    assert answer["positive"].flatten().tolist() == [15.0, 15.0]
    assert backbone.asked == asked


@pytest.mark.parametrize(("joins", "seen"), [(True, [[7, 9, 7, 9]]), (False, [[7, 9], [7, 9]])])
def test_timesteps_of_each_sample_are_those_of_each_branch(joins, seen):
    backbone = Recorder(joins_branches=joins)
    sample = BranchedValue(BRANCHES.names, (torch.ones(2, 1, 1, 1),) * 2)
    backbone.predict(sample, torch.tensor([7, 9]), BRANCHES)
    assert backbone.timesteps == seen


@pytest.mark.parametrize("joins", [True, False])
def test_further_channels_are_the_same_for_every_branch(joins):
    backbone = Recorder(joins_branches=joins)
    sample = BranchedValue(BRANCHES.names, (torch.ones(2, 1, 1, 1),) * 2)
    answer = backbone.predict(sample, torch.tensor(1), BRANCHES, torch.full((2, 1, 1, 1), 7.0))
    assert answer["positive"][0].flatten().tolist() == [3.0, 21.0]


def test_a_plain_sample_takes_one_branch():
    backbone = Recorder(joins_branches=True)
    only = BranchedConditioningValue.join({"positive": conditioned(3.0)})
    for conditioning in (only, only.joined):
        answer = backbone.predict(torch.ones(2, 1, 1, 1), torch.tensor(1), conditioning)
        assert answer.flatten().tolist() == [3.0, 3.0]


def test_a_branched_sample_needs_branched_conditioning():
    backbone = Recorder(joins_branches=True)
    sample = BranchedValue(BRANCHES.names, (torch.ones(2, 1, 1, 1),) * 2)
    with pytest.raises(TypeError, match="each of its branches"):
        backbone.predict(sample, torch.tensor(1), conditioned(1.0))
