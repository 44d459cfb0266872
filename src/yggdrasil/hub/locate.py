"""Finding a model: the model in the box, a folder, or a hub id."""

from __future__ import annotations

import os
from pathlib import Path

from yggdrasil.core.errors import ModelError, nearest
from yggdrasil.hub.library import FolderLibrary

__all__ = ["is_hub_id", "locate", "zoo_models"]

_ZOO = Path(__file__).parent.parent / "zoo"


def zoo_models() -> dict[str, Path]:
    """Gives the models that come with the package, by name (``zoo/shapes``)."""
    indexes = sorted(_ZOO.glob("*/model_index.json"))
    return {f"zoo/{path.parent.name}": path.parent for path in indexes}


def is_hub_id(model: str) -> bool:
    """Says whether ``locate`` would ask the hub for a model: it is neither a folder nor the zoo's.

    Args:
        model: As for ``locate``.
    """
    looks_like_id = model.count("/") == 1 and not model.startswith((".", "/", "~", "zoo/"))
    return looks_like_id and not Path(model).expanduser().is_dir()


def locate(
    model: str | os.PathLike[str], *, revision: str | None = None, variant: str | None = None
) -> FolderLibrary:
    """Opens a model.

    Args:
        model: A zoo name, a folder in Diffusers' layout, or a hub id ``organisation/name``.
        revision: A branch, tag or commit on the hub.
        variant: A variant of the weights, such as ``fp16``.

    Raises:
        ModelError: There is no such folder, or the hub does not give it (offline, gated, missing).
    """
    text = os.fspath(model)
    zoo = zoo_models()
    if text in zoo:
        return FolderLibrary.open(zoo[text], variant)
    if text.startswith("zoo/"):
        raise ModelError(f"The zoo has no model {text!r}.{nearest(text, zoo)}")
    if not is_hub_id(text):
        return FolderLibrary.open(Path(text).expanduser(), variant)
    return FolderLibrary.open(_download(text, revision=revision, variant=variant), variant)


def _download(model_id: str, *, revision: str | None, variant: str | None) -> Path:
    # Imported here: finding a local model needs no Diffusers.
    from diffusers import DiffusionPipeline  # noqa: PLC0415
    from huggingface_hub.errors import HfHubHTTPError  # noqa: PLC0415

    try:
        folder = DiffusionPipeline.download(
            model_id, revision=revision, variant=variant, use_safetensors=True
        )
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise ModelError(
            f"{model_id!r} is no folder here, and the hub did not give it: {error}. Check the "
            "name, your connection (HF_HUB_OFFLINE uses the cache alone), and for gated models "
            "that you are logged in and were granted access."
        ) from error
    return Path(folder)
