"""The table of what each family costs is that of the code."""

from __future__ import annotations

from tools import count_python


def test_the_table_of_the_architecture_is_up_to_date():
    text = count_python.PAGE.read_text(encoding="utf-8")
    assert count_python.page(text) == text, "run python -m tools.count_python"


def test_lines_of_code_are_neither_blank_nor_words():
    text = '''"""A module."""

import os  # here


# A comment.
def name(
    value,
):
    """Says what."""
    text = """two
lines"""
    return os.fspath(value + text)
'''
    assert count_python.code_lines(text) == 7


def test_what_two_families_need_is_nobodys_own():
    own = count_python.own_modules()
    assert "yggdrasil.blocks.outer_module.redux" in own["FLUX.1"]
    shared = "yggdrasil.blocks.codec.autoencoder_kl"
    assert all(shared not in modules for modules in own.values())
