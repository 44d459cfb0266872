from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypeVar

import pytest
from torch import Tensor

from yggdrasil.core.block import AbstractBaseBlock
from yggdrasil.core.errors import PortError
from yggdrasil.core.kinds import ANY, Generator, Image, Kind, Latents, Many, Residuals
from yggdrasil.core.ports import Port, fits, op, read_ops

if TYPE_CHECKING:
    from fractions import Fraction

T = TypeVar("T")


class Both(NamedTuple):
    first: Latents
    second: int


class Sample(AbstractBaseBlock):
    @op
    def several(self, latents: Latents, steps: int | None = 3) -> Both:
        """First line.

        More.
        """

    @op
    def either(self, x: Latents | Image, y: Image | None = None) -> Image: ...

    @op
    def many(self, parts: Many[Residuals], more: Many[Latents] = ()) -> Residuals: ...

    @op(fact=True)
    def number(self) -> int: ...

    @op
    def draw(self, generator: Generator | None = None) -> Latents: ...

    @op
    def anything(self, x: Any, y: object, z: T) -> Any: ...

    @op
    def listed(self, x: list[int]) -> dict[str, int]: ...

    def helper(self, x: int) -> int: ...


OPS = read_ops(Sample)
LATENTS, IMAGE = Kind("latents", "b c h w"), Kind("image", "b c h w")


def test_ops_are_the_marked_methods_in_order():
    assert list(OPS) == ["several", "either", "many", "number", "draw", "anything", "listed"]
    assert OPS["several"].doc == "First line."


def test_no_default_means_required():
    inputs = OPS["several"].inputs
    assert inputs["latents"] == Port("latents", (LATENTS,), required=True)
    assert inputs["steps"] == Port("steps", (Kind("int"),), default=3)
    assert str(inputs["latents"]) == "latents: latents (b c h w)"


def test_a_named_tuple_is_several_outputs_and_one_value_is_named_by_its_kind():
    assert list(OPS["several"].outputs) == ["first", "second"]
    assert OPS["several"].several
    assert list(OPS["either"].outputs) == ["image"]
    assert not OPS["either"].several
    assert list(OPS["number"].outputs) == ["number"], "a plain type is named after its op"


def test_unions_have_several_kinds_and_none_is_no_kind():
    assert OPS["either"].inputs["x"].kinds == (LATENTS, IMAGE)
    assert str(OPS["either"].inputs["x"]) == "x: latents (b c h w) or image (b c h w)"
    assert OPS["either"].inputs["y"].kinds == (IMAGE,)


def test_many_is_never_required():
    parts, more = OPS["many"].inputs["parts"], OPS["many"].inputs["more"]
    assert parts.many
    assert more.many
    assert not parts.required
    assert parts.default == ()
    assert parts.kinds == (Kind("residuals"),)


def test_facts_and_draws_are_told_apart():
    assert OPS["number"].fact
    assert not OPS["draw"].fact
    assert OPS["draw"].draws
    assert not OPS["number"].draws


def test_plain_types_are_kinds_of_their_name():
    assert OPS["anything"].inputs["x"].kinds == (ANY,)
    assert OPS["anything"].inputs["y"].kinds == (ANY,)
    assert OPS["anything"].inputs["z"].kinds == (ANY,)
    assert OPS["listed"].inputs["x"].kinds == (Kind("list"),)
    assert OPS["listed"].outputs["listed"].kinds == (Kind("dict"),)


def test_ports_fit_when_they_share_a_kind():
    latents, image = Port("a", (LATENTS,)), Port("b", (IMAGE,))
    assert fits(latents, latents)
    assert not fits(latents, image)
    assert fits(latents, Port("c", (IMAGE, LATENTS)))
    assert fits(image, Port("d", (ANY,)))
    assert fits(Port("d", (ANY,)), image)


def test_a_subclass_overrides_an_op_and_inherits_the_mark():
    class Child(Sample):
        def number(self) -> Latents: ...

    assert list(read_ops(Child)) == list(OPS)
    assert list(read_ops(Child)["number"].outputs) == ["latents"]
    assert read_ops(Child)["number"].fact


def test_a_kind_in_a_kind_is_the_outer_one():
    Inner = Annotated[Latents, Kind("inner")]

    class Nested(AbstractBaseBlock):
        @op
        def run(self, x: Inner) -> Annotated[Tensor, "a note", Kind("noted")]: ...

    Nested.run.__annotations__["x"] = Inner
    ports = read_ops(Nested)["run"]
    assert Kind("inner") in ports.inputs["x"].kinds
    assert list(ports.outputs) == ["noted"]


def _unannotated():
    class Bad(AbstractBaseBlock):
        @op
        def run(self, x) -> int: ...

    return Bad


def _no_return():
    class Bad(AbstractBaseBlock):
        @op
        def run(self, x: int): ...

    return Bad


def _star():
    class Bad(AbstractBaseBlock):
        @op
        def run(self, *things: int) -> int: ...

    return Bad


def _keywords():
    class Bad(AbstractBaseBlock):
        @op
        def run(self, **options: int) -> int: ...

    return Bad


def _hidden():
    class Bad(AbstractBaseBlock):
        @op
        def run(self, x: Fraction) -> int: ...

    return Bad


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_unannotated, "annotate 'x' with its type or kind"),
        (_no_return, "annotate what it returns; a NamedTuple for several outputs"),
        (_star, r"takes \*things: name each input, or use Many"),
        (_keywords, r"takes \*options: name each input"),
        (_hidden, "import the name at module level, not under TYPE_CHECKING"),
    ],
)
def test_what_cannot_be_read_is_said(make, message):
    with pytest.raises(PortError, match=message):
        make()().ops()
