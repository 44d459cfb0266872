"""The reader of transcripts: what it takes for the same, and that it sees what is not."""

from __future__ import annotations

import pytest

from tests.docs.transcript import difference, read_transcript

PAGE = """# Title

```console
$ yggdrasil generate "a cat" --seed 3
pictures/0003-a-cat.png  1.3 s, seed 3

$ yggdrasil templates
```

```python
$ no command
```

```console
$ other
...
```
"""


def test_commands_are_read_with_what_they_print():
    first, second, third = read_transcript(PAGE)
    assert first.words == ["yggdrasil", "generate", "a cat", "--seed", "3"]
    assert first.expected == ["pictures/0003-a-cat.png  1.3 s, seed 3", ""]
    assert (second.words, second.expected) == (["yggdrasil", "templates"], [])
    assert (third.words, third.expected) == (["other"], ["..."])
    assert [each.line for each in (first, second, third)] == [4, 7, 15]


def test_a_block_without_a_command_is_refused():
    with pytest.raises(ValueError, match="line 2: a block begins with a command"):
        read_transcript("```console\noutput\n```\n")


@pytest.mark.parametrize(
    ("expected", "printed"),
    [
        ("", ""),
        ("a b", "  a   b  \n\n"),
        ("a\nb", "a\n\nb"),
        ("...", "a\nb"),
        ("...", ""),
        ("a\n...\nd", "a\nb\nc\nd"),
        ("...\nd", "d"),
        ("a\n...", "a\nb"),
        ("done in 1.3 s", "done in 450 ms"),
        ("12 KiB of 2.0 GiB, 5.0 %", "1.1 MiB of 512 B, 17.3 %"),
        ("torch 2.13.0", "torch 2.6"),
        ("a ... c", "a b b c"),
        ("cost (x) [y]", "cost (x) [y]"),
    ],
)
def test_what_is_the_same(expected, printed):
    assert difference(expected.splitlines(), printed) is None


@pytest.mark.parametrize(
    ("expected", "printed", "told"),
    [
        ("a", "b", "expected 'a', and there is 'b'"),
        ("a\nb", "a", "expected 'b', and there is 'nothing more'"),
        ("a", "a\nb", "'b' is not expected"),
        ("", "a", "'a' is not expected"),
        ("a\nc", "a\nb\nc", "expected 'c', and there is 'b'"),
        ("a\n...\nd\ne", "a\nd\nb\ne", "expected 'e', and there is 'b'"),
        ("seed 3", "seed 4", "expected 'seed 3', and there is 'seed 4'"),
        ("done in 1.3 s", "done in 1.3 KiB", "expected"),
        ("a ... c", "a b d", "expected"),
        ("a.c", "abc", "expected"),
    ],
)
def test_what_is_not(expected, printed, told):
    assert told in difference(expected.splitlines(), printed)
