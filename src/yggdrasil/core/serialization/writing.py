"""From a graph to text: what is not the default, in one order."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import yaml

from yggdrasil.core.block import AbstractBaseBlock
from yggdrasil.core.declaration import GraphLike, Node
from yggdrasil.core.errors import GraphFileError
from yggdrasil.core.rules import Rule
from yggdrasil.core.serialization.document import add_words
from yggdrasil.core.serialization.schema import NODE_KEYS, SCHEMA

__all__ = ["dump_yaml", "to_data", "to_yaml"]

_SHORT = 84
_BREAKS = frozenset("\r\x85\u2028\u2029\ufeff")
_TAG = "tag:yaml.org,2002:"


def to_yaml(graph: GraphLike, *, models: bool = True) -> str:
    """Writes a graph as YAML; equal graphs give equal text.

    Args:
        graph: The graph; its blocks must be of registered types.
        models: Whether to write which models nodes take their components from.

    Raises:
        GraphFileError: A block is not registered, or a value is no plain data.
    """
    return dump_yaml({"schema": SCHEMA, **to_data(graph, models=models)})


def dump_yaml(data: dict[str, Any]) -> str:
    """Writes plain data as YAML, short parts on one line; ``parse`` reads the same data back."""
    return yaml.dump(
        _laid_out(data), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100
    )


def to_data(graph: GraphLike, *, models: bool = True) -> dict[str, Any]:
    """Gives a graph as plain data, as ``to_yaml`` writes it, but for the schema version.

    Args:
        graph: As for ``to_yaml``.
        models: As for ``to_yaml``.

    Raises:
        GraphFileError: A block is not registered, or a value is no plain data.
    """
    where = f"Graph {graph.name!r}"
    data: dict[str, Any] = {
        "name": graph.name,
        "nodes": {
            name: _node(graph, node, models=models) for name, node in sorted(graph.nodes.items())
        },
        "edges": sorted(map(str, graph.edges)),
        "inputs": {name: sorted(map(str, refs)) for name, refs in sorted(graph.inputs.items())},
        "outputs": {name: str(ref) for name, ref in sorted(graph.outputs.items())},
        "defaults": _plain(dict(sorted(graph.defaults.items())), f"{where}: 'defaults'"),
        "rules": [_rule(rule) for rule in graph.rules],
        "draws": list(graph.draws),
        "tasks": _plain(graph.tasks, f"{where}: 'tasks'"),
    }
    return {key: value for key, value in data.items() if value or key == "name"}


def _node(graph: GraphLike, node: Node, *, models: bool) -> dict[str, Any]:
    where = f"Node {node.name!r} of graph {graph.name!r}"
    data: dict[str, Any] = {}
    config: dict[str, Any] = {}
    if node.use is not None:
        data["use"] = node.use
    elif node.block is not None and node.block.inner_graph is not None:
        data["graph"] = to_data(node.block.inner_graph, models=models)
    elif node.block is not None:
        data["type"] = _type_name(node.block, where)
        config = _changed_config(node.block, where)
    settings = {
        "role": node.role,
        "task": node.task,
        "group": node.group,
        "order": node.order or None,
        "auto_connect": None if node.auto_connect else False,
        "pretrained": node.pretrained,
        "components": _plain(node.components, f"{where}: 'components'") or None,
        "inputs": _plain(node.inputs, f"{where}: 'inputs'") or None,
        "dtype": node.dtype,
    }
    if not models:
        del settings["pretrained"], settings["components"]
    return {**data, **{k: v for k, v in settings.items() if v is not None}, **config}


def _type_name(block: AbstractBaseBlock, where: str) -> str:
    # A subclass that is not registered itself inherits the name of its base.
    if not vars(type(block)).get("type_name"):
        raise GraphFileError(
            f"{where} holds a {type(block).__qualname__}, which a graph file cannot name: register "
            "it with @register_block('role/name')."
        )
    return block.type_name


def _changed_config(block: AbstractBaseBlock, where: str) -> dict[str, Any]:
    """Gives the constructor's arguments that are not its defaults."""
    parameters = inspect.signature(type(block)).parameters
    changed: dict[str, Any] = {}
    for name, value in block.config.items():
        default = parameters[name].default if name in parameters else inspect.Parameter.empty
        if value is default:
            continue
        if name in NODE_KEYS:
            raise GraphFileError(
                f"{where}: the argument {name!r} of {block.type_name!r} has a name that graph "
                "files keep for nodes; give the argument another name."
            )
        plain = _plain(value, f"{where}: {name!r}")
        if default is not inspect.Parameter.empty and _alike(plain, default):
            continue
        changed[name] = plain
    return changed


def _alike(plain: Any, default: Any) -> bool:
    """Says whether a value is the default; 1, 1.0 and True are different."""
    try:
        return repr(plain) == repr(_plain(default, ""))
    except GraphFileError:
        return False


def _rule(rule: Rule) -> dict[str, Any]:
    data = {
        "target": rule.target,
        "sources": list(rule.sources),
        "mode": rule.mode,
        "carried": rule.carried,
        "until": rule.until,
        "required": rule.required or None,
    }
    return {key: value for key, value in data.items() if value is not None}


def _plain(value: Any, where: str) -> Any:
    """Gives a value as the types that YAML has.

    Raises:
        GraphFileError: It is something else.
    """
    if value is None or isinstance(value, bool):
        return value
    for kind in (int, float, str):
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, Mapping) and all(isinstance(key, str | int) for key in value):
        return {key: _plain(each, where) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each, where) for each in value]
    raise GraphFileError(
        f"{where} holds a {type(value).__module__}.{type(value).__qualname__}, which is no plain "
        "data: a graph file takes numbers, strings, lists and mappings."
    )


class _Flow(dict[Any, Any]):
    """A mapping that is written on one line."""


class _FlowList(list[Any]):
    """A list that is written on one line."""


class _Dumper(yaml.SafeDumper):
    """PyYAML's safe dumper, without anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        """Writes equal parts out each time."""
        del data
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: FBT001, FBT002 - PyYAML calls it so
        """Indents lists in mappings."""
        del indentless
        super().increase_indent(flow, False)  # noqa: FBT003 - as above


def _string(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    # PyYAML writes these as they are where it does not quote them doubly, and reading takes them
    # for line breaks or for a mark of byte order; it escapes them in double quotes.
    style = '"' if _BREAKS.intersection(text) else None
    return dumper.represent_scalar(f"{_TAG}str", text, style=style)


add_words(_Dumper)  # so that a string which reading would take for a number is quoted
_Dumper.add_representer(str, _string)
_Dumper.add_representer(
    _Flow,
    lambda dumper, data: dumper.represent_mapping(f"{_TAG}map", data, flow_style=True),
)
_Dumper.add_representer(
    _FlowList,
    lambda dumper, data: dumper.represent_sequence(f"{_TAG}seq", data, flow_style=True),
)


def _laid_out(value: Any, depth: int = 0) -> Any:
    """Marks the parts that are short enough to be written on one line."""
    short = depth > 1 and len(repr(value)) <= _SHORT
    if isinstance(value, dict):
        if short:
            return _Flow(value)
        return {key: _laid_out(each, depth + 1) for key, each in value.items()}
    if isinstance(value, list):
        if depth > 1 and (short or not any(isinstance(each, dict | list) for each in value)):
            return _FlowList(value)
        return [_laid_out(each, depth + 1) for each in value]
    return value
