"""From a document to a graph, with every mistake named by file and line."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from yggdrasil.core.declaration import GraphLike
from yggdrasil.core.errors import GraphFileError, YggdrasilError, nearest
from yggdrasil.core.rules import Rule
from yggdrasil.core.serialization.document import Document, parse
from yggdrasil.core.serialization.schema import GRAPH_KEYS, NODE_KEYS, RULE_KEYS, SCHEMA
from yggdrasil.core.tasks import read_task

__all__ = [
    "GraphBuilder",
    "build_graph",
    "check_keys",
    "check_schema",
    "from_yaml",
    "read_document",
]

_WORDS = {str: "a string", int: "a whole number", bool: "true or false", dict: "a mapping"}
_WORDS[list] = "a list"
_MODES = ("denoise", "corrupt")


class GraphBuilder(GraphLike, Protocol):
    """A graph as reading makes it. ``ComputeGraph`` is one; naming it here would close a circle."""

    def add_node(self, name: str, type: Any = None, **settings: Any) -> object:
        """Declares a node."""
        ...

    def add_stage(self, name: str, graph: Any, **options: Any) -> object:
        """Adds a whole graph as one node."""
        ...

    def replace_node(self, name: str, type: Any, **options: Any) -> object:
        """Puts another block in a node's place."""
        ...

    def connect(self, source: str, target: str) -> object:
        """Draws an edge by hand."""
        ...

    def expose_input(self, name: str, *targets: str) -> object:
        """Names a graph input."""
        ...

    def expose_output(self, name: str, source: str) -> object:
        """Names a graph output."""
        ...


G = TypeVar("G", bound=GraphBuilder)


def from_yaml(source: str | os.PathLike[str], make: Callable[[str], G]) -> G:
    """Reads a graph from a file or from text.

    Args:
        source: A path, or the text itself: a string of more than one line, or one in braces.
        make: Makes an empty graph of a name.

    Raises:
        GraphFileError: The file cannot be read, or what it says makes no graph.
    """
    return build_graph(read_document(source), make)


def read_document(
    source: str | os.PathLike[str], *, what: str = "graph file", begins: str = "schema: 1"
) -> Document:
    """Reads a file or text as plain data; see ``from_yaml``.

    Args:
        source: A path, or the text itself: a string of more than one line, or one in braces.
        what: What it is to be, for messages.
        begins: How such a file begins, for messages.

    Raises:
        GraphFileError: The file is not there, no text, or no YAML.
    """
    if isinstance(source, str) and ("\n" in source or source.lstrip().startswith("{")):
        return parse(source, what.removesuffix(" file"), what=what, begins=begins)
    path = Path(source)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise GraphFileError(f"There is no {what} {str(path)!r}.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise GraphFileError(f"The {what} {str(path)!r} cannot be read: {error}.") from error
    return parse(text, str(path), what=what, begins=begins)


def build_graph(document: Document, make: Callable[[str], G], *, name: str = "graph") -> G:
    """Makes the graph that a document describes.

    Args:
        document: The data.
        make: Makes an empty graph of a name.
        name: The graph's name where the document has none.

    Raises:
        GraphFileError: What the document says makes no graph.
    """
    check_schema(document)
    return _build(document, (), make, name)


def check_schema(document: Document) -> None:
    """Refuses a document of another schema version.

    Args:
        document: The data.

    Raises:
        GraphFileError: It says another version, or none.
    """
    found = document.data.get("schema")
    if type(found) is int and found == SCHEMA:
        return
    if found is None:
        raise document.error(
            f"the file does not say its schema version. Write 'schema: {SCHEMA}' as its first line."
        )
    newer = type(found) is int and found > SCHEMA
    mend = "update YggDrasil to read it" if newer else f"write 'schema: {SCHEMA}'"
    raise document.error(
        f"the file has schema version {found!r}; this YggDrasil reads version {SCHEMA}. To mend "
        f"it, {mend}.",
        "schema",
    )


def _build(
    document: Document, path: tuple[str | int, ...], make: Callable[[str], G], name: str
) -> G:
    """Makes the graph at a path of the document: the whole of it, or a stage."""
    data: Any = document.data
    for key in path:
        data = data[key]
    check_keys(document, path, data, GRAPH_KEYS, "a graph")
    graph = make(data.get("name") or name)
    for node, settings in (data.get("nodes") or {}).items():
        _add_node(document, (*path, "nodes", node), graph, settings, make)
    for place, text in enumerate(data.get("edges") or ()):
        _add_edge(document, (*path, "edges", place), graph, text)
    for key, refs in (data.get("inputs") or {}).items():
        here = (*path, "inputs", key)
        targets = [refs] if isinstance(refs, str) else refs
        _check_strings(document, here, targets)
        _told(document, here, partial(graph.expose_input, key, *targets))
    for key, ref in (data.get("outputs") or {}).items():
        here = (*path, "outputs", key)
        _check(document, here, ref, str)
        _told(document, here, partial(graph.expose_output, key, ref))
    graph.rules = tuple(
        _rule(document, (*path, "rules", place), rule)
        for place, rule in enumerate(data.get("rules") or ())
    )
    draws = data.get("draws") or []
    _check_strings(document, (*path, "draws"), draws)
    graph.draws = tuple(draws)
    graph.defaults = dict(data.get("defaults") or {})
    for key, settings in (data.get("tasks") or {}).items():
        here = (*path, "tasks", key)
        _check(document, here, settings, dict)
        _told(document, here, partial(read_task, key, settings))
    graph.tasks = dict(data.get("tasks") or {})
    return graph


def _add_node(
    document: Document,
    path: tuple[str | int, ...],
    graph: GraphBuilder,
    settings: Any,
    make: Callable[[str], Any],
) -> None:
    name = str(path[-1])
    _check(document, path, settings, dict)
    options = dict(settings)
    for key, value in options.items():
        if not isinstance(key, str):
            raise document.error(f"the key {key!r} of node {name!r} is no word.", *path)
        if key in NODE_KEYS and value is not None:
            _check(document, (*path, key), value, NODE_KEYS[key])
    kinds = [key for key in ("type", "use", "graph") if options.get(key) is not None]
    if len(kinds) != 1:
        said = " and ".join(map(repr, kinds)) or "none of them"
        raise document.error(
            f"node {name!r} wants one of 'type', 'use' and 'graph', and has {said}.", *path
        )
    if kinds == ["graph"]:
        stage = _build(document, (*path, "graph"), make, name)
        options = {key: value for key, value in options.items() if key not in ("graph", *_ABSENT)}
        _told(document, path, partial(graph.add_stage, name, stage, **options))
    else:
        options.pop("graph", None)
        _told(document, path, partial(graph.add_node, name, **options))


_ABSENT = ("type", "use")


def _add_edge(
    document: Document,
    path: tuple[str | int, ...],
    graph: GraphBuilder,
    text: Any,
) -> None:
    _check(document, path, text, str)
    source, arrow, target = (part.strip() for part in text.partition("->"))
    if not (source and arrow and target):
        raise document.error(f"{text!r} is no edge; write 'node.op.port -> node.op.port'.", *path)
    _told(document, path, partial(graph.connect, source, target))


def _rule(document: Document, path: tuple[str | int, ...], rule: Any) -> Rule:
    _check(document, path, rule, dict)
    sources = rule.get("sources")
    if isinstance(sources, str):
        rule = {**rule, "sources": [sources]}
    check_keys(document, path, rule, RULE_KEYS, "a rule")
    # A rule without sources keeps an input from being read by its name.
    for key in ("target", "sources"):
        if rule.get(key) in (None, ""):
            raise document.error(f"a rule wants {key!r}.", *path)
    _check_strings(document, (*path, "sources"), rule["sources"])
    mode = rule.get("mode")
    if mode is not None and mode not in _MODES:
        raise document.error(
            f"{mode!r} is no mode; there are {' and '.join(map(repr, _MODES))}.", *path, "mode"
        )
    if rule["target"].count(".") != 2:
        raise document.error(
            f"a rule's target is 'role.op.port' or 'role/name.op.port', not {rule['target']!r}.",
            *path,
            "target",
        )
    return Rule(**{**rule, "sources": tuple(rule["sources"])})


def _told(document: Document, path: tuple[str | int, ...], act: Callable[[], object]) -> None:
    """Carries out an edit; an error of it is told with file and line."""
    try:
        act()
    except GraphFileError:
        raise
    except YggdrasilError as error:
        raise document.error(str(error), *path) from error


def check_keys(
    document: Document,
    path: tuple[str | int, ...],
    data: Mapping[Any, Any],
    keys: Mapping[str, type],
    what: str,
) -> None:
    """Refuses keys that are not known and values of another type.

    Args:
        document: For the lines.
        path: Where the mapping stands.
        data: The mapping.
        keys: The known keys, with the type of their values.
        what: What the mapping describes, for the message.

    Raises:
        GraphFileError: A key or value is wrong.
    """
    for key, value in data.items():
        if key not in keys:
            hint = nearest(str(key), keys)
            raise document.error(f"{what} has no key {key!r}.{hint}", *path, key)
        if value is not None:
            _check(document, (*path, key), value, keys[key])


def _check(document: Document, path: tuple[str | int, ...], value: object, wanted: type) -> None:
    if type(value) is not wanted:
        key = next((part for part in reversed(path) if isinstance(part, str)), "")
        raise document.error(
            f"{key!r} is {value!r}; it must be {_WORDS.get(wanted, wanted.__name__)}.", *path
        )


def _check_strings(document: Document, path: tuple[str | int, ...], value: Any) -> None:
    _check(document, path, value, list)
    for place, each in enumerate(value):
        _check(document, (*path, place), each, str)
