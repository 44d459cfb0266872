"""Opening the models that a file names, without fetching anything unasked."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from yggdrasil.core.errors import ModelError
from yggdrasil.hub.access import HubOptions
from yggdrasil.hub.addresses import is_address
from yggdrasil.hub.checkpoint import CheckpointLibrary, is_checkpoint
from yggdrasil.hub.library import FolderLibrary
from yggdrasil.hub.locate import is_hub_id, locate, locate_checkpoint
from yggdrasil.hub.lone import is_lone
from yggdrasil.hub.references import ModelReference
from yggdrasil.hub.single_files import HubFiles

__all__ = ["files_of_others", "lone_folder", "open_reference"]

_SLASHES = ("/", "\\")


def open_reference(
    reference: ModelReference, *, base: Path | None = None, allow_download: bool = False
) -> FolderLibrary | CheckpointLibrary:
    """Opens the model that a file names, and fetches nothing unasked.

    Args:
        reference: The name, which anyone may have written.
        base: What a name that begins with a dot is relative to; without it such a name is refused.
        allow_download: Whether what is not in the hub's cache may be fetched.

    Raises:
        ModelError: The model is not on this machine, or the name is none that is opened.
    """
    name = _from(base, reference.name)
    config = None if reference.config is None else _from(base, reference.config)
    try:
        return _open(name, config, reference, local_files_only=not allow_download)
    except (OSError, RuntimeError) as error:  # a name too long for the system, or of no user here
        raise ModelError(f"{name[:80]!r} cannot be the name of a model: {error}"[:200]) from error


def lone_folder(name: str, *, base: Path | None = None) -> str | None:
    """Gives the folder that a file names, where it holds one component and no pipeline.

    Args:
        name: Which anyone may have written.
        base: What a name that begins with a dot is relative to.

    Raises:
        ModelError: The name is none that is opened.
    """
    found = _from(base, name)
    if is_address(found) or is_hub_id(found):
        return None
    folder = Path(found).expanduser()
    return str(folder) if is_lone(folder) else None


def files_of_others(
    names: Iterable[str], *, base: Path | None = None, allow_download: bool = False
) -> HubFiles:
    """Gives what finds the single files that a file names, and fetches nothing unasked.

    Args:
        names: What is named, by anyone.
        base: As for ``open_reference``.
        allow_download: As for ``open_reference``.

    Raises:
        ModelError: A name leads to another machine.
    """
    for name in names:
        _from(base or Path(), name)
    if allow_download:
        return HubFiles()
    return HubFiles(HubOptions(local_files_only=True), unasked=True)


def _open(
    name: str, config: str | None, reference: ModelReference, *, local_files_only: bool
) -> FolderLibrary | CheckpointLibrary:
    remote = is_address(name) or is_hub_id(name) or (config is not None and is_hub_id(config))
    try:
        if is_address(name) or is_checkpoint(name):
            return locate_checkpoint(
                name,
                config=config,
                prediction_type=reference.prediction_type,
                local_files_only=local_files_only,
            )
        return locate(
            name,
            revision=reference.revision if remote else None,
            variant=reference.variant,
            subfolder=reference.subfolder,
            local_files_only=local_files_only,
        )
    except ModelError as error:
        if not local_files_only or not remote:
            raise
        at = "" if reference.revision is None else f" at revision {reference.revision}"
        raise ModelError(
            f"The model {name!r}{at} is not on this machine, and nothing is fetched unasked. To "
            "fetch it from the hub give --allow-download (allow_download=True); to use a copy, "
            f"--model FOLDER (model=...). In detail: {error}"
        ) from error


def _from(base: Path | None, name: str) -> str:
    """Gives a name as this machine finds it.

    Raises:
        ModelError: It leads to another machine, out of the hub's cache, or from nowhere.
    """
    if name[:1] in _SLASHES and name[1:2] in _SLASHES:  # Windows takes them mixed
        raise ModelError(f"The model {name!r} lies on another machine; copy it to this one.")
    if not name.startswith("."):
        return name
    if base is None:
        raise ModelError(f"The model {name!r} is named by a path that is relative to nothing.")
    return str(base / name)
