"""Saving a pipeline as a folder: its graph and one folder for each component."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from typing import Any

from yggdrasil.core.errors import InputError
from yggdrasil.core.graph import ComputeGraph
from yggdrasil.hub.library import Library
from yggdrasil.pipelines.components import blocks_of

__all__ = ["save_pipeline"]


def save_pipeline(graph: ComputeGraph, library: Library | None, folder: Path) -> Path:
    """Writes ``graph.yaml``, the components in Diffusers' layout and a ``model_index.json``.

    Args:
        graph: The graph; its components are loaded if they were not.
        library: Not read; named in the error when there is nothing to save.
        folder: Made if it does not exist.

    Raises:
        InputError: Two nodes hold different components of one name.
    """
    held: dict[str, tuple[str, Any]] = {}
    for path, block in blocks_of(graph):
        for name, slot in block.slots().items():
            if name not in block.sources:
                continue
            value = getattr(block, name)
            other = held.get(slot.folder)
            if other is not None and other[1] is not value:
                raise InputError(
                    f"{path} and {other[0]} hold different components called {slot.folder!r}, and "
                    "a folder can hold one. Save the stages apart."
                )
            held[slot.folder] = (path, value)
    del library
    folder.mkdir(parents=True, exist_ok=True)
    index: dict[str, Any] = {
        "_class_name": _class_name(graph),
        "_diffusers_version": importlib.metadata.version("diffusers"),
    }
    for name, (_, value) in sorted(held.items()):
        value.save_pretrained(folder / name)
        index[name] = [type(value).__module__.partition(".")[0], type(value).__name__]
    index |= {name: [None, None] for name in _OPTIONAL if name not in index}
    index["requires_safety_checker"] = False
    text = json.dumps(index, indent=2)
    (folder / "model_index.json").write_text(f"{text}\n", encoding="utf-8")
    (folder / "graph.yaml").write_text(graph.to_yaml(), encoding="utf-8")
    return folder


# Components of Diffusers' Stable Diffusion pipelines that a graph need not have.
_OPTIONAL = ("safety_checker", "feature_extractor", "image_encoder")


def _class_name(graph: ComputeGraph) -> str:
    """Gives the Diffusers class of the graph's first task, which loads the folder."""
    names = [settings.get("diffusers") for settings in graph.tasks.values()]
    known = [str(name) for name in names if name]
    return known[0] if known else "DiffusionPipeline"
