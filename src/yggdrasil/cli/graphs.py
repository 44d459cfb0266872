"""``yggdrasil graph``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from yggdrasil.cli.output import print_json
from yggdrasil.core.errors import InputError, nearest
from yggdrasil.core.explaining import explanations
from yggdrasil.core.graph import ComputeGraph
from yggdrasil.core.templates import resolve_template

__all__ = ["draw", "explain"]


def draw(source: str, form: str, output: Path | None) -> None:
    """Draws a template's or a file's graph."""
    if form not in ("mermaid", "svg"):
        raise InputError(f"--format is {form!r}.{nearest(form, ('mermaid', 'svg'))}")
    text = _open(source).draw("svg" if form == "svg" else "mermaid")
    if output is None:
        Console().print(text, markup=False, highlight=False, soft_wrap=True)
    else:
        output.write_text(text, encoding="utf-8")


def explain(source: str, port: str, *, json: bool) -> None:
    """Prints where an input comes from."""
    found = explanations(_open(source), port)
    if json:
        print_json([asdict(each) for each in found])
    else:
        text = "\n\n".join(map(str, found))
        Console().print(text, markup=False, highlight=False, soft_wrap=True)


def _open(source: str) -> ComputeGraph:
    if source.endswith((".yaml", ".yml")):
        return ComputeGraph.from_yaml(Path(source))
    graph, _ = resolve_template(source)
    return graph
