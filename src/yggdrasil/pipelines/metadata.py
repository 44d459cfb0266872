"""What a result says of how it was made."""

from __future__ import annotations

import functools
import importlib.metadata
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

import yggdrasil
from yggdrasil.core.graph import ComputeGraph
from yggdrasil.core.tasks import Task
from yggdrasil.hub.library import Library

__all__ = ["describe_call"]


def describe_call(
    graph: ComputeGraph,
    task: Task | None,
    call: Mapping[str, Any],
    *,
    seed: int | Sequence[int] | None,
    library: Library | None,
) -> dict[str, Any]:
    """Describes a call as plain data.

    Args:
        graph: What ran.
        task: For which task, if the graph has tasks.
        call: The arguments given; tensors and pictures are described by their shape.
        seed: The seed, if one was given.
        library: The model.
    """
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
        "versions": {
            "yggdrasil": yggdrasil.__version__,
            "torch": torch.__version__,
            "diffusers": _version("diffusers"),
        },
    }


@functools.cache
def _version(package: str) -> str:
    # Reading it off the disk takes longer than many a step.
    return importlib.metadata.version(package)


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
