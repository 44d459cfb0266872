"""The model in the box, for templates that are given no weights."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from yggdrasil.core.errors import ModelError
from yggdrasil.core.templates import resolve_template
from yggdrasil.hub.library import FolderLibrary
from yggdrasil.hub.locate import zoo_name
from yggdrasil.hub.zoo_models import zoo_models

__all__ = ["SUGGESTED", "fallback", "suggested"]

SUGGESTED: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {"zoo/shapes": MappingProxyType({"guidance_scale": 2.0})}
)
"""Arguments with which models of the zoo paint best, for who says nothing else.

Calls from Python keep the defaults of Diffusers' pipelines, whose numbers they are to give.
"""

_log = logging.getLogger("yggdrasil")


def suggested(model: str) -> Mapping[str, Any]:
    """Gives the arguments with which a model paints best; of models outside the zoo none.

    Args:
        model: As for ``locate``.
    """
    return SUGGESTED.get(zoo_name(model) or "", {})


def fallback(template: str) -> FolderLibrary:
    """Gives the zoo's model of a template's family, with a notice.

    Args:
        template: A template's or a task's name.

    Raises:
        ModelError: The zoo has no model of the family.
    """
    graph, _ = resolve_template(template)
    classes = {str(settings.get("diffusers")) for settings in graph.tasks.values()}
    for name, folder in zoo_models().items():
        library = FolderLibrary.open(folder)
        if library.pipeline_class() in classes:
            _log.warning(
                "%s was given no weights: using %s, a small model of coloured shapes at 64x64. "
                "Give pretrained='...' for a real one.",
                template,
                name,
            )
            return library
    raise ModelError(
        f"Template {template!r} was given no weights, and the zoo has no model of its family. "
        "Give pretrained=..., a folder or hub id."
    )
