"""A CLIP tokenizer for a small vocabulary."""

from __future__ import annotations

from collections.abc import Iterable

from transformers import CLIPTokenizer

__all__ = ["word_tokenizer"]


def word_tokenizer(words: Iterable[str], *, max_length: int = 77) -> CLIPTokenizer:
    """Builds a CLIP tokenizer that gives each of some words one token, and spells out the rest.

    Args:
        words: Lowercase words.
        max_length: Tokens of a prompt, the two at its ends included.

    Source:
        The layout of OpenAI's vocabulary (``openai/CLIP@dcba3cb:clip/simple_tokenizer.py``): byte
        letters, the same at a word's end, merges, and the two special tokens last.
    """
    letters = _byte_letters()
    ends = [f"{letter}</w>" for letter in letters]
    merges: dict[tuple[str, str], None] = {}
    for word in sorted(set(words)):
        pieces = [*word[:-1], f"{word[-1]}</w>"]
        while len(pieces) > 1:
            merges[pieces[0], pieces[1]] = None
            pieces = [pieces[0] + pieces[1], *pieces[2:]]
    merged = dict.fromkeys(first + second for first, second in merges)
    tokens = [*letters, *ends, *merged, "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    return CLIPTokenizer(vocab=vocabulary, merges=list(merges), model_max_length=max_length)


def _byte_letters() -> list[str]:
    """Gives the printable stand-ins of the 256 bytes, in the order of GPT-2's vocabulary."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = 256 - len(printable)
    return [chr(byte) for byte in printable] + [chr(256 + number) for number in range(others)]
