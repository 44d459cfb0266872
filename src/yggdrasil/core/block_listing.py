"""What blocks there are, without importing them: importing them all takes seconds.

A module that registers blocks is run with stand-ins for what it imports, except for the standard
library. It then does all that makes its classes, from decorators to tables of entries, and nothing
that needs torch. Where a stand-in is not enough, the registry imports the module instead.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.util
import inspect
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["BlockListing", "list_blocks", "listing_of"]

_MARK = "__listed_as_op__"


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockListing:
    """What a list shows of a block type.

    Attributes:
        type_name: ``role/name``.
        ops: The names of its ops, those of base classes first.
        summary: The first line of its docstring.
    """

    type_name: str
    ops: tuple[str, ...]
    summary: str


def list_blocks(package: str) -> tuple[list[BlockListing], list[str]]:
    """Lists the blocks of a package.

    Args:
        package: Its dotted name.

    Returns:
        The blocks, and the names of modules that could not be run with stand-ins.
    """
    reader = _Reader()
    unread: list[str] = []
    found: dict[str, BlockListing] = {}
    for name, path in _modules(package):
        if "register_block" not in path.read_text(encoding="utf-8"):
            continue
        try:
            registered = reader.run(name, path).registered
            found.update({each: reader.listing(each, cls) for each, cls in registered.items()})
        except Exception:  # noqa: BLE001 - whatever a stand-in could not do; the import will tell
            unread.append(name)
    return list(found.values()), unread


def listing_of(type_name: str, cls: type) -> BlockListing:
    """Gives what a list shows of a class that is imported.

    Args:
        type_name: What it is registered as.
        cls: The class.
    """
    from yggdrasil.core.ports import read_ops  # noqa: PLC0415 - imports torch, as the class did

    return BlockListing(
        type_name=type_name, ops=tuple(read_ops(cls)), summary=_first_line(inspect.getdoc(cls))
    )


class _StandIn:
    """Something that was imported: it can be called, asked for parts, and derived from, no more.

    Attributes:
        home: The module that it comes from.
        name: Its name there; empty for the module itself and for what was made of a stand-in.
    """

    def __init__(self, home: str, name: str = "") -> None:
        self.home = home
        self.name = name

    def __call__(self, *args: object, **kwargs: object) -> _StandIn:
        return _StandIn(self.home)

    def __getattr__(self, name: str) -> _StandIn:
        if name.startswith("__"):
            raise AttributeError(name)
        return _StandIn(self.home, "" if self.name else name)

    def __getitem__(self, key: object) -> _StandIn:
        return self

    def __or__(self, other: object) -> _StandIn:
        return self

    __ror__ = __or__

    __iter__ = None  # with __getitem__ alone it would go on for ever

    def __bool__(self) -> bool:
        """Refuses, since what hangs on it would be a guess."""
        raise TypeError(f"nobody knows whether {self.home}.{self.name} is true")

    def __mro_entries__(self, bases: tuple[object, ...]) -> tuple[type, ...]:
        """Has classes that derive from it derive from nothing; they remember it all the same."""
        return ()


@dataclass(frozen=True, slots=True)
class _Run:
    """What running a module gave: its names, and the classes that it registered."""

    names: dict[str, Any]
    registered: dict[str, type]


class _Reader:
    """Runs modules with stand-ins, each once."""

    def __init__(self) -> None:
        self._runs: dict[Path, _Run] = {}

    def run(self, name: str, path: Path) -> _Run:
        """Runs a module.

        Args:
            name: Its dotted name.
            path: Its file.
        """
        if path not in self._runs:
            registered: dict[str, type] = {}
            names = {
                # Dataclasses look for the module of a class among those that are imported.
                "__name__": __name__,
                "__package__": name if path.name == "__init__.py" else name.rpartition(".")[0],
                "__file__": str(path),
                "__builtins__": {
                    **vars(builtins), "__import__": _importing(registered), "type": _Type()
                },
            }  # fmt: skip
            exec(compile(path.read_bytes(), str(path), "exec"), names)  # noqa: S102 - our own module
            self._runs[path] = _Run(names, registered)
        return self._runs[path]

    def listing(self, type_name: str, cls: type) -> BlockListing:
        """Gives what a list shows of a class that such a run made."""
        lineage = list(self._lineage(cls))
        doc = next((doc for each in lineage if (doc := vars(each).get("__doc__"))), None)
        ops = {
            name: None
            for each in reversed(lineage)
            for name, member in vars(each).items()
            if getattr(member, _MARK, False) is True
        }
        return BlockListing(type_name=type_name, ops=tuple(ops), summary=_first_line(doc))

    def _lineage(self, cls: type) -> Iterator[type]:
        """Gives a class and its base classes, nearest first, without those that have no ops."""
        yield cls
        for base in vars(cls).get("__orig_bases__", cls.__bases__):
            if isinstance(base, _StandIn):
                found = self._find(base)
                if found is not None:
                    yield from self._lineage(found)
            elif isinstance(base, type) and base is not object:
                yield from self._lineage(base)

    def _find(self, base: _StandIn) -> type | None:
        """Gives the class that a stand-in stands for, where its module may hold ops."""
        path = _file_of(base.home)
        if path is None or "op" not in path.read_text(encoding="utf-8"):
            return None
        found = self.run(base.home, path).names.get(base.name)
        return self._find(found) if isinstance(found, _StandIn) else found


class _Type:
    """``type`` as a run module sees it: it makes classes of stand-ins too."""

    def __call__(self, *args: Any) -> type:
        if len(args) == 1:
            return type(args[0])
        name, bases, body = args
        return types.new_class(name, bases, exec_body=lambda made: made.update(body))

    def __getitem__(self, key: object) -> _StandIn:
        return _StandIn("builtins")


def _importing(registered: dict[str, type]) -> Callable[..., Any]:
    """Gives the ``__import__`` of a run module, which writes down what is registered."""

    def register_block(type_name: str) -> Callable[[type], type]:
        def register(cls: type) -> type:
            registered[type_name] = cls
            return cls

        return register

    def op(method: Any = None, /, **_: object) -> Any:
        def mark(function: Any) -> Any:
            setattr(function, _MARK, True)
            return function

        return mark if method is None else mark(method)

    ours = {"register_block": register_block, "op": op}

    def import_(
        name: str,
        names: Mapping[str, Any] | None = None,
        local: Mapping[str, Any] | None = None,
        wanted: tuple[str, ...] | None = (),
        level: int = 0,
    ) -> Any:
        home = importlib.util.resolve_name("." * level + name, (names or {}).get("__package__"))
        top = home.partition(".")[0]
        if top in sys.stdlib_module_names:
            return builtins.__import__(name, names, local, wanted or (), level)
        if not wanted:
            return _StandIn(top)
        parts = {each: ours.get(each) or _StandIn(home, each) for each in wanted}
        return types.SimpleNamespace(**parts)

    return import_


# -- files -----------------------------------------------------------------------------------------


def _modules(package: str) -> Iterator[tuple[str, Path]]:
    """Gives the modules of a package and of those below, without importing any of them."""
    for root in _places(package):
        for path in sorted(root.rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            yield ".".join((package, *(part for part in parts if part != "__init__"))), path


def _places(package: str) -> list[Path]:
    """Gives the folders of a package: those of its outermost one, and the path below."""
    top, *below = package.split(".")
    spec = importlib.util.find_spec(top)
    roots = [] if spec is None else spec.submodule_search_locations or []
    return [path for root in roots if (path := Path(root, *below)).is_dir()]


def _file_of(module: str) -> Path | None:
    """Gives the file of a module inside a package."""
    parent, _, last = module.rpartition(".")
    for place in _places(parent) if parent else ():
        for path in (place / f"{last}.py", place / last / "__init__.py"):
            if path.is_file():
                return path
    return None


def _first_line(doc: str | None) -> str:
    return inspect.cleandoc(doc or "").partition("\n")[0]
