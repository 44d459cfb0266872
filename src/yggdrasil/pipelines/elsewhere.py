"""Where an argument is known that no task of a graph takes, for the message that says so."""

from __future__ import annotations

import inspect

from yggdrasil.core.tasks import Task, read_tasks
from yggdrasil.core.template_documents import read_template, template_extensions, template_tasks

__all__ = ["told_elsewhere"]


def told_elsewhere(template: str, task: Task, argument: str) -> str:
    """Says which template adds a node that takes an argument, or that Diffusers alone takes it.

    Args:
        template: The name of the graph.
        task: The task that does not take it.
        argument: Its name.

    Returns:
        A sentence or two with a space before them, or nothing where the argument is not known.
    """
    for other in template_extensions(template):
        if any(argument in each.takes for each in read_tasks(template_tasks(other)).values()):
            return _added(template, other)
    if task.diffusers is not None and argument in _of_diffusers(task.diffusers):
        return (
            f" Diffusers' {task.diffusers} does, and no block here yet: from_pretrained(..., "
            "opaque=True) runs that pipeline whole, with it."
        )
    return ""


def _added(template: str, other: str) -> str:
    """Tells of the first node that a template adds to another."""
    nodes, own = (read_template(name).data["nodes"] for name in (other, template))
    name, settings = next((name, each) for name, each in nodes.items() if name not in own)
    return (
        f" Those of the template {other!r} do, by its node {name!r}. Add such a one: "
        f"graph.add_node({name!r}, {settings['type']!r}, pretrained=...)."
    )


def _of_diffusers(pipeline: str) -> frozenset[str]:
    """Gives the arguments of a Diffusers pipeline's call."""
    import diffusers  # noqa: PLC0415 - where a call went wrong alone

    cls = getattr(diffusers, pipeline, None)
    return frozenset() if cls is None else frozenset(inspect.signature(cls.__call__).parameters)
