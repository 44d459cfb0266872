"""``yggdrasil hub list`` and ``yggdrasil hub resolve``."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table

from yggdrasil.cli.output import print_json, print_table
from yggdrasil.hub.model_entries import ModelEntry
from yggdrasil.hub.registry import MODEL_REGISTRY

__all__ = ["show_models", "show_resolution"]

_GATED = {True: "yes", False: "no", None: "?"}


def show_models(*, json: bool) -> None:
    """Prints the registry of models; nothing heavy is imported for it."""
    if json:
        print_json([entry.to_dict() for entry in MODEL_REGISTRY.entries])
        return
    table = Table(box=None, header_style="bold")
    for column in ("model", "template", "task or part", "gated", "license", "what it is"):
        table.add_column(column, overflow="fold")
    for name, entry in MODEL_REGISTRY.items():
        facts = (_what(entry), _GATED[entry.gated], entry.license or "?", entry.about)
        table.add_row(*map(escape, (name, entry.template or "-", *facts)))
    print_table(table)


def show_resolution(model: str, *, online: bool, json: bool) -> None:
    """Prints what a model is and which fact says so."""
    from yggdrasil.hub.resolving import resolve
    from yggdrasil.pipelines.downloads import downloads

    found = resolve(model, online=online)
    files = None if found.library is None else downloads(found.library)
    if json:
        print_json({**found.to_dict(), "files": files})
        return
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    entry = found.entry
    rows = {
        "model": found.model,
        "family": found.family,
        "template": found.template or "none",
        "task": found.task,
        "pipeline": found.pipeline,
        "component": found.component,
        "about": entry and entry.about,
        "gated": entry and _GATED[entry.gated],
        "license": entry and entry.license,
        "why": found.why,
        "files": None if files is None else "\n".join(files),
    }
    for name, value in rows.items():
        if value is not None:
            table.add_row(name, escape(value))
    print_table(table)


def _what(entry: ModelEntry) -> str:
    if entry.component is not None:
        return entry.component
    if entry.template is None:
        return f"{entry.pipeline}, as one block"
    return entry.task or f"{entry.pipeline}: no task yet"
