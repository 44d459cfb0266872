"""What a result says of how it was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from yggdrasil.core.graph import ComputeGraph
from yggdrasil.core.tasks import Task
from yggdrasil.hub.library import Library
from yggdrasil.pipelines.workflows.describing import versions

__all__ = ["describe_call"]


def describe_call(
    graph: ComputeGraph,
    task: Task | None,
    call: Mapping[str, Any],
    *,
    seed: int | Sequence[int] | None,
    library: Library | None,
    stopped_after: tuple[int, int | None] | None = None,
) -> dict[str, Any]:
    """Describes a call as plain data.

    Args:
        graph: What ran.
        task: For which task, if the graph has tasks.
        call: The arguments given; tensors and pictures are described by their shape.
        seed: The seed, if one was given.
        library: The model.
        stopped_after: The last step and how many there were to be, where a loop was ended early:
            such pictures are not what the call makes.
    """
    stopped = {} if stopped_after is None else {"stopped_after": list(stopped_after)}
    return {
        "graph": graph.name,
        "task": None if task is None else task.name,
        "model": None if library is None else library.describe(),
        "solvers": sorted(
            graph.block(name).type_name for name in graph.nodes if graph.role(name) == "solver"
        ),
        "seed": None if seed is None else _plain(seed),
        "inputs": {
            name: _plain(value)
            for name, value in call.items()
            if value is not None and name != "generator"
        },
        "versions": {name: versions()[name] for name in ("yggdrasil", "torch", "diffusers")},
        **stopped,
    }


def _plain(value: Any) -> Any:
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, torch.Tensor):
        return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}"
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    # Pictures and arrays.
    size = getattr(value, "shape", None) or getattr(value, "size", None)
    return f"{type(value).__name__}{list(size) if isinstance(size, tuple) else ''}"
