from __future__ import annotations

import torch

from yggdrasil.training.batches import batches, collate


class Numbers:
    """Samples that are their own numbers."""

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return {"number": torch.tensor(index), "text": f"number {index}"}


def numbers(count=10, **options):
    settings = {"batch_size": 4, "seed": 0, "first_step": 0, "steps": 10, **options}
    return [batch["number"].tolist() for batch in batches(Numbers(count), **settings)]


def test_every_sample_comes_once_in_each_epoch():
    drawn = [number for batch in numbers() for number in batch]
    assert len(drawn) == 40
    for epoch in range(4):
        assert sorted(drawn[10 * epoch : 10 * epoch + 10]) == [*range(10)]
    assert drawn[:10] != drawn[10:20]


def test_a_batch_may_be_larger_than_the_data():
    (batch,) = numbers(3, batch_size=7, steps=1)
    assert sorted(batch[:3]) == sorted(batch[3:6]) == [0, 1, 2]


def test_the_order_is_that_of_the_seed():
    assert numbers() == numbers()
    assert numbers(seed=1) != numbers()
    assert len(numbers(seed=2**63 - 1)) == 10


def test_a_step_gets_its_batch_wherever_a_run_begins():
    whole = numbers()
    for first in range(10):
        assert numbers(first_step=first) == whole[first:]


def test_a_run_that_is_over_gives_nothing():
    assert numbers(first_step=10) == []


def test_the_global_random_state_is_left_alone():
    state = torch.get_rng_state()
    numbers()
    assert torch.equal(torch.get_rng_state(), state)


def test_tensors_are_stacked_and_everything_else_is_listed():
    batch = collate([Numbers(3)[0], Numbers(3)[2]])
    assert batch["number"].tolist() == [0, 2]
    assert batch["text"] == ["number 0", "number 2"]
