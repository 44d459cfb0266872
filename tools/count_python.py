"""Writes the tables of docs/architecture.md that say how much Python each family costs.

python -m tools.count_python

A family's own Python is that of the modules which its templates alone need: those of its blocks,
and those of the package of blocks that these import. What two families need is shared, and stands
in a table of its own.
"""

from __future__ import annotations

import ast
import io
import subprocess
import sys
import tokenize
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml

from yggdrasil.hub.registry import MODEL_REGISTRY

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architecture.md"
SOURCE = ROOT / "src"
_TEMPLATES = SOURCE / "yggdrasil" / "templates"
_BLOCKS = "yggdrasil.blocks."
_BEGIN, _END = "<!-- table: python -m tools.count_python -->", "<!-- end of table -->"
_NO_CODE = {
    tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT,
    tokenize.ENCODING, tokenize.ENDMARKER,
}  # fmt: skip


def page(text: str) -> str:
    """Gives the page with its table as it must be.

    Args:
        text: The page as it is.
    """
    before, _, rest = text.partition(_BEGIN)
    after = rest.partition(_END)[2]
    return f"{before}{_BEGIN}\n\n{_own_table()}\n\n{_shared_table()}\n\n{_END}{after}"


def code_lines(text: str) -> int:
    """Counts the lines of Python that are neither blank, nor comments, nor docstrings.

    Args:
        text: Formatted, so that a line says as much in all of them.
    """
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in _NO_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(
            node
        ):
            words = node.body[0]
            lines.difference_update(range(words.lineno, (words.end_lineno or words.lineno) + 1))
    return len(lines)


def own_modules() -> dict[str, list[str]]:
    """Gives the modules that each family alone needs, by the family's name."""
    users = _users()
    return {
        family: sorted(module for module, used_by in users.items() if used_by == (family,))
        for family in _families()
    }


def shared_modules() -> dict[tuple[str, ...], list[str]]:
    """Gives the modules that several families need, by the names of these."""
    shared: dict[tuple[str, ...], list[str]] = {}
    for module, families in sorted(_users().items()):
        if len(families) > 1:
            shared.setdefault(families, []).append(module)
    return shared


def _users() -> dict[str, tuple[str, ...]]:
    """Gives the families that need each module."""
    users: dict[str, tuple[str, ...]] = {}
    for family, names in _families().items():
        for module in _needed(names):
            users[module] = (*users.get(module, ()), family)
    return users


def _shared_table() -> str:
    rows = ["| needed by | modules | lines of Python |", "|---|---|---|"]
    known = len(_families())
    for families, modules in sorted(shared_modules().items(), key=lambda each: len(each[0])):
        lines = {each: code_lines(_formatted(_path(each))) for each in modules}
        told = ", ".join(f"`{_short(each)}` {count}" for each, count in lines.items())
        who = f"all {known}" if len(families) == known else ", ".join(families)
        rows.append(f"| {who} | {told} | {sum(lines.values())} |")
    return "\n".join(rows)


def _own_table() -> str:
    rows = ["| family | templates | modules of its own | lines of Python |", "|---|---|---|---|"]
    families = _families()
    for family, modules in own_modules().items():
        lines = {each: code_lines(_formatted(_path(each))) for each in modules}
        told = [f"`{_short(each)}` {count}" for each, count in lines.items()]
        templates = ", ".join(f"`{each}`" for each in families[family])
        total = sum(lines.values())
        rows.append(f"| {family} | {templates} | {', '.join(told) or 'none'} | {total} |")
    return "\n".join(rows)


def _families() -> dict[str, list[str]]:
    """Gives the templates of each family; one that the registry does not name is its own."""
    known = {e.template: e.family for e in MODEL_REGISTRY.entries if e.template is not None}
    families: dict[str, list[str]] = {}
    for path in sorted(_TEMPLATES.glob("*.yaml")):
        families.setdefault(known.get(path.stem, path.stem), []).append(path.stem)
    return families


def _needed(templates: list[str]) -> set[str]:
    """Gives the modules of blocks that templates need, with those that these import."""
    waiting = [module for name in templates for module in _of_template(name)]
    found: set[str] = set()
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting += _imported(module)
    return found


def _of_template(name: str) -> Iterator[str]:
    document: Mapping[str, Mapping[str, Mapping[str, str]]] = yaml.safe_load(
        (_TEMPLATES / f"{name}.yaml").read_text(encoding="utf-8")
    )
    for node in document["nodes"].values():
        module = f"{_BLOCKS}{node.get('type', '').replace('/', '.')}"
        if _path(module).is_file():  # a solver of the catalog has no module of its own
            yield module


def _imported(module: str) -> list[str]:
    tree = ast.parse(_path(module).read_text(encoding="utf-8"))
    names = (node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom))
    return [name for name in names if name is not None and name.startswith(_BLOCKS)]


def _short(module: str) -> str:
    return module.removeprefix(_BLOCKS).replace(".", "/")


def _path(module: str) -> Path:
    return SOURCE.joinpath(*module.split(".")).with_suffix(".py")


def _formatted(path: Path) -> str:
    return subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--stdin-filename", str(path), "-"],
        input=path.read_text(encoding="utf-8"), capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
