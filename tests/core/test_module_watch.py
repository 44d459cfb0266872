"""What the models in a block are is told anew when anything about them has changed."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from collections import deque
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from yggdrasil.core import module_watch
from yggdrasil.core.component import Component
from yggdrasil.core.identity import block_identity, surroundings
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
        self.words = nn.Embedding(20, 4)
        self.processor = Processor()
        self.settings = Settings()
        self.aside = [nn.Linear(2, 2)]
        self.recent = deque([1.0])


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


class Processor:
    """Is no module, and decides how one runs."""

    def __init__(self) -> None:
        self.scale = 1.0
        self.layers = [1]


@dataclass
class Settings:
    """A configuration."""

    kernel: str = "eager"


def transposed(block):
    block.inner.line.weight.data = block.inner.line.weight.data.T


def as_integers(block):
    block.inner.table.data = block.inner.table.data.view(torch.int32)


def a_row(block):
    block.inner.words.weight.data[7] = 3.0


def in_a_list(block):
    block.inner.aside[0].weight.data.mul_(2)


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
    "a processor is given another scale": lambda b: setattr(b.inner.processor, "scale", 2.0),
    "a list of a processor is written to": lambda b: b.inner.processor.layers.append(2),
    "a processor gets an attribute": lambda b: setattr(b.inner.processor, "backend", "native"),
    "a configuration is written to": lambda b: setattr(b.inner.settings, "kernel", "sdpa"),
    "a deque is written to": lambda b: b.inner.recent.append(2.0),
    "a module in a list is written to": in_a_list,
    "a row of a table is written to": a_row,
    "memory is read the other way round": transposed,
    "memory is read as integers": as_integers,
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


def sparse(block):
    block.inner.register_buffer("few", torch.eye(4).to_sparse())


def on_meta(block):
    block.inner.register_buffer("none", torch.empty(4, device="meta"))
    block.inner.shape_only = torch.empty(4, device="meta")


def nested(block):
    tensors = [torch.ones(2), torch.ones(3)]
    block.inner.register_buffer("ragged", torch.nested.nested_tensor(tensors))


def lazy(block):
    block.inner.later = nn.LazyLinear(3)


def conjugated(block):
    block.inner.phase = torch.ones(3, dtype=torch.complex64).conj()


def in_a_circle(block):
    block.inner.options["itself"] = block.inner.options


def traced(block):
    block.inner.quick = torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("add", [sparse, on_meta, nested, lazy, conjugated, in_a_circle, traced])
def test_what_is_unusual_can_be_told(block, add):
    add(block)
    before = block_identity(block)
    block.inner.line.weight.data.mul_(2)
    assert block_identity(block) != before


def test_a_setting_of_pytorch_is_told():
    before = surroundings()
    held = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        assert surroundings() != before
    finally:
        torch.set_float32_matmul_precision(held)
    assert surroundings() == before


def test_a_block_that_its_model_knows_of_is_freed():
    block = Holder().give(inner=Inner())
    vars(block.inner)["owner"] = block
    block_identity(block)
    gone = weakref.ref(block)
    del block
    gc.collect()
    assert gone() is None


def test_a_copy_is_told_by_itself(block):
    before = block_identity(block)
    other = copy.deepcopy(block)
    assert module_watch._WATCH not in vars(other) or vars(other)[module_watch._WATCH] is None
    other.inner.line.weight.data.mul_(2)
    assert block_identity(block) == before
    pickled = pickle.loads(pickle.dumps(block))  # noqa: S301 - of our own
    assert vars(pickled).get(module_watch._WATCH) is None
    assert block_identity(pickled) == block_identity(pickled)


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
    assert module_watch._WATCH in vars(block)
    block.to(torch.float64)
    assert module_watch._WATCH not in vars(block)


def test_a_block_that_is_gone_is_not_watched():
    block = Holder().give(inner=Inner())
    block_identity(block)
    model = weakref.ref(block.inner)
    del block
    gc.collect()
    assert model() is None
