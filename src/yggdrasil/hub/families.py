"""Which template a model belongs to, by what it says of itself."""

from __future__ import annotations

from yggdrasil.core.errors import ModelError, nearest
from yggdrasil.core.templates import load_template, template_names

__all__ = ["check_family", "diffusers_class", "has_template", "template_for"]


def has_template(pipeline_class: str) -> bool:
    """Says whether a template stands for a Diffusers pipeline class."""
    return pipeline_class in _known_classes()


def template_for(pipeline_class: str, where: str) -> tuple[str, str]:
    """Gives the template and task that stand for a Diffusers pipeline class.

    Args:
        pipeline_class: As in ``model_index.json``'s ``_class_name``.
        where: The model, for the message.

    Raises:
        ModelError: No template names the class.
    """
    known = _known_classes()
    if pipeline_class not in known:
        raise ModelError(
            f"{where} is a {pipeline_class}, for which there is no template yet."
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
    other, _ = _known_classes().get(pipeline_class, (None, ""))
    if other is not None:
        raise ModelError(
            f"{where} is a {pipeline_class}, a model for the template {other!r}, and not for "
            f"{template!r}: take from_template({other!r}, pretrained=...), or from_pretrained, "
            "which finds the template by itself."
        )


def _known_classes() -> dict[str, tuple[str, str]]:
    """Gives template and task by the Diffusers pipeline class that they stand for."""
    known: dict[str, tuple[str, str]] = {}
    for template in template_names():
        for task, settings in load_template(template).tasks.items():
            if "diffusers" in settings:
                known.setdefault(settings["diffusers"], (template, task))
    return known


def diffusers_class(template: str, task: str) -> str | None:
    """Gives the Diffusers pipeline class that a task of a template stands for."""
    name = load_template(template).tasks[task].get("diffusers")
    return None if name is None else str(name)
