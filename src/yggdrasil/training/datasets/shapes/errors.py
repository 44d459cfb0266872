"""What can be wrong with scenes, captions and pictures of the shapes world."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

from yggdrasil.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable

# Looser than the default of difflib, as these words are short and one letter is much of them.
_CLOSE_ENOUGH: Final = 0.5


class ShapesError(InputError, ValueError):
    """A value that has no meaning in the shapes world."""


class CaptionError(ShapesError):
    """A caption that the shapes world does not understand.

    Attributes:
        text: The whole caption.
        word: The word that was not understood; empty at the end of the caption.
        expected: The words that could have stood there.
        nearest: Those of them that look most like ``word``, best first.
    """

    def __init__(self, *, text: str, word: str, expected: Iterable[str]) -> None:
        """Say which word of which caption was not understood.

        Args:
            text: The whole caption.
            word: The word that was not understood, or ``""`` if the caption ended early.
            expected: The words that could have stood there.
        """
        self.text = text
        self.word = word
        self.expected = tuple(dict.fromkeys(expected))
        self.nearest = tuple(get_close_matches(word, self.expected, n=3, cutoff=_CLOSE_ENOUGH))
        what = f"word {word!r} not understood" if word else "the caption ends too early"
        hint = (
            f"did you mean {' or '.join(map(repr, self.nearest))}?"
            if self.nearest
            else f"expected one of: {', '.join(self.expected) or 'nothing more'}"
        )
        super().__init__(f"{what} in {text!r}; {hint}")
