"""Which models are on this machine already, and what room they take."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import constants, scan_cache_dir
from huggingface_hub.errors import CacheNotFound

from yggdrasil.hub.zoo_models import zoo_models

__all__ = ["HubCache", "StoredModel", "hub_cache", "zoo"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredModel:
    """A model on disk.

    Attributes:
        name: A hub id, or a zoo name.
        path: Its folder.
        size: In bytes.
    """

    name: str
    path: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HubCache:
    """Where models of the hub are kept.

    Attributes:
        path: The folder; it may not exist yet.
        size: In bytes, data sets and the like included.
        models: The models, largest first.
    """

    path: str
    size: int
    models: tuple[StoredModel, ...]


def hub_cache() -> HubCache:
    """Looks through the cache of the hub's client; nothing is fetched."""
    path = constants.HF_HUB_CACHE
    try:
        found = scan_cache_dir(path)
    except CacheNotFound:
        return HubCache(path=path, size=0, models=())
    models = [
        StoredModel(name=each.repo_id, path=str(each.repo_path), size=each.size_on_disk)
        for each in found.repos
        if each.repo_type == "model"
    ]
    models.sort(key=lambda each: (-each.size, each.name))
    return HubCache(path=path, size=found.size_on_disk, models=tuple(models))


def zoo() -> tuple[StoredModel, ...]:
    """Gives the models that come with the package."""
    return tuple(
        StoredModel(name=name, path=str(folder), size=_size(folder))
        for name, folder in zoo_models().items()
    )


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
