"""What the models in a block are is told anew when anything about them has changed."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import torch
from torch import nn

from yggdrasil.core import module_watch
from yggdrasil.core.component import Component
from yggdrasil.core.identity import block_identity
from yggdrasil.core.module_watch import watch_of
from yggdrasil.core.roles import AbstractProcessor


class Inner(nn.Module):
    """Holds a little of everything."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(4, 4)
        self.steps = nn.ModuleDict({"first": nn.SiLU(), "second": nn.ReLU()})
        self.gain = nn.Parameter(torch.ones(1))
        self.register_buffer("table", torch.arange(6.0))
        self.angles = torch.arange(5.0)
        self.levels = np.arange(4.0)
        self.options = {"scales": [1.0, 2.0], "grid": torch.zeros(3)}
        self.names = ("a", ["b"])
        self.chosen = {"a"}


class Holder(AbstractProcessor):
    """Holds a model."""

    inner = Component(Inner)


@pytest.fixture
def block():
    return Holder().give(inner=Inner())


def put(target, name, value):
    return lambda block: setattr(target(block), name, value)


def reorder(block):
    steps = block.inner.steps._modules
    steps["first"] = steps.pop("first")


def another_parameter_of_the_same_value(block):
    block.inner.gain = nn.Parameter(torch.ones(1))


def another_array_of_the_same_value(block):
    block.inner.angles = block.inner.angles.clone()
    block_identity(block)
    block.inner.angles[0] = 7.0


CHANGES = {
    "a parameter is written to": lambda b: b.inner.line.weight.data.mul_(2),
    "a parameter counts a write": lambda b: b.inner.gain.detach().mul_(1),
    "a parameter has other memory": lambda b: setattr(b.inner.gain, "data", torch.ones(1)),
    "another parameter of the same value": another_parameter_of_the_same_value,
    "a parameter is added": lambda b: b.inner.register_parameter("b", nn.Parameter(torch.ones(2))),
    "a buffer is written to": lambda b: b.inner.table.data.add_(1),
    "another buffer": lambda b: b.inner.register_buffer("table", torch.arange(6.0)),
    "an array is written to": lambda b: b.inner.angles.add_(1),
    "another array of the same value, written to": another_array_of_the_same_value,
    "an array of numpy is written to": lambda b: b.inner.levels.fill(3),
    "an array in an option is written to": lambda b: b.inner.options["grid"].add_(1),
    "an option is added": lambda b: b.inner.options.update(more=1),
    "a list in an option is written to": lambda b: b.inner.options["scales"].append(3.0),
    "a list in a tuple is written to": lambda b: b.inner.names[1].append("c"),
    "a number is set": lambda b: setattr(b.inner.line, "scale", 2.0),
    "a module is replaced": lambda b: setattr(b.inner, "line", nn.Linear(4, 4)),
    "a module is wrapped": lambda b: setattr(b.inner, "line", nn.Sequential(b.inner.line)),
    "modules change places": reorder,
    "a module is of another class": lambda b: setattr(b.inner.steps["first"], "__class__", nn.GELU),
    "a hook is registered": lambda b: b.inner.line.register_forward_hook(lambda *_: None),
    "the mode is changed": lambda b: b.inner.eval() and b.inner.line.train(),
    "another model": lambda b: b.give(inner=Inner()),
    "moved to another dtype": lambda b: b.to(torch.float64),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_is_seen(block, change):
    before = block_identity(block)
    assert block_identity(block) == before
    change(block)
    after = block_identity(block)
    assert after != before
    assert block_identity(block) == after


def test_what_is_put_back_is_what_it_was(block):
    before, scales = block_identity(block), block.inner.options["scales"]
    scales.append(3.0)
    assert block_identity(block) != before
    scales.pop()
    assert block_identity(block) == before


def test_a_model_that_has_not_changed_is_not_told_anew(block, monkeypatch):
    before = block_identity(block)
    monkeypatch.setattr(module_watch, "_tell", None)
    assert block_identity(block) == before


def test_what_cannot_be_compared_is_told_anew(block):
    class Undecided:
        __hash__ = None

        def __eq__(self, other):
            raise ValueError

    block.inner.odd = Undecided()
    watch = watch_of(block)
    assert watch.unchanged(block)
    block.inner.odd = Undecided()
    assert not watch.unchanged(block)


@pytest.mark.parametrize("release", ["give", "load_from"])
def test_the_memory_of_a_model_that_is_replaced_is_given_back(block, release):
    block_identity(block)
    old = weakref.ref(block.inner.line.weight)
    if release == "give":
        block.give(inner=Inner())
    else:
        block.load_from(inner=block.sources["inner"].__class__(Inner()))
    gc.collect()
    assert old() is None


def test_nothing_is_kept_of_weights_that_are_moved(block):
    block_identity(block)
    assert block in module_watch._watches
    block.to(torch.float64)
    assert block not in module_watch._watches


def test_a_block_that_is_gone_is_not_watched():
    block = Holder().give(inner=Inner())
    block_identity(block)
    model = weakref.ref(block.inner)
    del block
    gc.collect()
    assert model() is None
