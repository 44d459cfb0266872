"""``yggdrasil blocks`` and ``yggdrasil templates``."""

from __future__ import annotations

import inspect

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from yggdrasil.core.ports import read_ops
from yggdrasil.core.registry import block_class, block_types
from yggdrasil.core.templates import load_template, template_names

__all__ = ["show_blocks", "show_templates"]


def show_blocks(name: str | None) -> None:
    """Prints all block types, or the arguments, components and ports of one."""
    console = Console()
    if name is not None:
        _show_block(console, name)
        return
    table = Table(box=None, header_style="bold")
    table.add_column("type", no_wrap=True)
    table.add_column("ops")
    table.add_column("what it is")
    for type_name, cls in block_types().items():
        table.add_row(type_name, ", ".join(read_ops(cls)), escape(_first_line(cls)))
    console.print(table)


def show_templates() -> None:
    """Prints all templates with their tasks."""
    console = Console()
    table = Table(box=None, header_style="bold")
    for column in ("template", "task", "call arguments"):
        table.add_column(column)
    for name in template_names():
        graph = load_template(name)
        for task, settings in graph.tasks.items():
            takes = [*settings.get("takes", ()), *settings.get("also_takes", ())]
            table.add_row(name, f"{name}_{task}", ", ".join(takes))
    console.print(table)


def _show_block(console: Console, name: str) -> None:
    cls = block_class(name)
    console.print(f"[bold]{name}[/]  {escape(_first_line(cls))}")
    if cls.__init__ is not object.__init__ and "__init__" in vars(cls):
        parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
        if parameters:
            shown = escape(", ".join(map(str, parameters)))
            console.print(f"  arguments: {shown}", highlight=False)
    for slot, component in cls.slots().items():
        console.print(f"  component {slot}: {component.cls.__name__}", highlight=False)
    for spec in read_ops(cls).values():
        console.print(f"  [bold]{spec.name}[/]  {escape(spec.doc)}", highlight=False)
        for port in spec.inputs.values():
            note = "required" if port.required else f"default {port.default!r}"
            console.print(f"    in   {escape(str(port))}  [dim]{escape(note)}[/]", highlight=False)
        for port in spec.outputs.values():
            console.print(f"    out  {escape(str(port))}", highlight=False)


def _first_line(cls: type) -> str:
    return (inspect.getdoc(cls) or "").partition("\n")[0]
