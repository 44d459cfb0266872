"""``yggdrasil hub``: the models that are known, one of them, and whether they all build."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import typer
from rich.markup import escape
from rich.table import Table

from yggdrasil.cli.output import note, print_json, print_line, print_table
from yggdrasil.hub.model_entries import ModelEntry
from yggdrasil.hub.registry import MODEL_REGISTRY

if TYPE_CHECKING:
    from yggdrasil.pipelines.skeletons import Checked

__all__ = ["check", "show_models", "show_resolution"]

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
    rows: dict[str, Any] = {
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


def check(*, json: bool) -> None:
    """Builds and plans every registered model at full size without weights; prints a line each.

    Raises:
        typer.Exit: One does not build: exit code 1.
    """
    from yggdrasil.hub.config_sets import config_sets
    from yggdrasil.pipelines.skeletons import check_set

    begun, checked, lacking = time.perf_counter(), [], _not_registered()
    for name in config_sets():
        found = check_set(name)
        checked.append(found)
        if not json:
            print_line(_line(found))
    faults = [each.name for each in checked if each.fault is not None]
    if json:
        print_json({"checked": [e.to_dict() for e in checked], "not_registered": lacking})
    else:
        for model, why in lacking.items():
            print_line(f"[yellow]none [/] {escape(model)}: not registered, {escape(why)}")
        note(
            f"{len(checked)} sets of configurations in {time.perf_counter() - begun:.0f} s, "
            f"{len(faults)} with a fault, {len(lacking)} models without."
        )
    if faults:
        raise typer.Exit(1)


def _not_registered() -> dict[str, str]:
    """Gives why models have no registered configurations, where they should."""
    entries = MODEL_REGISTRY.entries
    return {", ".join(each.ids): each.no_configs for each in entries if each.no_configs}


def _line(found: Checked) -> str:
    size = f"{found.parameters / 1e9:5.2f} B"
    if found.fault is not None:
        return f"[red]fault[/] {escape(found.name)}: {escape(found.fault)}"
    told = f"[green]ok   [/] {escape(found.name):22} {size} {found.seconds:4.1f} s"
    if found.pipeline is None:
        return f"{told}  a part"
    if found.template is None:
        return f"{told}  no template yet for {found.pipeline}"
    tasks = ", ".join(f"{task} {steps}" for task, steps in found.planned.items())
    others = f"; not for {', '.join(found.refused)}" if found.refused else ""
    return f"{told}  {found.template}: {tasks}{others}"


def _what(entry: ModelEntry) -> str:
    if entry.component is not None:
        return entry.component
    if entry.template is None:
        return f"{entry.pipeline}, as one block"
    return entry.task or f"{entry.pipeline}: no task yet"
