"""Calls made ready for a loop: by position where that is the same as by name, else by name."""

from __future__ import annotations

import functools

import pytest

from tests.core.toys import Gather, Mix, Number
from yggdrasil.core.binding import bind
from yggdrasil.core.block import AbstractBaseBlock
from yggdrasil.core.candidates import Vertex
from yggdrasil.core.plan import Call
from yggdrasil.core.ports import op


class Pair(AbstractBaseBlock):
    """Gives its arguments back, so that a test sees which is which."""

    @op
    def run(self, x: Number, y: Number, z: Number | None = None) -> Number:
        return ("pair", x, y, z)


class Turned(Pair):
    """Takes them in another order."""

    def run(self, y: Number, x: Number, z: Number | None = None) -> Number:
        return ("turned", x, y, z)


class Named(Pair):
    """Takes one of them by name alone."""

    def run(self, x: Number, *, y: Number, z: Number | None = None) -> Number:
        return ("named", x, y, z)


def ready(block, values, **slots):
    call = Call(
        vertex=Vertex("node", "run"),
        block=block,
        spec=block.ops()["run"],
        arguments=tuple(slots.items()),
        results=(("out", 0),),
    )
    return bind(call, values)


@pytest.mark.parametrize("cls", [Pair, Turned, Named])
def test_arguments_reach_the_parameters_of_their_names(cls):
    name = cls.__name__.lower()
    assert ready(cls(), [1, 2, 3], x=0, y=1)() == (name, 1, 2, None)
    assert ready(cls(), [1, 2, 3], y=1, z=2, x=0)() == (name, 1, 2, 3)


def test_values_are_read_anew_at_every_call():
    values = [1, 2]
    run = ready(Pair(), values, x=0, y=1)
    run()
    values[0] = 7
    assert run() == ("pair", 7, 2, None)


def test_an_optional_argument_may_be_passed_over():
    run = ready(Mix(), [1.0, 2.0], a=0, c=1)
    assert run() == 1.0 + 4 * 2.0


def test_many_sources_arrive_as_a_tuple():
    assert ready(Gather(), [1.0, 2.0], parts=(0, 1))().item() == 5.0
    assert ready(Gather(), [], parts=())().item() == 0.0


def test_a_method_that_somebody_replaced_is_called_by_name(monkeypatch):
    block = Pair()
    original = block.run

    @functools.wraps(original)
    def watched(**given):
        return ("watched", *original(**given))

    monkeypatch.setattr(block, "run", watched)
    assert ready(block, [1, 2], x=0, y=1)() == ("watched", "pair", 1, 2, None)


def test_a_method_wrapped_on_its_class_is_called_as_the_wrapper_takes_it(monkeypatch):
    original = Pair.run

    @functools.wraps(original)
    def watched(self, **given):
        return ("watched", *original(self, **given))

    monkeypatch.setattr(Pair, "run", watched)
    assert ready(Pair(), [1, 2], x=0, y=1)() == ("watched", "pair", 1, 2, None)
