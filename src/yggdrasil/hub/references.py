"""Names of models that a file may hold: written so that another process finds the same model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from yggdrasil.hub.addresses import address_of
from yggdrasil.hub.zoo_models import zoo_models

__all__ = ["ModelReference", "reference_to_file", "reference_to_folder", "store_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReference:
    """Which model something was made with.

    Attributes:
        name: Of the zoo or of the hub, a folder, a file, or the address of a file on the hub.
        revision: The commit on the hub.
        variant: Of the weights, such as ``fp16``.
        subfolder: The part of the model on the hub that holds the pipeline.
        config: For one file: the model whose configurations serve, if not those of the package.
        prediction_type: For one file: what the model predicts.
    """

    name: str
    revision: str | None = None
    variant: str | None = None
    subfolder: str | None = None
    config: str | None = None
    prediction_type: str | None = None


def reference_to_folder(root: Path, variant: str | None = None) -> ModelReference:
    """Names a model that was opened from a folder.

    Args:
        root: The folder: of the zoo, in the hub's cache (known by its layout), or another.
        variant: Of the weights.
    """
    root = root.resolve()
    for name, folder in zoo_models().items():
        if folder.resolve() == root:
            return ModelReference(name=name, variant=variant)
    for snapshot in (root, *root.parents):
        model = _model_of(snapshot)
        if model is not None:
            return ModelReference(
                name=model,
                revision=snapshot.name,
                variant=variant,
                subfolder=root.relative_to(snapshot).as_posix() if root != snapshot else None,
            )
    return ModelReference(name=str(root), variant=variant)


def reference_to_file(
    path: Path, *, config: ModelReference | None, prediction_type: str | None
) -> ModelReference:
    """Names a checkpoint of one file.

    Args:
        path: The file; one in the hub's cache is named by its address on the hub.
        config: The model whose configurations serve, if not those of the package.
        prediction_type: What the model predicts.
    """
    # Not resolved: in the cache of the hub it is a link to a file without a name.
    path = path.absolute()
    name = str(path)
    for snapshot in path.parents:
        model = _model_of(snapshot)
        if model is not None:
            name = address_of(model, path.relative_to(snapshot).as_posix(), snapshot.name)
    of_package = ModelReference(name=name, prediction_type=prediction_type)
    if config is None:
        return of_package
    at = "" if config.revision is None else f"@{config.revision}"
    return replace(of_package, config=f"{config.name}{at}")


def store_of(folder: Path) -> Path | None:
    """Gives the folder of a model in the hub's cache that a commit's files are links into.

    Args:
        folder: Of the commit, or one in it; any other has none.
    """
    for snapshot in (folder, *folder.parents):
        if _model_of(snapshot) is not None:
            return snapshot.parent.parent
    return None


def _model_of(snapshot: Path) -> str | None:
    """Gives the id of the model that a folder in the hub's cache is a commit of, if it is one."""
    held = snapshot.parent.parent.name
    if snapshot.parent.name != "snapshots" or not held.startswith("models--"):
        return None
    return held.removeprefix("models--").replace("--", "/")
