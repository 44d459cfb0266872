"""Saving a pipeline as a folder: its graph and one folder for each component."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from yggdrasil.blocks.solver.scheduled import ScheduledSolver
from yggdrasil.core.block import AbstractBaseBlock
from yggdrasil.core.errors import InputError
from yggdrasil.core.graph import ComputeGraph
from yggdrasil.core.patches import adapters_of
from yggdrasil.core.serialization.schema import SCHEMA
from yggdrasil.core.serialization.writing import dump_yaml, to_data
from yggdrasil.core.wiring import wire
from yggdrasil.hub.library import Library
from yggdrasil.hub.several import join_index
from yggdrasil.pipelines.adapter_files import name_files
from yggdrasil.pipelines.components import blocks_of
from yggdrasil.pipelines.opaque import whole_block

__all__ = ["refuse_adapters", "save_pipeline"]

# Components of Diffusers' Stable Diffusion pipelines that a graph need not have.
_OPTIONAL = ("safety_checker", "feature_extractor", "image_encoder")


def save_pipeline(graph: ComputeGraph, library: Library | None, folder: Path) -> Path:
    """Writes ``graph.yaml``, the components in Diffusers' layout and a ``model_index.json``.

    Args:
        graph: The graph; its components are loaded if they were not.
        library: The model that the components come from, if there is one; says which pipeline of
            Diffusers the folder is for.
        folder: Made if it does not exist; what is in the way is replaced.

    Raises:
        InputError: Two nodes hold different components of one name.
        GraphFileError: The graph holds something that a file cannot name.
    """
    data = {"schema": SCHEMA, **to_data(graph, models=False)}  # the folder holds the components
    held: dict[str, tuple[str, Any]] = {}
    for path, block in blocks_of(graph):
        for name, value in _components(block):
            refuse_adapters(name, value)
            other = held.setdefault(name, (path, value))
            if other[1] is not value and not _alike(other[1], value):
                raise InputError(
                    f"{path} and {other[0]} hold different components called {name!r}, and a "
                    "folder can hold one. Save the stages apart."
                )
    folder.mkdir(parents=True, exist_ok=True)
    index: dict[str, Any] = {
        "_class_name": _class_name(graph, library),
        "_diffusers_version": importlib.metadata.version("diffusers"),
    }
    for name, (_, value) in sorted(held.items()):
        _replace(folder / name, value)
        index[name] = _library_and_class(value)
    whole = whole_block(graph)
    if whole is not None:
        index = {key: index[key] for key in index if key.startswith("_")} | whole.index()
    else:
        index |= {name: [None, None] for name in _OPTIONAL if name not in index}
        index["requires_safety_checker"] = False
    text_of_index = json.dumps(join_index(index), indent=2)
    (folder / "model_index.json").write_text(f"{text_of_index}\n", encoding="utf-8")
    _save_adapters(graph, folder, data)
    (folder / "graph.yaml").write_text(dump_yaml(data), encoding="utf-8")
    return folder


def _save_adapters(graph: ComputeGraph, folder: Path, data: dict[str, Any]) -> None:
    """Saves the files of adapters, and names them in the graph as they lie in the folder."""
    for patch in adapters_of(wire(graph)):
        place = Path("adapters") / patch.node
        saved = patch.adapter.save_files(folder / place, patch.among)
        files = {key: file and (place / file).as_posix() for key, file in saved.items()}
        name_files(data, patch.node, files)


def refuse_adapters(name: str, component: Any) -> None:
    """Refuses a component whose weights are named by the adapters in it: no class loads them.

    Args:
        name: Of the component.
        component: What is to be saved.

    Raises:
        InputError: PEFT has put adapters into it.
    """
    adapters = getattr(component, "peft_config", None)
    if adapters:
        raise InputError(
            f"{name!r} carries the adapters {', '.join(map(repr, adapters))}, which a folder does "
            "not hold: fuse them with its weights, or take them off, and save again."
        )


def _components(block: AbstractBaseBlock) -> Iterator[tuple[str, Any]]:
    """Gives the components of a block by the folders that they are saved in."""
    if isinstance(block, ScheduledSolver):
        # The solver's own options are in it, so that Diffusers steps as YggDrasil does.
        yield "scheduler", block.make_scheduler()
        return
    for name, slot in block.slots().items():
        if name in block.sources:
            yield slot.folder, getattr(block, name)


def _alike(first: Any, second: Any) -> bool:
    """Says whether two schedulers are one, made twice."""
    return type(first) is type(second) and getattr(first, "config", 0) == getattr(
        second, "config", 1
    )


def _library_and_class(component: Any) -> list[str]:
    """Gives the class to load a component by; of a class of one's own, that of a library below."""
    classes = [(cls.__module__.partition(".")[0], cls.__name__) for cls in type(component).__mro__]
    found = (each for each in classes if each[0] in ("diffusers", "transformers"))
    return list(next(found, classes[0]))


def _replace(target: Path, component: Any) -> None:
    """Saves a component beside its place first: its weights may be a view of the file there."""
    scratch = target.with_name(f".{target.name}.partial")
    shutil.rmtree(scratch, ignore_errors=True)
    component.save_pretrained(scratch)
    shutil.rmtree(target, ignore_errors=True)
    scratch.replace(target)


def _class_name(graph: ComputeGraph, library: Library | None) -> str:
    """Gives the Diffusers class that loads the folder: the model's own, or that of a task."""
    names = [settings.get("diffusers") for settings in graph.tasks.values()]
    known = [str(name) for name in names if name]
    own = None if library is None else library.pipeline_class()
    if own in known:
        return own
    return known[0] if known else own or "DiffusionPipeline"
