"""Where an argument is known that no task of a graph takes, for the message that says so."""

from __future__ import annotations

import inspect
from collections.abc import Mapping

from yggdrasil.core.tasks import Task
from yggdrasil.core.template_documents import template_extensions
from yggdrasil.core.templates import load_template
from yggdrasil.pipelines.sharing import brought_by

__all__ = ["told_elsewhere"]

_SYNONYMS: Mapping[str, str] = {
    "steps": "num_inference_steps",
    "cfg": "guidance_scale",
    "cfg_scale": "guidance_scale",
    "denoise": "strength",
    "denoising_strength": "strength",
    "batch_size": "num_images_per_prompt",
    "init_image": "image",
    "mask": "mask_image",
    "positive": "prompt",
    "negative": "negative_prompt",
}
"""What other programs call what Diffusers' pipelines call otherwise."""


def told_elsewhere(template: str, task: Task, argument: str) -> str:
    """Says what an argument is called here, which node takes it, or that Diffusers alone does.

    Args:
        template: The name of the graph.
        task: The task that does not take it.
        argument: Its name.

    Returns:
        A sentence or two with a space before them, or nothing where the argument is not known.
    """
    if _SYNONYMS.get(argument) in task.takes:
        return f" Did you mean {_SYNONYMS[argument]!r}?"
    for other in template_extensions(template):
        graph = load_template(other)
        for name, node in graph.nodes.items():
            if node.block is not None and argument in brought_by(type(node.block)):
                return (
                    f" A node of the type {node.block.type_name!r} does: add one with "
                    f"graph.add_node({name!r}, {node.block.type_name!r}, pretrained=...)."
                )
    if task.diffusers is not None and argument in _of_diffusers(task.diffusers):
        return (
            f" Diffusers' {task.diffusers} does, and no block here yet: from_pretrained(..., "
            "opaque=True) runs that pipeline whole, with it."
        )
    return ""


def _of_diffusers(pipeline: str) -> frozenset[str]:
    """Gives the arguments of a Diffusers pipeline's call."""
    import diffusers  # noqa: PLC0415 - where a call went wrong alone

    cls = getattr(diffusers, pipeline, None)
    return frozenset() if cls is None else frozenset(inspect.signature(cls.__call__).parameters)
