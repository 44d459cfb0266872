"""What a shell offers when the tab key is pressed: names that are read without torch."""

from __future__ import annotations

__all__ = ["block_names", "solver_names", "template_names"]


def block_names(incomplete: str) -> list[tuple[str, str]]:
    """Gives the block types that begin so, with what they are."""
    from yggdrasil.core.registry import block_listings

    found = block_listings().values()
    return [
        (each.type_name, each.summary) for each in found if each.type_name.startswith(incomplete)
    ]


def solver_names(incomplete: str) -> list[tuple[str, str]]:
    """Gives the solvers that begin so."""
    return [each for each in block_names(incomplete) if each[0].startswith("solver/")]


def template_names(incomplete: str) -> list[str]:
    """Gives the templates and tasks that begin so."""
    from yggdrasil.core.template_documents import template_tasks
    from yggdrasil.core.template_sources import template_names as known

    names = [
        name
        for template in known()
        for name in (template, *(f"{template}_{task}" for task in template_tasks(template)))
    ]
    return [name for name in names if name.startswith(incomplete)]
