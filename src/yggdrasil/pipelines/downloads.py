"""What would be fetched from the hub for a model."""

from __future__ import annotations

from yggdrasil.hub.library import FolderLibrary, Library
from yggdrasil.pipelines.components import blocks_of
from yggdrasil.pipelines.models import graph_of, use_own_solver

__all__ = ["downloads"]


def downloads(library: Library) -> list[str] | None:
    """Lists the files that a model on the hub is loaded from.

    Args:
        library: The model.

    Returns:
        Their names, those that are in the cache as well; None for a model of this machine.

    Raises:
        ModelError: The model has no such weights in safetensors.
    """
    if not isinstance(library, FolderLibrary) or library.snapshot is None:
        return None
    graph = graph_of(library)
    use_own_solver(graph, library)
    files: set[str] = set()
    for _, block in blocks_of(graph):
        for slot in block.slots().values():
            source = library.source(slot)
            files.update(() if source is None else source.remote_files(slot))
    return sorted(files)
