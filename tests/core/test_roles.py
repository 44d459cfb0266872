from __future__ import annotations

import contextlib

import pytest
import torch

from yggdrasil.core.errors import InputError
from yggdrasil.core.registry import make_block
from yggdrasil.core.roles import AbstractBackbone
from yggdrasil.core.values import (
    AsideValue,
    BackboneSpecValue,
    BranchedConditioningValue,
    BranchedValue,
    ConditioningValue,
    ExtrasValue,
)


class Recorder(AbstractBackbone):
    """Answers with its sample times its conditioning, and remembers what it was asked."""

    def __init__(self, *, joins_branches: bool) -> None:
        self.joins_branches = joins_branches
        self.asked: list[tuple[str | None, int]] = []
        self.timesteps: list[list[int] | int] = []
        self.arguments: list[dict[str, object]] = []
        self.branch: str | None = None

    def describe_input(self):
        return BackboneSpecValue(in_channels=1, sample_size=None)

    def evaluate(self, sample, timestep, conditioning, residuals, model_arguments):
        self.asked.append((self.branch, len(sample)))
        self.timesteps.append(timestep.tolist())
        self.arguments.append(model_arguments)
        return sample * conditioning.tensors["scale"][:, None, None, None]

    @contextlib.contextmanager
    def cache_context(self, branch):
        self.branch = branch
        yield
        self.branch = None


def conditioned(value: float, batch: int = 2) -> ConditioningValue:
    return ConditioningValue(tensors={"scale": torch.full((batch,), value)}, batch=batch)


BRANCHES = BranchedConditioningValue.of(
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


ASIDE = BranchedConditioningValue.of(
    {"negative": conditioned(2.0), "positive": conditioned(3.0), "skipped": conditioned(3.0)},
    {"skipped": AsideValue(arguments={"skip": [1]}, window=(0.0, 0.5))},
)


@pytest.mark.parametrize(
    ("joins", "asked"),
    [
        (True, [(None, 4), ("skipped", 2)]),
        (False, [("negative", 2), ("positive", 2), ("skipped", 2)]),
    ],
)
def test_a_branch_with_arguments_of_its_own_is_evaluated_by_itself(joins, asked):
    backbone = Recorder(joins_branches=joins)
    sample = BranchedValue(ASIDE.names, (torch.ones(2, 1, 1, 1),) * 3)
    answer = backbone.predict(sample, torch.tensor(1), ASIDE, model_arguments={"all": 1})
    assert answer["skipped"].flatten().tolist() == [3.0, 3.0]
    assert backbone.asked == asked
    assert backbone.arguments[-1] == {"all": 1, "skip": [1]}
    assert all(each == {"all": 1} for each in backbone.arguments[:-1])


@pytest.mark.parametrize(("index", "count"), [(0, 2), (1, 3), (2, 2)])
def test_a_branch_takes_part_in_its_window_of_steps(index, count):
    sample = make_block("guidance/cfg").expand(torch.ones(2, 1, 1, 1), ASIDE, index, 4)
    assert len(sample.names) == count
    answer = Recorder(joins_branches=True).predict(sample, torch.tensor(1), ASIDE)
    assert answer.names == sample.names


def test_a_part_of_a_batch_is_joined_for_itself():
    early = BranchedConditioningValue.of(
        {"negative": conditioned(2.0), "positive": conditioned(3.0)},
        {"negative": AsideValue(window=(-1.0, 0.5))},
    )
    sample = make_block("guidance/cfg").expand(torch.ones(2, 1, 1, 1), early, 3, 4)
    backbone = Recorder(joins_branches=True)
    assert backbone.predict(sample, torch.tensor(1), early)["positive"].flatten().tolist() == [3, 3]
    assert backbone.asked == [(None, 2)]


def test_a_plain_sample_takes_one_branch():
    backbone = Recorder(joins_branches=True)
    only = BranchedConditioningValue.of({"positive": conditioned(3.0)})
    for conditioning in (only, only.joined):
        answer = backbone.predict(torch.ones(2, 1, 1, 1), torch.tensor(1), conditioning)
        assert answer.flatten().tolist() == [3.0, 3.0]


def test_a_branched_sample_needs_branched_conditioning():
    backbone = Recorder(joins_branches=True)
    sample = BranchedValue(BRANCHES.names, (torch.ones(2, 1, 1, 1),) * 2)
    with pytest.raises(TypeError, match="each of its branches"):
        backbone.predict(sample, torch.tensor(1), conditioned(1.0))


EXTRAS = (
    ExtrasValue(tensors={"size": torch.ones(1, 3)}, shared={"ids": 7}),
    ExtrasValue(branches={"negative": {"size": torch.zeros(1, 3)}}),
)


def test_extras_are_joined_to_every_branch():
    prepared = Recorder(joins_branches=True).prepare(BRANCHES, EXTRAS)
    negative, positive = prepared.parts
    assert torch.equal(negative.tensors["size"], torch.zeros(2, 3))
    assert torch.equal(positive.tensors["size"], torch.ones(2, 3))
    assert prepared.joined.shared == positive.shared == {"ids": 7}
    assert prepared.joined.tensors["size"].shape == (4, 3)


def test_extras_are_joined_to_a_conditioning_without_guidance():
    prepared = Recorder(joins_branches=True).prepare(conditioned(3.0), EXTRAS)
    assert prepared.names == ("positive",)
    assert torch.equal(prepared.joined.tensors["size"], torch.ones(2, 3))


def test_branches_that_make_no_batch_are_refused_before_the_loop_where_they_are_one():
    uneven = BranchedConditioningValue.of(
        {"negative": conditioned(2.0, 1), "positive": conditioned(3.0)}
    )
    with pytest.raises(InputError, match=r"scale is \[2\] in the positive and \[1\] in the neg"):
        Recorder(joins_branches=True).prepare(uneven)
    apart = Recorder(joins_branches=False).prepare(uneven)
    assert apart.apart
    assert apart.parts is uneven.parts
