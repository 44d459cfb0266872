"""Reading canonical captions back into scenes."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeVar

from yggdrasil.training.datasets.shapes.errors import CaptionError
from yggdrasil.training.datasets.shapes.scene import (
    Background,
    Color,
    Item,
    Position,
    Relation,
    Scene,
    Shape,
    Size,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

E = TypeVar("E", bound=StrEnum)

_ARTICLES: Final = ("a", "an")
_WORD: Final = re.compile(r"[^\s,.]+")


def parse_caption(text: str) -> Scene:
    """Return the scene that a canonical caption describes.

    Size, position and background may be left out; case and commas do not matter.

    Args:
        text: For example ``"a small red circle at the left on a yellow background"``.

    Returns:
        The scene, so that ``parse_caption(caption(scene)) == scene``.

    Raises:
        CaptionError: If a word is not understood, with the nearest known words.
        ShapesError: If the words are understood but no picture can show them.
    """
    words = _Words(text)
    items = [_item(words)]
    position: Position | None = None
    relation: Relation | None = None
    starts = ("at", "in", "on", *(value.split()[0] for value in Relation))
    if words.next not in ("", "on"):
        if words.next in ("at", "in"):
            position = _position(words)
        else:
            relation = _relation(words, starts)
            items.append(_item(words))
    background = _background(words) if words.next else None
    if words.next:
        raise words.error(())
    first = items[0]
    items[0] = Item(color=first.color, shape=first.shape, size=first.size, position=position)
    return Scene(items=tuple(items), background=background, relation=relation)


class _Words:
    """The words of a caption, taken one after the other."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._words = _WORD.findall(text.lower())
        self._at = 0

    @property
    def next(self) -> str:
        return self._words[self._at] if self._at < len(self._words) else ""

    def take(self, *expected: str) -> str:
        word = self.next
        if word not in expected:
            raise self.error(expected)
        self._at += 1
        return word

    def take_member(self, kind: type[E], *also: str) -> E:
        if self.next not in {member.value for member in kind}:
            raise self.error((*(member.value for member in kind), *also))
        return kind(self.take(self.next))

    def error(self, expected: Iterable[str]) -> CaptionError:
        return CaptionError(text=self._text, word=self.next, expected=expected)


def _item(words: _Words) -> Item:
    words.take(*_ARTICLES)
    size = Size(words.take(words.next)) if words.next in {size.value for size in Size} else None
    color = words.take_member(Color, *(() if size else tuple(size.value for size in Size)))
    return Item(color=color, shape=words.take_member(Shape), size=size)


def _position(words: _Words) -> Position:
    preposition = words.take("at", "in")
    words.take("the")
    if preposition == "in":
        words.take(Position.CENTER.value)
        return Position.CENTER
    return words.take_member(Position)


def _relation(words: _Words, starts: tuple[str, ...]) -> Relation:
    by_first_word = {value.split()[0]: value for value in Relation}
    relation = by_first_word[words.take(*starts)]
    if relation.endswith(" of"):
        words.take("of")
    return relation


def _background(words: _Words) -> Background:
    words.take("on")
    words.take(*_ARTICLES)
    background = words.take_member(Background)
    words.take("background")
    return background
