"""From a workflow to a graph that is ready to load, and the inputs of its call."""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load

from yggdrasil.core.adapters import AbstractAdapter
from yggdrasil.core.block import AbstractBaseBlock
from yggdrasil.core.component import ComponentSource
from yggdrasil.core.errors import GraphFileError, InputError, ModelError, nearest
from yggdrasil.core.graph import ComputeGraph
from yggdrasil.core.serialization.document import Document
from yggdrasil.core.serialization.reading import build_graph
from yggdrasil.core.serialization.schema import NODE_KEYS
from yggdrasil.hub.checkpoint import CheckpointLibrary
from yggdrasil.hub.library import FolderLibrary, Library, OverlaidLibrary
from yggdrasil.hub.lone import LoneLibrary
from yggdrasil.hub.named_code import find_named_code
from yggdrasil.hub.references import ModelReference
from yggdrasil.hub.reopening import files_of_others, lone_folder, open_reference
from yggdrasil.hub.single_files import HubFiles
from yggdrasil.hub.sources import FreshSource
from yggdrasil.pipelines.components import blocks_of
from yggdrasil.pipelines.workflows.schema import ComponentOrigin, Workflow
from yggdrasil.pipelines.workflows.stores import Store, files_of
from yggdrasil.pipelines.workflows.values import decode, find_device

__all__ = ["Opened", "Opening", "open_workflow"]

_HARMLESS = ("_class_name", "_diffusers_version", "_name_or_path", "_use_default_values")

# What constructors raise at values of types that no one would give them.
_ODDITIES = (
    TypeError,
    ValueError,
    LookupError,
    ArithmeticError,
    AttributeError,
    ImportError,
    RecursionError,
)
_MOST = 10**7  # of such numbers some are lengths of tables; none that is meant is larger


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What whoever opens a workflow allows and says.

    Attributes:
        allow_download: Whether models that are not on this machine may be fetched.
        model: A model in place of the workflow's own, and for what it was handed as objects.
        device: In place of the workflow's.
    """

    allow_download: bool = False
    model: str | None = None
    device: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A workflow whose parts were found; no weights are loaded.

    Attributes:
        workflow: What it says.
        graph: Its graph, each slot with its source.
        library: The model of the whole.
        device: Where it is to run; None leaves it.
        dtype: Of the weights; None leaves it.
        store: What is no text of the workflow's inputs.
        source: What to call the workflow in messages.
    """

    workflow: Workflow
    graph: ComputeGraph
    library: Library | None
    device: torch.device | None
    dtype: torch.dtype | None
    store: Store
    source: str

    def inputs(self, skip: Container[str] = ()) -> dict[str, Any]:
        """Gives the arguments of the call; generators are made anew each time.

        Args:
            skip: Names of those that are not wanted.

        Raises:
            GraphFileError: One is missing or damaged.
        """
        return {
            name: decode(value, self.store, f"{self.source}: input {name!r}")
            for name, value in self.workflow.inputs.items()
            if name not in skip
        }


def open_workflow(
    workflow: Workflow,
    store: Store,
    *,
    source: str,
    places: Mapping[tuple[str | int, ...], str] | None = None,
    path: Path | None = None,
    opening: Opening | None = None,
) -> Opened:
    """Finds the parts of a workflow, which anyone may have written: nothing is run or fetched.

    Args:
        workflow: What it says.
        store: Has what is no text of it.
        source: What to call it in messages.
        places: The lines of its graph.
        path: The workflow's file, which names of models may be relative to and which has a folder
            of files; None for the record of a picture, which has neither.
        opening: What is allowed.

    Raises:
        GraphFileError: It makes no graph, or holds not all that made a picture.
        ModelError: A model is not on this machine.
        InputError: It ran on a device that this machine does not have.
    """
    opening = opening or Opening()
    _refuse_lost(workflow, source)
    device = _device_of(workflow, opening, source)
    models = _Models(opening, path)
    data = _with_folders(workflow.graph, models)
    try:
        graph = build_graph(Document(data, places or {}, source), ComputeGraph)
    except _ODDITIES as error:
        raise GraphFileError(
            f"{source}: its graph cannot be built: {type(error).__name__}: {error}."
        ) from error
    library: Library | None = None
    own: Library | None = None
    if opening.model is not None:
        library = own = models.open(ModelReference(name=opening.model))
    elif workflow.model is not None:
        library = models.open(workflow.model.reference())
    if library is not None and workflow.without:
        library = OverlaidLibrary(library, dict.fromkeys(workflow.without))
    blocks = dict(blocks_of(graph))
    for block in blocks.values():
        if isinstance(block, AbstractAdapter):
            block.find_files(models.files(block.named_files()))
    for name, origin in workflow.components.items():
        block, slot = _slot_of(blocks, name, source)
        found = _source_of(block, slot, origin, models, library, own, source)
        block.load_from(**{slot: found})
    for name, reference in workflow.state.items():
        if name not in blocks:
            raise GraphFileError(
                f"{source}: 'state' names the node {name!r}.{nearest(name, blocks)}"
            )
        _load_state(blocks[name], store.get(reference, f"{source}: state of {name!r}"), name)
    return Opened(
        workflow=workflow,
        graph=graph,
        library=library,
        device=device,
        dtype=None if workflow.dtype is None else getattr(torch, workflow.dtype),
        store=store,
        source=source,
    )


class _Models:
    """Opens each model once, so that slots which name the same one share its components."""

    def __init__(self, opening: Opening, path: Path | None) -> None:
        self._allow = opening.allow_download
        self._base = None if path is None else path.parent
        self._files = None if path is None else files_of(path)
        self._opened: dict[ModelReference, FolderLibrary | CheckpointLibrary] = {}

    def open(self, reference: ModelReference) -> FolderLibrary | CheckpointLibrary:
        if reference not in self._opened:
            self._opened[reference] = open_reference(
                reference, base=self._base, allow_download=self._allow
            )
        return self._opened[reference]

    def part(self, reference: ModelReference) -> FolderLibrary | CheckpointLibrary | LoneLibrary:
        """Opens a model that is a pipeline, or one component by itself."""
        lone = lone_folder(reference.name, base=self._base)
        return self.open(reference) if lone is None else LoneLibrary(Path(lone))

    def place(self, name: str) -> str:
        """Opens the model that a node names, and names it so that nothing is fetched unasked."""
        lone = lone_folder(name, base=self._base)
        if lone is not None:
            return lone
        library = self.open(ModelReference(name=name))
        if self._allow or not isinstance(library, FolderLibrary):
            return library.describe()
        return str(library.root)

    def files(self, names: Iterable[str]) -> HubFiles:
        """Gives what finds the single files that are named."""
        return files_of_others(names, base=self._base, allow_download=self._allow)

    def included(self, name: str, source: str) -> Library:
        if self._files is None:
            raise GraphFileError(f"{source} names the folder {name!r}, and a picture has none.")
        return self.open(ModelReference(name=str((self._files / name).resolve())))


def _refuse_lost(workflow: Workflow, source: str) -> None:
    if workflow.lost:
        name, reason = next(iter(workflow.lost.items()))
        raise GraphFileError(
            f"{source} does not hold all that it was made with, so it cannot be made again: "
            f"{name}: {reason}"
        )


def _device_of(workflow: Workflow, opening: Opening, source: str) -> torch.device | None:
    name = opening.device or workflow.device
    if name is None:
        return None
    device = find_device(name)
    if device is None:
        raise InputError(
            f"{source} is to run on {name!r}, which this machine does not have. On another device "
            "the last bits differ; to run it there give --device cpu (device='cpu')."
        )
    return device


def _with_folders(graph: Mapping[str, Any], models: _Models) -> dict[str, Any]:
    """Puts folders in the place of the models that nodes name, so that nothing is fetched later."""
    nodes = graph.get("nodes")
    if not isinstance(nodes, Mapping):
        return dict(graph)
    return {**graph, "nodes": {name: _node(each, models) for name, each in nodes.items()}}


def _node(node: Any, models: _Models) -> Any:
    if not isinstance(node, Mapping):
        return node  # building the graph will say what is wrong
    node = dict(node)
    _check_config({key: each for key, each in node.items() if key not in NODE_KEYS}, "a node")
    if isinstance(node.get("graph"), Mapping):
        node["graph"] = _with_folders(node["graph"], models)
    if isinstance(node.get("pretrained"), str):
        node["pretrained"] = models.place(node["pretrained"])
    if isinstance(node.get("components"), Mapping):
        node["components"] = {
            slot: models.place(each) if isinstance(each, str) else _component(each, slot)
            for slot, each in node["components"].items()
        }
    return node


def _component(told: Any, slot: str) -> Any:
    if isinstance(told, Mapping):
        _check_config(told.get("config", told), f"component {slot!r}")
    return told


def _check_config(config: Any, where: str) -> None:
    """Refuses what libraries below might take for more than numbers and names of their own.

    Some of their names stand for code that they fetch and run, as ``attn_implementation`` does
    for transformers; and a table of a number of entries fills the memory before anything runs.

    Raises:
        GraphFileError: There is a hidden name, one of code, or a huge number.
    """
    named = find_named_code({"": config})
    if named is not None:
        raise GraphFileError(named.refused(where))
    waiting = [config]
    while waiting:
        each = waiting.pop()
        if isinstance(each, list):
            waiting += each
        elif isinstance(each, Mapping):
            waiting += each.values()
            for name, value in each.items():
                if isinstance(value, int | float) and _MOST < abs(value) < math.inf:
                    raise GraphFileError(
                        f"{where} has {name!r} in its configuration with a number above "
                        f"{_MOST:,}, which a file that anyone may have written may not say: take "
                        "a smaller one."
                    )
                if str(name).startswith("_") and name not in _HARMLESS:
                    raise GraphFileError(
                        f"{where} has {name!r} in its configuration, which a file that anyone may "
                        "have written may not say: take it out."
                    )


def _slot_of(
    blocks: Mapping[str, AbstractBaseBlock], path: str, source: str
) -> tuple[AbstractBaseBlock, str]:
    node, _, slot = path.rpartition(".")
    if node not in blocks or slot not in blocks[node].slots():
        known = [f"{name}.{each}" for name, block in blocks.items() for each in block.slots()]
        raise GraphFileError(
            f"{source}: 'components' names {path!r}, which is no component of the graph."
            f"{nearest(path, known)}"
        )
    return blocks[node], slot


def _source_of(
    block: AbstractBaseBlock,
    name: str,
    origin: ComponentOrigin,
    models: _Models,
    library: Library | None,
    own: Library | None,
    source: str,
) -> ComponentSource:
    slot = block.slots()[name]
    if origin.config is not None:
        _check_config(origin.config, f"{source}: component {slot.name!r}")
        return FreshSource(origin.config, origin.seed, origin.zero)
    if origin.given is not None:
        if own is None:
            raise ModelError(
                f"{source} was made with a {origin.given} that was handed in as an object, and no "
                "file of it is known. Give the model that holds it: --model FOLDER (model=...)."
            )
        library = own
    elif origin.model is not None:
        held = models.part(origin.model.reference())
        if isinstance(held, LoneLibrary):
            return held.source(slot)
        library = held
    elif origin.folder is not None:
        library = models.included(origin.folder, source)
    assert library is not None  # noqa: S101 - one of four, and `given` was looked at
    found = library.source(slot)
    if found is None:
        raise ModelError(f"{library.describe()} has no {slot.folder!r}, which {source} wants.")
    return found


def _load_state(block: AbstractBaseBlock, data: bytes, path: str) -> None:
    """Puts a block's own weights in.

    Raises:
        GraphFileError: They are damaged, or those of another block.
    """
    try:
        tensors = load(data)
        loaded = block.load_state_dict(tensors, strict=False)
    except (SafetensorError, ValueError, RuntimeError) as error:
        raise GraphFileError(f"The weights of node {path!r} do not fit it: {error}") from error
    slots = block.slots()
    missing = [name for name in loaded.missing_keys if name.partition(".")[0] not in slots]
    if missing or loaded.unexpected_keys:
        raise GraphFileError(
            f"The weights of node {path!r} do not fit {block.type_name}: it wants {missing} and "
            f"has no {loaded.unexpected_keys}."
        )
