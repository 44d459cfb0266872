"""Which template a model belongs to, by what it says of itself."""

from __future__ import annotations

from yggdrasil.core.errors import ModelError, nearest
from yggdrasil.core.template_documents import template_bases
from yggdrasil.core.templates import load_template
from yggdrasil.hub.library import FolderLibrary, Library
from yggdrasil.hub.pipeline_classes import tasks_by_class
from yggdrasil.hub.registry import MODEL_REGISTRY

__all__ = [
    "check_family",
    "diffusers_class",
    "has_template",
    "is_known",
    "seen_in",
    "template_for",
    "template_of",
]


def has_template(pipeline_class: str) -> bool:
    """Says whether a template stands for a Diffusers pipeline class.

    Args:
        pipeline_class: As in ``model_index.json``'s ``_class_name``.
    """
    return pipeline_class in tasks_by_class()


def template_of(library: Library) -> str:
    """Gives the template for a model: by its pipeline's class, and after that by the registry.

    Args:
        library: The model.

    Raises:
        ModelError: Neither knows one; says what was seen.
    """
    pipeline_class = library.pipeline_class()
    registered = None if has_template(pipeline_class) else _registered_template(library)
    if registered is not None:
        return registered
    seen = f" {seen_in(library)}"
    return template_for(pipeline_class, library.describe(), seen)[0]


def is_known(library: Library) -> bool:
    """Says whether there is a template for a model.

    Args:
        library: The model.
    """
    return has_template(library.pipeline_class()) or _registered_template(library) is not None


def template_for(pipeline_class: str, where: str, seen: str = "") -> tuple[str, str]:
    """Gives the template and task that stand for a Diffusers pipeline class.

    Args:
        pipeline_class: As in ``model_index.json``'s ``_class_name``.
        where: The model, for the message.
        seen: What else was seen of it, for the message.

    Raises:
        ModelError: No template names the class.
    """
    known = tasks_by_class()
    if pipeline_class not in known:
        raise ModelError(
            f"{where} is a {pipeline_class}, for which there is no template yet.{seen}"
            f"{nearest(pipeline_class, known)}"
        )
    return known[pipeline_class]


def check_family(template: str, pipeline_class: str, where: str) -> None:
    """Refuses a model of another family than a template's.

    What no template names, and a template that names no classes, are left alone.

    Args:
        template: Its name.
        pipeline_class: That of the model.
        where: The model, for the message.

    Raises:
        ModelError: Another template is for models of the class, and this one for others.
    """
    own = {each.get("diffusers") for each in load_template(template).tasks.values()} - {None}
    if not own or pipeline_class in own:
        return
    other, _ = tasks_by_class().get(pipeline_class, (None, ""))
    # A template that extends another adds to the models of that one.
    if other is not None and other not in template_bases(template):
        raise ModelError(
            f"{where} is a {pipeline_class}, a model for the template {other!r}, and not for "
            f"{template!r}: take from_template({other!r}, pretrained=...), or from_pretrained, "
            "which finds the template by itself."
        )


def diffusers_class(template: str, task: str) -> str | None:
    """Gives the Diffusers pipeline class that a task of a template stands for."""
    name = load_template(template).tasks[task].get("diffusers")
    return None if name is None else str(name)


def _registered_template(library: Library) -> str | None:
    reference = library.reference()
    entry = None if reference is None else MODEL_REGISTRY.find(reference.name)
    return None if entry is None or entry.task is None else str(entry.template)


def seen_in(library: Library) -> str:
    """Says which components a model has, with their classes where its index is at hand.

    Args:
        library: The model.
    """
    index = library.index() if isinstance(library, FolderLibrary) else {}
    told = [
        f"{name} ({index[name][1]})" if name in index else name for name in sorted(library.names())
    ]
    return f"Its components are {', '.join(told) or 'none'}."
