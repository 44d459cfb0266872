"""``yggdrasil blocks TYPE``: one block, with its arguments, components and ports."""

from __future__ import annotations

import inspect
from typing import Any

from rich.console import Console
from rich.markup import escape

from yggdrasil.cli.output import print_json
from yggdrasil.core.block import AbstractBaseBlock
from yggdrasil.core.ports import OpSpec, Port, read_ops
from yggdrasil.core.registry import block_class

__all__ = ["describe", "show_block"]


def show_block(name: str, *, json: bool) -> None:
    """Prints a block.

    Raises:
        RegistryError: Nobody registered the type.
    """
    block = describe(name, block_class(name))
    if json:
        print_json(block)
        return
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"[bold]{name}[/]  {escape(block['summary'])}")
    if block["arguments"]:
        console.print(f"  arguments: {escape(', '.join(block['arguments']))}")
    for slot, cls in block["components"].items():
        console.print(f"  component {slot}: {cls}")
    for spec in block["ops"]:
        console.print(f"  [bold]{spec['op']}[/]  {escape(spec['summary'])}")
        for port in spec["inputs"]:
            note = "required" if port["required"] else f"default {port['default']}"
            console.print(f"    in   {escape(_line(port))}  [dim]{escape(note)}[/]")
        for port in spec["outputs"]:
            console.print(f"    out  {escape(_line(port))}")


def describe(name: str, cls: type[AbstractBaseBlock]) -> dict[str, Any]:
    """Gives a block as plain data; defaults are as Python writes them.

    Args:
        name: Its type.
        cls: Its class.
    """
    parameters: list[inspect.Parameter] = []
    if cls.__init__ is not object.__init__ and "__init__" in vars(cls):
        parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
    return {
        "type": name,
        "summary": (inspect.getdoc(cls) or "").partition("\n")[0],
        "arguments": list(map(str, parameters)),
        "components": {slot: each.cls.__name__ for slot, each in cls.slots().items()},
        "ops": [_plain_op(spec) for spec in read_ops(cls).values()],
    }


def _plain_op(spec: OpSpec) -> dict[str, Any]:
    return {
        "op": spec.name,
        "summary": spec.doc,
        "inputs": [
            {**_plain(port), "required": port.required, "default": repr(port.default)}
            for port in spec.inputs.values()
        ],
        "outputs": [_plain(port) for port in spec.outputs.values()],
    }


def _plain(port: Port) -> dict[str, Any]:
    return {"port": port.name, "kinds": list(map(str, port.kinds))}


def _line(port: dict[str, Any]) -> str:
    return f"{port['port']}: {' or '.join(port['kinds'])}"
