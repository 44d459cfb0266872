"""YAML as plain data that remembers where each part stood, and nothing but data.

Only the tags of plain data are read: no text can make Python build an object. Words are read as in
YAML 1.2: ``yes`` and ``on`` are strings, ``1e-5`` is a number.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from yggdrasil.core.errors import GraphFileError

__all__ = ["Document", "add_words", "parse"]

Path = tuple[str | int, ...]

_MOST_PARTS = 200_000
_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True, slots=True)
class Document:
    """Plain data and, for each part of it, the file and line where it stands.

    Attributes:
        data: The outermost mapping.
        places: ``file:line`` by path of keys and indices.
        source: What to call the file.
    """

    data: dict[str, Any]
    places: Mapping[Path, str] = field(default_factory=dict)
    source: str = "graph"

    def at(self, *path: str | int) -> str:
        """Gives ``file:line`` of a part, or of the nearest part around it."""
        for end in range(len(path), -1, -1):
            if path[:end] in self.places:
                return self.places[path[:end]]
        return self.source

    def error(self, message: str, *path: str | int) -> GraphFileError:
        """Makes the error that says what is wrong with a part.

        Args:
            message: What is wrong and how to mend it.
            *path: The part.
        """
        return GraphFileError(f"{self.at(*path)}: {message}")


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the words of YAML 1.2."""


_Loader.yaml_implicit_resolvers = {}
_WORDS = (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ("~", "n", "N", "")),
    ("int", r"[-+]?[0-9]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+0123456789.",
    ),
)


def add_words(cls: type[yaml.SafeLoader | yaml.SafeDumper]) -> None:
    """Teaches a loader or dumper which plain words are no strings.

    Args:
        cls: A class of its own, which is changed.
    """
    for name, pattern, first in _WORDS:
        cls.add_implicit_resolver(f"{_TAG}{name}", re.compile(f"^(?:{pattern})$"), list(first))


add_words(_Loader)


def parse(
    text: str, source: str, *, what: str = "graph file", begins: str = "schema: 1"
) -> Document:
    """Reads YAML.

    Args:
        text: The file's text.
        source: What to call the file in messages.
        what: What it is to be.
        begins: How such a file begins.

    Raises:
        GraphFileError: The text is no YAML, no mapping, or holds what is no plain data.
    """
    try:
        root = yaml.compose(text, Loader=_Loader)
        reader = _Reader(source)
        data = None if root is None else reader.read(root, ())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = "" if mark is None else f":{mark.line + 1}"
        told = " ".join(part for part in (error.context, error.problem) if part)
        raise GraphFileError(f"{source}{line}: this is no valid YAML: {told}.") from error
    except yaml.YAMLError as error:
        raise GraphFileError(f"{source}: this is no valid YAML: {error}.") from error
    except RecursionError as error:
        raise GraphFileError(f"{source}: this is nested too deeply to be a graph.") from error
    if not isinstance(data, dict):
        raise GraphFileError(
            f"{source}:1: a {what} is a mapping that begins with {begins!r}; this is "
            f"{'empty' if data is None else type(data).__name__}."
        )
    return Document(data, reader.places, source)


class _Reader:
    """Turns YAML's nodes into plain data, noting the line of each."""

    def __init__(self, source: str) -> None:
        self.places: dict[Path, str] = {}
        self._source = source
        self._parts = 0

    def read(self, node: yaml.Node, path: Path) -> Any:
        self.places[path] = self._place(node)
        self._parts += 1
        if self._parts > _MOST_PARTS:  # a few anchors within anchors would fill the memory
            raise self._error(node, f"the file has more than {_MOST_PARTS} parts")
        kind = node.tag.removeprefix(_TAG)
        if isinstance(node, yaml.MappingNode) and kind == "map":
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode) and kind == "seq":
            return [self.read(each, (*path, place)) for place, each in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, kind)
        raise self._refuse(node)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[Any, Any]:
        result: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise self._error(key_node, "a key must be a word or a number")
            key = self._scalar(key_node, key_node.tag.removeprefix(_TAG))
            if key in result:
                raise self._error(key_node, f"the key {key!r} stands here twice")
            result[key] = self.read(value_node, (*path, key))
            # The line of an entry is that of its key.
            self.places[*path, key] = self._place(key_node)
        return result

    def _scalar(self, node: yaml.ScalarNode, kind: str) -> Any:
        text: str = node.value
        try:
            match kind:
                case "str":
                    return text
                case "null":
                    return None
                case "bool":
                    return {"true": True, "false": False}[text.lower()]
                case "int":
                    return int(text, 16) if text.startswith("0x") else int(text)
                case "float":
                    return float(text.replace(".inf", "inf").replace(".nan", "nan").lower())
        except (ValueError, KeyError) as error:
            raise self._error(node, f"{text!r} is no {kind}") from error
        raise self._refuse(node)

    def _refuse(self, node: yaml.Node) -> GraphFileError:
        tag = node.tag.replace(_TAG, "!!")
        why = (
            "it would have Python build objects while the file is read, and a graph file is data "
            "that is safe to open"
            if "python" in tag
            else "a graph file holds plain data"
        )
        return self._error(node, f"the tag {tag!r} is refused: {why}. Take the tag away")

    def _place(self, node: yaml.Node) -> str:
        return f"{self._source}:{node.start_mark.line + 1}"

    def _error(self, node: yaml.Node, message: str) -> GraphFileError:
        return GraphFileError(f"{self._place(node)}: {message}.")
