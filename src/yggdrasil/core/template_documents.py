"""Templates as documents: laid over those that they extend, and nothing built of them yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from yggdrasil.core.errors import RegistryError, nearest
from yggdrasil.core.serialization.document import Document, parse
from yggdrasil.core.serialization.reading import check_keys, check_schema
from yggdrasil.core.serialization.schema import GRAPH_KEYS, TEMPLATE_KEYS
from yggdrasil.core.template_sources import find_template, template_names

__all__ = [
    "lay_over",
    "read_template",
    "resolve_name",
    "template_bases",
    "template_extensions",
    "template_tasks",
]

_MAKERS = ("type", "use", "graph")
_SETTINGS = ("role", "group", "order", "auto_connect", "pretrained", "inputs", "dtype")


def resolve_name(name: str) -> tuple[str, str | None]:
    """Splits the name of a template or of a task into the template's and the task's.

    Args:
        name: ``sd15``, or ``sd15_img2img``.

    Returns:
        The template's name, and the task's if the name says one.

    Raises:
        RegistryError: Neither a template nor a task of one is called so.
    """
    known = template_names()
    if name in known:
        return name, None
    for template in sorted(known, key=len, reverse=True):
        task = name.removeprefix(f"{template}_")
        if task != name and task in template_tasks(template):
            return template, task
    names = {
        *known,
        *(f"{template}_{task}" for template in known for task in template_tasks(template)),
    }
    raise RegistryError(f"There is no template {name!r}.{nearest(name, names)}")


def template_tasks(template: str) -> Mapping[str, Any]:
    """Gives the tasks of a template by name, as its file has them.

    Args:
        template: Its name.

    Raises:
        RegistryError: There is no such template.
        GraphFileError: Its file is no graph file.
    """
    tasks = read_template(template).data.get("tasks")
    return tasks if isinstance(tasks, dict) else {}


def read_template(name: str, below: tuple[str, ...] = ()) -> Document:
    """Reads a template, laid over those that it extends.

    Args:
        name: Its name.
        below: The templates that extend it.

    Raises:
        RegistryError: There is no such template.
        GraphFileError: Its file is no graph file, or it extends itself.
    """
    text, source = find_template(name)
    document = parse(text, source)
    check_schema(document)
    check_keys(document, (), document.data, {**GRAPH_KEYS, **TEMPLATE_KEYS}, "a template")
    base = document.data.get("extends")
    if base is None:
        return document
    if base in (name, *below):
        chain = " -> ".join((*below, name, base))
        raise document.error(f"templates cannot extend each other in a circle: {chain}.", "extends")
    try:
        under = read_template(base, (*below, name))
    except RegistryError as error:
        raise document.error(str(error), "extends") from error
    return lay_over(under, document, name=document.data.get("name") or name)


def template_bases(name: str) -> tuple[str, ...]:
    """Gives the templates that a template extends, the nearest first.

    Args:
        name: Its name.

    Raises:
        RegistryError: There is no such template.
        GraphFileError: Its file is no graph file, or it extends itself.
    """
    read_template(name)  # refuses circles
    found: list[str] = []
    while (base := parse(*find_template(name)).data.get("extends")) is not None:
        found.append(base)
        name = base
    return tuple(found)


def template_extensions(name: str) -> tuple[str, ...]:
    """Gives the templates that extend a template, the nearest first.

    Args:
        name: Its name; of what is no template there are none.
    """
    bases = {each: template_bases(each) for each in template_names()}
    found = [each for each, under in bases.items() if name in under]
    return tuple(sorted(found, key=lambda each: (bases[each].index(name), each)))


def lay_over(base: Document, over: Document, *, name: str | None = None) -> Document:
    """Lays one document over another: nodes are merged, what is named alike is replaced.

    Args:
        base: What lies below.
        over: What goes before it; ``remove`` names nodes to take away first.
        name: The name of the result; that of ``base`` unless given.

    Raises:
        GraphFileError: There is no node of a name to be removed.
    """
    data: dict[str, Any] = {**base.data}
    nodes: dict[str, Any] = {**_section(base, "nodes")}
    away = over.data.get("remove") or []
    for place, node in enumerate(away):
        if node not in nodes:
            raise over.error(
                f"there is no node {node!r} to remove.{nearest(str(node), nodes)}", "remove", place
            )
    nodes = {node: settings for node, settings in nodes.items() if node not in away}
    for node, settings in _section(over, "nodes").items():
        nodes[node] = _merge_node(nodes.get(node), settings)
    data["nodes"] = nodes
    data["inputs"] = _kept_inputs(_section(base, "inputs"), away)
    data["outputs"] = {
        key: ref for key, ref in _section(base, "outputs").items() if _node_of(ref) not in away
    }
    for key in ("inputs", "outputs", "defaults", "tasks"):
        data[key] = {**(data.get(key) or {}), **_section(over, key)}
    places = {**base.places, **over.places}
    edges = [
        place
        for place, edge in enumerate(base.data.get("edges") or ())
        if not {_node_of(end) for end in str(edge).split("->")} & set(away)
    ]
    all_of_it = range(len(over.data.get("edges") or ()))
    data["edges"] = _join("edges", places, ((base, edges), (over, all_of_it)))
    # What is laid over is the more special, so its rules come first.
    rules = ((each, range(len(each.data.get("rules") or ()))) for each in (over, base))
    data["rules"] = _join("rules", places, tuple(rules))
    if over.data.get("draws"):
        data["draws"] = over.data["draws"]
    if name is not None:
        data["name"] = name
    data.pop("extends", None)
    return Document(data, places, over.source)


def _section(document: Document, key: str) -> Mapping[str, Any]:
    return document.data.get(key) or {}


def _merge_node(base: Any, over: Any) -> Any:
    """Lays a node's settings over another's; of another type only the settings are kept."""
    if not isinstance(base, Mapping) or not isinstance(over, Mapping):
        return over
    maker = {key: over[key] for key in _MAKERS if key in over}
    if maker and maker != {key: base[key] for key in _MAKERS if key in base}:
        base = {key: value for key, value in base.items() if key in _SETTINGS}
    return {**base, **over}


def _kept_inputs(inputs: Mapping[str, Any], away: Sequence[str]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, refs in inputs.items():
        several = [refs] if isinstance(refs, str) else refs
        left = [ref for ref in several if _node_of(ref) not in away]
        if left or not several:
            kept[name] = left
    return kept


def _node_of(ref: object) -> str:
    return str(ref).strip().partition(".")[0]


def _join(
    key: str,
    places: dict[tuple[str | int, ...], str],
    parts: Sequence[tuple[Document, Sequence[int]]],
) -> list[Any]:
    """Joins lists of documents, and moves the places of their entries along."""
    joined: list[Any] = []
    moved: dict[tuple[str | int, ...], str] = {}
    for document, kept in parts:
        for old in kept:
            moved.update(
                {
                    (key, len(joined), *path[2:]): place
                    for path, place in document.places.items()
                    if path[:2] == (key, old)
                }
            )
            joined.append(document.data[key][old])
    places.update(moved)
    return joined
