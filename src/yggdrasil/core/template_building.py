"""From a template's text to a graph: templates laid over others, nodes set in the call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from yggdrasil.core.block import AbstractBaseBlock
from yggdrasil.core.errors import GraphError, nearest
from yggdrasil.core.serialization.document import Document
from yggdrasil.core.serialization.reading import GraphBuilder, build_graph
from yggdrasil.core.template_documents import lay_over, read_template

__all__ = ["build_template"]

G = TypeVar("G", bound=GraphBuilder)


def build_template(name: str, make: Callable[[str], G], overrides: Mapping[str, Any]) -> G:
    """Makes the graph of a template.

    Args:
        name: The template.
        make: Makes an empty graph of a name.
        overrides: By node: None takes it away, a type or block replaces it, a mapping of settings
            and configuration is laid over its own.

    Raises:
        RegistryError: There is no such template.
        GraphFileError: Its text makes no graph.
        GraphError: The template has no node that an override names.
    """
    document = read_template(name)
    nodes = document.data.get("nodes") or {}
    for node in overrides:
        if node not in nodes:
            raise GraphError(f"Template {name!r} has no node {node!r}.{nearest(node, nodes)}")
    blocks = {k: v for k, v in overrides.items() if isinstance(v, AbstractBaseBlock)}
    laid = {
        node: {"type": value} if isinstance(value, str) else dict(value)
        for node, value in overrides.items()
        if value is not None and node not in blocks
    }
    away = [node for node, value in overrides.items() if value is None]
    document = lay_over(document, Document({"nodes": laid, "remove": away}, {}, document.source))
    graph = build_graph(document, make, name=name)
    for node, block in sorted(blocks.items()):
        graph.replace_node(node, block)
    return graph
