"""Blocks as a list shows them: the same as the imported classes say, without importing any."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

from yggdrasil.core import registry
from yggdrasil.core.block_listing import list_blocks
from yggdrasil.core.ports import read_ops
from yggdrasil.core.registry import block_listings, block_types

PACKAGES = ("yggdrasil.blocks",)


def test_what_is_listed_is_what_the_classes_say():
    listings = block_listings()
    classes = block_types()
    assert list(listings) == list(classes)
    for name, cls in classes.items():
        assert listings[name].ops == tuple(read_ops(cls)), name
        assert listings[name].summary == inspect.getdoc(cls).partition("\n")[0], name


@pytest.mark.parametrize("package", PACKAGES)
def test_every_module_of_the_package_can_do_with_stand_ins(package):
    """Others have to be imported for a list, which takes seconds."""
    found, unread = list_blocks(package)
    assert unread == []
    assert len(found) > 20


def test_listing_imports_no_block():
    code = (
        "import sys, yggdrasil\n"
        "from yggdrasil.core.registry import block_listings\n"
        "assert 'solver/euler' in block_listings()\n"
        "print(*[m for m in sys.modules if m.startswith(('torch', 'diffusers', 'yggdrasil.bl'))])"
    )
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert shown.stdout.strip() == ""


def write(folder, name, text):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Gives the folder of a package that blocks are looked for in."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "_packages", ["listed_package.blocks"])
    monkeypatch.setattr(registry, "_classes", {})
    write(tmp_path, "listed_package/__init__.py", "")
    write(tmp_path, "listed_package/blocks/__init__.py", "")
    yield tmp_path / "listed_package/blocks"
    for name in [name for name in sys.modules if name.startswith("listed_package")]:
        del sys.modules[name]


BASE = '''
from yggdrasil.core.block import AbstractBaseBlock
from yggdrasil.core.ports import op


class Base(AbstractBaseBlock):
    """A base."""

    @op
    def first(self) -> int: ...

    @op(fact=True)
    def second(self) -> int: ...

    def no_op(self) -> int: ...
'''
CHILD = '''
from listed_package.base import Base
from yggdrasil.core.ports import op
from yggdrasil.core.registry import register_block


@register_block("role/child")
class Child(Base):
    """A child.

    More of it.
    """

    @op
    def third(self) -> int: ...

    @op
    def first(self) -> int: ...


@register_block("role/silent")
class Silent(Base): ...
'''


def test_ops_of_base_classes_come_first_and_docstrings_are_inherited(package):
    write(package.parent, "base.py", BASE)
    write(package, "role/child.py", CHILD)
    write(package, "role/__init__.py", "")
    listed = {each.type_name: each for each in list_blocks("listed_package.blocks")[0]}
    assert listed["role/child"].ops == ("first", "second", "third")
    assert listed["role/child"].summary == "A child."
    assert listed["role/silent"].summary == "A base."
    assert block_listings() == listed
    for name, cls in block_types().items():
        assert (listed[name].ops, listed[name].summary) == (
            tuple(read_ops(cls)),
            inspect.getdoc(cls).partition("\n")[0],
        )


TABLE = '''
import numpy
from typing import NamedTuple

from listed_package.base import Base
from yggdrasil.core.registry import register_block


class Entry(NamedTuple):
    name: str
    what: str = "nothing"
    base: type = Base


def define(entry: Entry):
    """No block."""
    shown = " and ".join(entry.what.split())
    body = {"__doc__": f"Makes {shown}.", "dtype": numpy.float32 | None}
    return register_block(f"role/{entry.name}")(type("Made", (entry.base,), body))


MADE = [define(each) for each in (Entry("a", "much more"), Entry("b" * 2))]
'''


def test_classes_may_be_made_of_a_table(package):
    write(package.parent, "base.py", BASE)
    write(package, "role/__init__.py", TABLE)
    found, unread = list_blocks("listed_package.blocks")
    assert unread == []
    assert [(each.type_name, each.summary, each.ops) for each in found] == [
        ("role/a", "Makes much and more.", ("first", "second")),
        ("role/bb", "Makes nothing.", ("first", "second")),
    ]


HEAVY = '''
from listed_package.names import NAMES
from yggdrasil.core.block import AbstractBaseBlock
from yggdrasil.core.ports import op
from yggdrasil.core.registry import register_block


class Counted(AbstractBaseBlock):
    """Counts."""

    @op
    def count(self) -> int: ...


%s
    register_block(f"role/{name}")(type("Counted", (Counted,), {}))
'''


@pytest.mark.parametrize(
    "line",
    [
        "for name in NAMES:",
        "for name in sorted(NAMES):",
        "if NAMES and (name := NAMES[0]):",
        "if 'one' in NAMES and (name := 'one'):",
    ],
)
def test_where_a_stand_in_is_not_enough_the_module_is_imported(package, line):
    write(package.parent, "names.py", "NAMES = ('one',)")
    write(package, "role/__init__.py", "")
    write(package, "role/heavy.py", HEAVY % line)
    assert list_blocks("listed_package.blocks") == ([], ["listed_package.blocks.role.heavy"])
    listed = block_listings()
    assert list(listed) == ["role/one"]
    assert (listed["role/one"].ops, listed["role/one"].summary) == (("count",), "Counts.")


def test_a_module_that_cannot_be_imported_says_so(package):
    write(package, "role/__init__.py", "")
    write(package, "role/broken.py", "from yggdrasil.core.registry import register_block\n1 / 0\n")
    with pytest.raises(ZeroDivisionError):
        block_listings()
