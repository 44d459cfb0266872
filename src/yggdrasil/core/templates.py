"""Templates: families of models as data.

A template is a graph file named after its family, ``<package>/<name>.yaml``. It may say
``extends: other`` and ``remove: [node, ...]``; its own nodes, rules, tasks and outputs are then
laid over the other's.
"""

from __future__ import annotations

from typing import Any

from yggdrasil.core.graph import ComputeGraph
from yggdrasil.core.template_documents import resolve_name
from yggdrasil.core.template_sources import register_template, search_templates, template_names

__all__ = [
    "load_template",
    "register_template",
    "resolve_template",
    "search_templates",
    "template_names",
]


def load_template(name: str, **overrides: Any) -> ComputeGraph:
    """Makes the graph of a template.

    Args:
        name: The template.
        **overrides: As for ``ComputeGraph.from_template``.

    Raises:
        RegistryError: There is no such template.
        GraphFileError: Its file makes no graph.
    """
    return ComputeGraph.from_template(name, **overrides)


def resolve_template(name: str) -> tuple[ComputeGraph, str | None]:
    """Makes the graph that a template's or a task's name stands for.

    Args:
        name: ``sd15``, or ``sd15_img2img``.

    Returns:
        The graph, and the task's name if the name says one.

    Raises:
        RegistryError: Neither a template nor a task of one is called so.
        GraphFileError: Its file makes no graph.
    """
    template, task = resolve_name(name)
    return load_template(template), task
