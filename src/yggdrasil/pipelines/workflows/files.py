"""Workflows as files: YAML with a folder of what is no text."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from yggdrasil.core.component import Component, ComponentSource
from yggdrasil.core.errors import InputError
from yggdrasil.core.graph import ComputeGraph
from yggdrasil.core.serialization.document import Document
from yggdrasil.core.serialization.reading import read_document
from yggdrasil.core.serialization.writing import dump_yaml
from yggdrasil.hub.checkpoint import CheckpointSource
from yggdrasil.hub.integrity import read_json
from yggdrasil.hub.library import Library
from yggdrasil.hub.sources import FolderSource
from yggdrasil.pipelines.adapter_files import recorded_graph
from yggdrasil.pipelines.checking import checked
from yggdrasil.pipelines.components import blocks_of
from yggdrasil.pipelines.saving import refuse_adapters
from yggdrasil.pipelines.workflows.describing import (
    Blocks,
    common_placement,
    describe_component,
    describe_machine,
    describe_weights,
    is_said,
    left_out_of,
    loaded_modules,
    model_of,
    sources_of,
    store_state,
    versions,
)
from yggdrasil.pipelines.workflows.opening import Opened, Opening, open_workflow
from yggdrasil.pipelines.workflows.schema import ComponentOrigin, Model, Workflow
from yggdrasil.pipelines.workflows.stores import FolderStore, files_of
from yggdrasil.pipelines.workflows.values import encode, held

__all__ = ["open_workflow_file", "read_workflow", "write_workflow"]


def write_workflow(
    path: Path,
    graph: ComputeGraph,
    call: Mapping[str, Any],
    *,
    task: str | None,
    library: Library | None,
    placement: tuple[torch.device | None, torch.dtype | None],
    memory: Mapping[str, Mapping[str, Any]],
) -> Path:
    """Writes a graph with its inputs.

    Weights that no file holds as they are now (handed in, fresh, trained, of a block's own) are
    written beside it as safetensors; models that are loaded are read once more to see that.

    Args:
        path: Ends in ``.yaml``; the files beside it lie in ``<stem>.files``.
        graph: The graph, its slots filled.
        call: The arguments of a call.
        task: The task that it is for, if that is fixed.
        library: The model of the whole.
        placement: Device and dtype that were set.
        memory: Options of memory that change numbers, as a file says them.

    Raises:
        GraphFileError: The graph holds what a file cannot name.
        InputError: An argument is one that no file holds.
    """
    data = recorded_graph(graph)
    folder = files_of(path)
    scratch = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(scratch, ignore_errors=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    store = FolderStore(path, scratch)
    blocks = dict(blocks_of(graph))
    device, dtype = common_placement(blocks, placement)
    model = model_of(library)
    try:
        workflow = Workflow(
            workflow=1,
            graph=data,
            task=task,
            model=None if model is None else Model.of(model),
            without=left_out_of(library),
            components=_write_components(blocks, library, scratch, folder),
            state=store_state(blocks, store),
            device=None if device is None else str(device),
            dtype=None if dtype is None else str(dtype).removeprefix("torch."),
            memory={method: dict(given) for method, given in memory.items()},
            inputs={
                name: encode(held(value), store, name)
                for name, value in call.items()
                if is_said(name, value)
            },
            weights=describe_weights(blocks),
            versions=dict(versions()),
            machine=describe_machine(device),
        )
        text = dump_yaml(workflow.data())
        # Only now: the weights there may be those that are in use, mapped into memory.
        shutil.rmtree(folder, ignore_errors=True)
        if scratch.is_dir():
            scratch.replace(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    path.write_text(text, encoding="utf-8")
    return path


def read_workflow(path: Path) -> tuple[Workflow, Document]:
    """Reads a workflow without opening anything that it names.

    Raises:
        GraphFileError: With file and line, and how to mend it.
    """
    document = read_document(path, what="workflow", begins="workflow: 1")
    if "workflow" not in document.data:
        raise document.error(
            "this is no workflow, which begins with 'workflow: 1'. A graph or a configuration is "
            "opened with InferencePipeline.from_graph or from_config."
        )
    return checked(document, Workflow), document


def open_workflow_file(path: Path, opening: Opening | None = None) -> Opened:
    """Reads a workflow and finds its parts; no weights are loaded.

    Args:
        path: The file.
        opening: What is allowed.

    Raises:
        GraphFileError: It cannot be read, or makes no graph.
        ModelError: A model that it names is not on this machine.
    """
    workflow, document = read_workflow(path)
    places = {place[1:]: line for place, line in document.places.items() if place[:1] == ("graph",)}
    store = FolderStore(path)
    return open_workflow(
        workflow, store, source=str(path), places=places, path=path, opening=opening
    )


def _write_components(
    blocks: Blocks, library: Library | None, scratch: Path, folder: Path
) -> dict[str, ComponentOrigin]:
    """Says where components come from, and writes those that no other file holds as they are."""
    told: dict[str, ComponentOrigin] = {}
    loaded = loaded_modules(blocks)
    written: dict[tuple[int, str], str] = {}
    for path, slot, source in sources_of(blocks):
        described = describe_component(slot, source, library)
        origin = None if described is None else ComponentOrigin.model_validate(described)
        if not _must_be_written(origin, slot, source, loaded.get(path), folder):
            if origin is not None:
                told[path] = origin
            continue
        node = path.rpartition(".")[0]
        component = getattr(blocks[node], slot.name)
        key = (id(component), slot.folder)
        if key not in written:
            written[key] = node
            _write_component(scratch / written[key], slot, component)
        told[path] = ComponentOrigin(folder=written[key])
    return told


def _must_be_written(
    origin: ComponentOrigin | None,
    slot: Component[Any],
    source: ComponentSource,
    module: nn.Module | None,
    folder: Path,
) -> bool:
    if origin is not None and origin.given is not None:
        return True
    if origin is not None and origin.config is not None:
        return issubclass(slot.cls, nn.Module)
    named = None if origin is None or origin.model is None else Path(origin.model.name)
    # What an earlier workflow of this name holds is about to be replaced.
    replaced = named is not None and named.is_relative_to(folder.resolve())
    return replaced or (module is not None and _was_changed(slot, source, module))


def _was_changed(slot: Component[Any], source: ComponentSource, module: nn.Module) -> bool:
    """Says whether weights are others than those of the file, which is read once more."""
    if not isinstance(source, FolderSource | CheckpointSource):
        return True
    again: Any = replace(source, shared={}).load(slot)
    there, here = again.state_dict(), module.state_dict()
    return there.keys() != here.keys() or not all(
        torch.equal(_bits(there[name].to(tensor.dtype)), _bits(tensor.cpu()))
        for name, tensor in here.items()
    )


def _bits(tensor: Tensor) -> Tensor:
    """Gives what can be compared: PyTorch compares no numbers of one byte."""
    narrow = tensor.is_floating_point() and tensor.element_size() == 1
    return tensor.view(torch.uint8) if narrow else tensor


def _write_component(folder: Path, slot: Component[Any], component: Any) -> None:
    """Writes a component in Diffusers' layout, into a folder that says what it holds."""
    if not hasattr(component, "save_pretrained"):
        raise InputError(
            f"The {type(component).__qualname__} in slot {slot.name!r} cannot be written, since it "
            "has no save_pretrained: give the pipeline one from a folder."
        )
    refuse_adapters(slot.name, component)
    component.save_pretrained(folder / slot.folder)
    path = folder / "model_index.json"
    index: dict[str, Any] = {"_class_name": "DiffusionPipeline"}
    if path.is_file():
        index = read_json(path)
    index[slot.folder] = [type(component).__module__.partition(".")[0], type(component).__name__]
    path.write_text(f"{json.dumps(index, indent=2)}\n", encoding="utf-8")
