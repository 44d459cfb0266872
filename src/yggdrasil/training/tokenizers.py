"""A CLIP tokenizer for a small vocabulary."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping

from transformers import CLIPTokenizer

from yggdrasil.core.errors import ConfigError

__all__ = ["word_tokenizer"]


def word_tokenizer(words: Iterable[str], *, max_length: int = 77) -> CLIPTokenizer:
    """Builds a CLIP tokenizer that gives each of some words one token, and spells out the rest.

    Args:
        words: Lowercase words of letters alone.
        max_length: Tokens of a prompt, the two at its ends included.

    Raises:
        ConfigError: A word is none that CLIP's tokenizer would keep in one piece.

    Source:
        The layout of OpenAI's vocabulary (``openai/CLIP@dcba3cb:clip/simple_tokenizer.py``): byte
        letters, the same at a word's end, merges, and the two special tokens last.
    """
    letters = _byte_letters()
    merges: dict[tuple[str, str], None] = {}
    for word in sorted(set(words)):
        if not word.isalpha() or word != word.lower():
            raise ConfigError(f"{word!r} is no word of lowercase letters, so it is no token.")
        spelled = [letters[byte] for byte in word.encode()]
        spelled[-1] += "</w>"
        # A later merge is of lower rank, so what words before were merged to stays.
        while len(pieces := _merged(spelled, merges)) > 1:
            merges[pieces[0], pieces[1]] = None
    merged = dict.fromkeys(first + second for first, second in merges)
    ends = [f"{letter}</w>" for letter in letters.values()]
    tokens = [*letters.values(), *ends, *merged, "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    return CLIPTokenizer(vocab=vocabulary, merges=list(merges), model_max_length=max_length)


def _merged(pieces: list[str], merges: Mapping[tuple[str, str], None]) -> list[str]:
    """Merges neighbours as a tokenizer does: the pair of the highest rank first, everywhere."""
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    while True:
        pairs = [pair for pair in itertools.pairwise(pieces) if pair in ranks]
        if not pairs:
            return pieces
        pieces = _join_pair(pieces, min(pairs, key=ranks.__getitem__))


def _join_pair(pieces: list[str], pair: tuple[str, str]) -> list[str]:
    joined: list[str] = []
    for piece in pieces:
        if joined and (joined[-1], piece) == pair:
            joined[-1] += piece
        else:
            joined.append(piece)
    return joined


def _byte_letters() -> dict[int, str]:
    """Gives the printable stand-ins of the 256 bytes, in the order of GPT-2's vocabulary."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    stand_ins = {byte: chr(256 + number) for number, byte in enumerate(others)}
    return {**{byte: chr(byte) for byte in printable}, **stand_ins}
