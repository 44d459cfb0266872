"""Names of models that a file may hold: written so that another process finds the same model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import try_to_load_from_cache
from huggingface_hub.errors import HFValidationError

from yggdrasil.core.errors import ModelError
from yggdrasil.hub.library import FolderLibrary
from yggdrasil.hub.locate import is_hub_id, locate, zoo_models

__all__ = ["ModelReference", "open_reference", "reference_to"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReference:
    """Which model something was made with.

    Attributes:
        name: Of the zoo or of the hub, or a folder.
        revision: The commit on the hub.
        variant: Of the weights, such as ``fp16``.
    """

    name: str
    revision: str | None = None
    variant: str | None = None


def reference_to(root: Path, variant: str | None = None) -> ModelReference:
    """Names a model that was opened from a folder.

    Args:
        root: The folder: of the zoo, in the hub's cache (known by its layout), or another.
        variant: Of the weights.
    """
    root = root.resolve()
    for name, folder in zoo_models().items():
        if folder.resolve() == root:
            return ModelReference(name=name, variant=variant)
    held = root.parent.parent.name
    if root.parent.name == "snapshots" and held.startswith("models--"):
        name = held.removeprefix("models--").replace("--", "/")
        return ModelReference(name=name, revision=root.name, variant=variant)
    return ModelReference(name=str(root), variant=variant)


def open_reference(
    reference: ModelReference, *, base: Path | None = None, allow_download: bool = False
) -> FolderLibrary:
    """Opens the model that a file names, and fetches nothing unasked.

    Args:
        reference: The name.
        base: What a name that begins with a dot is relative to; without it such a name is refused.
        allow_download: Whether a model of the hub that is not in its cache may be fetched.

    Raises:
        ModelError: The model is not on this machine, or the name is none that is opened.
    """
    name = reference.name
    if name.startswith(("//", "\\\\")):
        raise ModelError(f"The model {name!r} lies on another machine; copy it to this one.")
    if name.startswith("."):
        if base is None:
            raise ModelError(f"The model {name!r} is named by a path that is relative to nothing.")
        name = str(base / name)
    if not is_hub_id(name):
        return locate(name, variant=reference.variant)
    cached = _in_cache(reference)
    if cached is not None:
        return FolderLibrary.open(cached, reference.variant)
    if allow_download:
        return locate(name, revision=reference.revision, variant=reference.variant)
    at = "" if reference.revision is None else f" at revision {reference.revision}"
    raise ModelError(
        f"The model {name!r}{at} is not on this machine, and nothing is fetched unasked. To fetch "
        "it from the hub give --allow-download (allow_download=True); to use a copy, "
        "--model FOLDER (model=...)."
    )


def _in_cache(reference: ModelReference) -> Path | None:
    """Gives the folder of a model in the hub's cache, without asking the hub."""
    revision = reference.revision
    if revision is not None and ".." in revision.split("/"):
        raise ModelError(f"The model {reference.name!r} has no revision {revision!r}.")
    try:
        index = try_to_load_from_cache(reference.name, "model_index.json", revision=revision)
    except HFValidationError as error:
        raise ModelError(
            f"The model {reference.name!r} is neither a folder here nor a name of the hub: {error}"
        ) from error
    return Path(index).parent if isinstance(index, str) else None
