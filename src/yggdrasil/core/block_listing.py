"""What blocks there are, read from their source: listing them imports none of them.

A module says all that a list needs where it registers its classes: the type's name, the ops that
methods are marked as, the first line of the docstring. Two forms are read: a class decorated with
``@register_block("role/name")``, and a table of entries with a function that makes and registers a
class for each,

    def define(entry: Entry):
        body = {"__doc__": f"... {entry.field} ..."}
        return register_block(f"role/{entry.name}")(type(..., (Base,), body))

A module that registers blocks in another way is not read, and the registry imports it.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["BlockListing", "list_blocks", "listing_of"]

_REGISTER = "register_block"


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
    """Reads the blocks of a package.

    Args:
        package: Its dotted name.

    Returns:
        The blocks, and the names of modules that register some in a way that cannot be read.
    """
    found: list[BlockListing] = []
    unread: list[str] = []
    for name, path in _modules(package):
        if _REGISTER not in path.read_text(encoding="utf-8"):
            continue
        module = _read(name, path)
        blocks = [*_decorated(module), *_tabled(module)]
        # Each use of the name beyond its import must be one that was understood.
        uses = sum(
            isinstance(node, ast.Call) and _name_of(node.func) == _REGISTER
            for node in ast.walk(module.tree)
        )
        understood = {type_name.source for type_name, _ in blocks}
        if uses > len(understood):
            unread.append(name)
        else:
            found += [listing for _, listing in blocks]
    return found, unread


def listing_of(type_name: str, cls: type) -> BlockListing:
    """Gives what a list shows of a class that is imported.

    Args:
        type_name: What it is registered as.
        cls: The class.
    """
    from yggdrasil.core.ports import read_ops  # noqa: PLC0415 - imports torch, as the class did

    summary = (inspect.getdoc(cls) or "").partition("\n")[0]
    return BlockListing(type_name=type_name, ops=tuple(read_ops(cls)), summary=summary)


# -- modules and classes ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Module:
    """A module's source, parsed.

    Attributes:
        name: Dotted.
        tree: The syntax tree.
        classes: Its own classes by name.
        imports: Where other names come from: module and name there.
    """

    name: str
    tree: ast.Module
    classes: Mapping[str, ast.ClassDef]
    imports: Mapping[str, tuple[str, str]]


@functools.cache
def _read(name: str, path: Path) -> _Module:
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    imports = {
        alias.asname or alias.name: (node.module, alias.name)
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module and not node.level
        for alias in node.names
    }
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    return _Module(name, tree, classes, imports)


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


def _find_module(name: str) -> _Module | None:
    parent, _, last = name.rpartition(".")
    for place in _places(parent) if parent else ():
        for path in (place / f"{last}.py", place / last / "__init__.py"):
            if path.is_file():
                return _read(name, path)
    return None


def _lineage(module: _Module, cls: str, family: str) -> Iterator[tuple[_Module, ast.ClassDef]]:
    """Gives a class and its base classes, nearest first, as far as they are of one family.

    Args:
        module: Where the name stands.
        cls: The class's name there.
        family: The outermost package; classes of others have no ops.
    """
    if cls in module.classes:
        node = module.classes[cls]
        yield module, node
        for base in node.bases:
            yield from _lineage(module, _name_of(base), family)
    elif cls in module.imports:
        home, name = module.imports[cls]
        if home.partition(".")[0] in (family, "yggdrasil"):
            found = _find_module(home)
            if found is not None:
                yield from _lineage(found, name, family)


# -- what a class says -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _TypeName:
    """A type's name, and the call that registers it."""

    text: str
    source: ast.Call


def _decorated(module: _Module) -> Iterator[tuple[_TypeName, BlockListing]]:
    """Reads the classes under ``@register_block("role/name")``."""
    for cls in module.classes.values():
        for decorator in cls.decorator_list:
            if isinstance(decorator, ast.Call) and _name_of(decorator.func) == _REGISTER:
                name = decorator.args[0] if decorator.args else None
                if isinstance(name, ast.Constant) and isinstance(name.value, str):
                    type_name = _TypeName(name.value, decorator)
                    yield type_name, _listing(type_name, module, cls.name, None)


def _tabled(module: _Module) -> Iterator[tuple[_TypeName, BlockListing]]:
    """Reads functions that make a class of an entry, for each entry of the module's tables."""
    for function in module.tree.body:
        if not isinstance(function, ast.FunctionDef) or not function.args.args:
            continue
        parameter = function.args.args[0]
        entry = module.classes.get(_name_of(parameter.annotation))
        registering = [
            node
            for node in ast.walk(function)
            if isinstance(node, ast.Call) and _name_of(node.func) == _REGISTER and node.args
        ]
        if entry is None or len(registering) != 1:
            continue
        base = _base_of_made(function)
        doc, name = _doc_of_made(function), registering[0].args[0]
        made = [
            (_filled(name, parameter.arg, values), _filled(doc, parameter.arg, values))
            for values in _entries(module, entry)
        ]
        if base is None or any(None in each for each in made):
            continue  # not one is taken, so that the module counts as unread
        for text, told in made:
            type_name = _TypeName(str(text), registering[0])
            yield type_name, _listing(type_name, module, base, told)


def _listing(type_name: _TypeName, module: _Module, cls: str, doc: str | None) -> BlockListing:
    lineage = list(_lineage(module, cls, module.name.partition(".")[0]))
    docs = (doc, *(ast.get_docstring(node) for _, node in lineage))
    summary = next((each for each in docs if each), "")
    ops = dict.fromkeys(op for _, node in reversed(lineage) for op in _ops(node))
    return BlockListing(
        type_name=type_name.text, ops=tuple(ops), summary=inspect.cleandoc(summary).split("\n")[0]
    )


def _ops(cls: ast.ClassDef) -> Iterator[str]:
    for node in cls.body:
        if isinstance(node, ast.FunctionDef):
            marks = (
                each.func if isinstance(each, ast.Call) else each for each in node.decorator_list
            )
            if "op" in map(_name_of, marks):
                yield node.name


# -- tables ----------------------------------------------------------------------------------------


def _entries(module: _Module, entry: ast.ClassDef) -> Iterator[dict[str, str]]:
    """Gives the strings of each entry that stands in the module, outside functions."""
    fields = [
        node.target.id
        for node in entry.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    ]
    for statement in module.tree.body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            continue
        for node in ast.walk(statement):
            if isinstance(node, ast.Call) and _name_of(node.func) == entry.name:
                given = dict(zip(fields, node.args, strict=False))
                given |= {each.arg: each.value for each in node.keywords if each.arg}
                yield {
                    name: value.value
                    for name, value in given.items()
                    if isinstance(value, ast.Constant) and isinstance(value.value, str)
                }


def _filled(node: ast.expr | None, parameter: str, values: Mapping[str, str]) -> str | None:
    """Gives a string, or a formatted one whose fields are those of an entry; None for others."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if not isinstance(node, ast.JoinedStr):
        return None
    parts: list[str] = []
    for part in node.values:
        if isinstance(part, ast.Constant):
            parts.append(str(part.value))
            continue
        field = part.value if isinstance(part, ast.FormattedValue) else None
        if not isinstance(field, ast.Attribute) or _name_of(field.value) != parameter:
            return None
        if field.attr not in values:
            return None
        parts.append(values[field.attr])
    return "".join(parts)


def _base_of_made(function: ast.FunctionDef) -> str | None:
    """Gives the base class in ``type(name, (Base,), body)``."""
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and _name_of(node.func) == "type" and len(node.args) == 3:
            bases = node.args[1]
            if isinstance(bases, ast.Tuple) and len(bases.elts) == 1:
                return _name_of(bases.elts[0])
    return None


def _doc_of_made(function: ast.FunctionDef) -> ast.expr | None:
    """Gives what stands under ``"__doc__"`` in a function."""
    for node in ast.walk(function):
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == "__doc__":
                    return value
    return None


def _name_of(node: ast.expr | None) -> str:
    """Gives the name of ``x``, ``a.x`` and ``x[...]``, or nothing."""
    if isinstance(node, ast.Subscript):
        node = node.value
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""
