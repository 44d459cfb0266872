"""``yggdrasil blocks`` and ``yggdrasil templates``: read from source and data, without torch."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table

from yggdrasil.cli.output import print_json, print_table, table_width
from yggdrasil.core.registry import block_listings
from yggdrasil.core.template_documents import template_tasks
from yggdrasil.core.template_sources import template_names

__all__ = ["show_blocks", "show_templates"]

_NARROW = 110


def show_blocks(*, json: bool) -> None:
    """Prints all block types with their ops."""
    listings = block_listings().values()
    if json:
        print_json(
            [
                {"type": each.type_name, "ops": list(each.ops), "summary": each.summary}
                for each in listings
            ]
        )
        return
    table = Table(box=None, header_style="bold")
    table.add_column("type", no_wrap=True)
    narrow = table_width() < _NARROW
    for column in ("what it does",) if narrow else ("ops", "what it is"):
        table.add_column(column)
    for each in listings:
        ops, summary = ", ".join(each.ops), escape(each.summary)
        told = (f"{summary}\n[dim]{ops}[/]",) if narrow else (ops, summary)
        table.add_row(each.type_name, *told)
    print_table(table)


def show_templates(*, json: bool) -> None:
    """Prints all templates with their tasks."""
    rows = [
        {
            "template": name,
            "task": f"{name}_{task}",
            "diffusers": settings.get("diffusers"),
            "arguments": [*settings.get("takes", ()), *settings.get("also_takes", ())],
        }
        for name in template_names()
        for task, settings in template_tasks(name).items()
    ]
    if json:
        print_json(rows)
        return
    table = Table(box=None, header_style="bold")
    for column in ("template", "task", "call arguments"):
        table.add_column(column)
    for row in rows:
        table.add_row(str(row["template"]), str(row["task"]), ", ".join(row["arguments"]))
    print_table(table)
