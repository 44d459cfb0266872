"""The vocabulary of the shapes world, and what a picture of it may hold.

Every word of the world is a member of an enumeration whose value is the word as
captions spell it.  A :class:`Scene` says what a picture shows; attributes that are
``None`` are *not said*, and the renderer is free to choose them.

Some color and shape pairs never occur in training (:func:`kept_out_pairs`), so that a
model can be judged on combinations it has never seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from typing import Final, TypeAlias

from yggdrasil.training.datasets.shapes.errors import ShapesError


class Color(StrEnum):
    """Color of an item."""

    RED = "red"
    GREEN = "green"
    BLUE = "blue"
    YELLOW = "yellow"
    ORANGE = "orange"
    PURPLE = "purple"
    WHITE = "white"
    BLACK = "black"


class Shape(StrEnum):
    """Outline of an item."""

    CIRCLE = "circle"
    SQUARE = "square"
    TRIANGLE = "triangle"
    STAR = "star"
    CROSS = "cross"
    HEART = "heart"


class Size(StrEnum):
    """How much of the picture an item fills."""

    SMALL = "small"
    LARGE = "large"


class Position(StrEnum):
    """Where a lone item stands."""

    LEFT = "left"
    RIGHT = "right"
    TOP = "top"
    BOTTOM = "bottom"
    CENTER = "center"


class Background(StrEnum):
    """Color behind the items."""

    WHITE = "white"
    BLACK = "black"
    GRAY = "gray"
    YELLOW = "yellow"
    BLUE = "blue"
    PINK = "pink"


class Relation(StrEnum):
    """How the first of two items stands to the second."""

    LEFT_OF = "left of"
    RIGHT_OF = "right of"
    ABOVE = "above"
    BELOW = "below"


ColorShape: TypeAlias = tuple[Color, Shape]
"""A color and shape pair, the unit in which combinations are kept out of training."""

# One pair per shape except the heart, no color twice: the model has seen every kept-out
# color on five other shapes and every kept-out shape in seven other colors, so only the
# combination is new.  5 of 48 pairs are about 10 % of the one-object combinations.
_KEPT_OUT: Final[tuple[ColorShape, ...]] = (
    (Color.BLUE, Shape.CIRCLE),
    (Color.YELLOW, Shape.SQUARE),
    (Color.ORANGE, Shape.TRIANGLE),
    (Color.PURPLE, Shape.STAR),
    (Color.GREEN, Shape.CROSS),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One object of a scene.

    Attributes:
        color: Color of the whole object.
        shape: Outline of the object.
        size: How large it is, or ``None`` when not said.
        position: Where it stands, or ``None`` when not said.  Items of a two-object
            scene have none, as the relation places them.
    """

    color: Color
    shape: Shape
    size: Size | None = None
    position: Position | None = None

    @property
    def pair(self) -> ColorShape:
        """The color and shape of the item."""
        return self.color, self.shape


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """What one picture shows: one item, or two items and their relation.

    Attributes:
        items: One or two items.
        background: Color behind them, or ``None`` when not said.
        relation: How the first item stands to the second; ``None`` for one item.

    Raises:
        ShapesError: If the number of items, the relation, the positions or the colors
            contradict each other.
    """

    items: tuple[Item, ...]
    background: Background | None = None
    relation: Relation | None = None

    def __post_init__(self) -> None:
        """Reject scenes that no picture can show."""
        if len(self.items) not in (1, 2):
            raise ShapesError(f"a scene has one or two items, not {len(self.items)}")
        if (len(self.items) == 2) != (self.relation is not None):
            raise ShapesError("a relation belongs to a scene of two items, and only to it")
        if self.relation is not None and any(item.position for item in self.items):
            raise ShapesError("the relation places two items; they have no position of their own")
        if self.background is not None and self.background.value in {
            item.color.value for item in self.items
        }:
            raise ShapesError(
                f"a {self.background} item cannot be seen on a {self.background} background"
            )

    @property
    def is_complete(self) -> bool:
        """Whether everything that can be said of the scene is said."""
        lone = self.relation is None
        return self.background is not None and all(
            item.size is not None and (item.position is not None or not lone) for item in self.items
        )

    @property
    def is_kept_out(self) -> bool:
        """Whether any item is a combination that training never shows."""
        return any(item.pair in _KEPT_OUT for item in self.items)


def kept_out_pairs() -> frozenset[ColorShape]:
    """Return the color and shape pairs that never occur in training.

    The list is fixed: blue circle, yellow square, orange triangle, purple star and
    green cross, in every size, position and on every background, alone or beside
    another item.
    """
    return frozenset(_KEPT_OUT)


def training_pairs() -> tuple[ColorShape, ...]:
    """Return the color and shape pairs that training shows, in a fixed order."""
    return tuple(pair for pair in product(Color, Shape) if pair not in _KEPT_OUT)


def backgrounds_for(*colors: Color) -> tuple[Background, ...]:
    """Return the backgrounds on which items of all these colors can be seen."""
    taken = {color.value for color in colors}
    return tuple(background for background in Background if background.value not in taken)
