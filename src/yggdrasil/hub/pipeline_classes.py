"""Which template and task stand for a Diffusers pipeline class, read without building any graph."""

from __future__ import annotations

import functools
from collections.abc import Mapping

from yggdrasil.core.template_documents import template_tasks
from yggdrasil.core.template_sources import template_names

__all__ = ["tasks_by_class"]


def tasks_by_class() -> Mapping[str, tuple[str, str]]:
    """Gives template and task by the name of the Diffusers pipeline class that they stand for."""
    return _tasks(template_names())


@functools.cache
def _tasks(templates: tuple[str, ...]) -> Mapping[str, tuple[str, str]]:
    known: dict[str, tuple[str, str]] = {}
    for template in templates:
        for task, settings in template_tasks(template).items():
            if "diffusers" in settings:
                known.setdefault(str(settings["diffusers"]), (template, task))
    return known
