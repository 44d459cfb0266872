"""Which template a model belongs to, by what it says of itself."""

from __future__ import annotations

from yggdrasil.core.errors import ModelError, nearest
from yggdrasil.core.templates import load_template, template_names

__all__ = ["diffusers_class", "template_for"]


def template_for(pipeline_class: str, where: str) -> tuple[str, str]:
    """Gives the template and task that stand for a Diffusers pipeline class.

    Args:
        pipeline_class: As in ``model_index.json``'s ``_class_name``.
        where: The model, for the message.

    Raises:
        ModelError: No template names the class.
    """
    known: dict[str, tuple[str, str]] = {}
    for template in template_names():
        for task, settings in load_template(template).tasks.items():
            if "diffusers" in settings:
                known.setdefault(settings["diffusers"], (template, task))
    if pipeline_class not in known:
        raise ModelError(
            f"{where} is a {pipeline_class}, for which there is no template yet."
            f"{nearest(pipeline_class, known)}"
        )
    return known[pipeline_class]


def diffusers_class(template: str, task: str) -> str | None:
    """Gives the Diffusers pipeline class that a task of a template stands for."""
    name = load_template(template).tasks[task].get("diffusers")
    return None if name is None else str(name)
