"""What people are told of a call: what is passed over, and what says a thing twice."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from typing import Any

from yggdrasil.core.errors import InputError
from yggdrasil.core.graph import ComputeGraph
from yggdrasil.core.plan import Plan
from yggdrasil.core.tasks import Task
from yggdrasil.hub.library import Library
from yggdrasil.pipelines.components import blocks_of

__all__ = ["refuse_twice", "warn_of_left_out", "warn_of_unread"]

_log = logging.getLogger("yggdrasil")


def warn_of_left_out(graph: ComputeGraph, library: Library) -> None:
    """Warns of components of a model that nothing in the graph uses, such as a safety checker.

    Args:
        graph: What will run.
        library: The model.
    """
    used = {slot.folder for _, block in blocks_of(graph) for slot in block.slots().values()}
    # A feature extractor only prepares pictures for the others.
    left_out = sorted(library.names() - used - {"feature_extractor"})
    if left_out:
        _log.warning(
            "%s comes with %s, which this graph does not use: the model's own pipeline could give "
            "other pictures, or none.",
            library.describe(),
            ", ".join(left_out),
        )


def warn_of_unread(call: Mapping[str, Any], task: Task | None, plan: Plan) -> None:
    """Warns of arguments that were given and that nothing reads in this call.

    Args:
        call: The arguments.
        task: What they were given for.
        plan: What will run.
    """
    targets = {} if task is None else task.arguments
    ignored = set() if task is None else task.ignored(call)
    unread = [
        name
        for name, value in call.items()
        if not _asks_nothing(value) and (targets.get(name, name) in plan.unread or name in ignored)
    ]
    if unread:
        warnings.warn(
            f"{', '.join(unread)}: given, but with these inputs nothing reads "
            f"{'it' if len(unread) == 1 else 'them'}. print(pipe.plan(...)) shows what runs.",
            stacklevel=3,
        )


def refuse_twice(call: Mapping[str, Any]) -> None:
    """Refuses a prompt beside its embeddings, as every pipeline of Diffusers does.

    Args:
        call: The arguments.

    Raises:
        InputError: Both are given.
    """
    for name in ("prompt", "negative_prompt"):
        if call.get(name) is not None and call.get(f"{name}_embeds") is not None:
            raise InputError(f"{name} and {name}_embeds are both given: give one of them.")


def _asks_nothing(value: Any) -> bool:
    # `guidance_scale=0.0` is how everybody calls a distilled model: there is nothing to tell.
    return value is None or (isinstance(value, (int, float)) and value == 0)
