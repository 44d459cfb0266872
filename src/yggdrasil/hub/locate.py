"""Finding a model: the model in the box, a folder, a file, or on the hub."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path, PurePosixPath

from yggdrasil.core.errors import ModelError, nearest
from yggdrasil.core.template_sources import template_names
from yggdrasil.hub.access import HubOptions
from yggdrasil.hub.addresses import FileAddress, address_of, is_address, read_address
from yggdrasil.hub.checkpoint import CheckpointLibrary, is_checkpoint, open_checkpoint
from yggdrasil.hub.library import GRAPH, INDEX, FolderLibrary
from yggdrasil.hub.lone import CONFIG, LoneLibrary, is_lone
from yggdrasil.hub.registry import MODEL_REGISTRY
from yggdrasil.hub.snapshot import Snapshot, open_snapshot
from yggdrasil.hub.zoo_models import zoo_models

__all__ = ["is_hub_id", "locate", "locate_checkpoint", "locate_part", "zoo_name"]


def zoo_name(model: str) -> str | None:
    """Gives the name of the zoo's model that is meant, or None.

    Args:
        model: As for ``locate``; ``shapes`` is ``zoo/shapes`` unless there is a folder of the name.
    """
    zoo = zoo_models()
    if model in zoo:
        return model
    short = f"zoo/{model}"
    return short if short in zoo and not Path(model).is_dir() else None


def is_hub_id(model: str) -> bool:
    """Says whether ``locate`` would ask the hub for a model: it is nothing on this machine.

    Args:
        model: As for ``locate``.
    """
    if is_address(model):
        return True
    name = model.partition("@")[0]
    looks_like_id = name.count("/") == 1 and not name.startswith((".", "/", "~", "zoo/"))
    return looks_like_id and not is_checkpoint(name) and not Path(model).expanduser().is_dir()


def locate(
    model: str | os.PathLike[str],
    *,
    revision: str | None = None,
    variant: str | None = None,
    subfolder: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
) -> FolderLibrary | CheckpointLibrary:
    """Opens a model. Of one on the hub, files are fetched when components are asked for.

    Args:
        model: A zoo name (``zoo/shapes``, in short ``shapes``), a folder in Diffusers' layout, a
            ``.safetensors`` file, the address of such a file on the hub, or a hub id
            ``organisation/name``, if need be with ``@revision``.
        revision: A branch, tag or commit on the hub.
        variant: A variant of the weights, such as ``fp16``.
        subfolder: The part of the folder, or of the model on the hub, that holds the pipeline.
        token: Of an account of the hub; the one that is logged in or in ``HF_TOKEN`` unless given.
        cache_dir: Where files of the hub are kept; the hub's usual cache unless given.
        local_files_only: Whether to read the cache alone.

    Raises:
        ModelError: There is no such folder or file, the hub does not give it (offline, gated,
            missing), or an argument has no meaning for it.
    """
    given: object = model  # in a program without types it may be anything
    if not isinstance(given, str | os.PathLike) or not os.fspath(given):
        raise ModelError(
            f"The model is {model!r}: give a folder, a .safetensors file, a zoo name or a hub id."
        )
    text = os.fspath(model)
    if is_address(text) or _is_file(text):
        return locate_checkpoint(
            text,
            variant=variant,
            subfolder=subfolder,
            revision=revision,
            token=token,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
        )
    if is_hub_id(text):
        options = HubOptions(
            revision=revision, token=token, cache_dir=cache_dir, local_files_only=local_files_only
        )
        return _open_remote(text, variant, subfolder, options)
    _refuse(text, "is on this machine", revision=revision)
    return FolderLibrary.open(_folder(text, subfolder), variant)


def locate_part(model: str) -> FolderLibrary | CheckpointLibrary | LoneLibrary:
    """Opens a model that a node is filled from: a pipeline, or one component by itself.

    Args:
        model: As for ``locate``; or a folder or model of the hub with ``config.json`` and weights,
            such as a published ControlNet.

    Raises:
        ModelError: As for ``locate``.
    """
    folder = Path(model).expanduser()
    if is_lone(folder):
        return LoneLibrary(folder)
    if is_hub_id(model) and not is_address(model):
        snapshot = _snapshot_of(model, "", HubOptions())
        if not (snapshot.root / INDEX).is_file() and CONFIG in snapshot.files:
            return LoneLibrary(snapshot.root, snapshot)
    return locate(model)


def locate_checkpoint(
    file: str | os.PathLike[str],
    *,
    config: str | os.PathLike[str] | None = None,
    prediction_type: str | None = None,
    variant: str | None = None,
    subfolder: str | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
) -> CheckpointLibrary:
    """Opens a whole model in one safetensors file.

    Args:
        file: Its path, or its address on the hub: ``https://huggingface.co/organisation/name/
            blob/main/model.safetensors``.
        config: A folder or hub id of a model of the same family, whose configurations and tokenizer
            serve; those that come with the package unless given.
        prediction_type: What the model predicts, such as ``v_prediction``; what the file or its
            family says unless given.
        variant: Refused, since a file has one.
        subfolder: Refused, since a file has none.
        revision: As for ``locate``.
        token: As for ``locate``.
        cache_dir: As for ``locate``.
        local_files_only: As for ``locate``.

    Raises:
        ModelError: There is no such file, it is damaged, pickled, or of a family that is not known,
            or an argument has no meaning for it.
    """
    options = HubOptions(
        revision=revision, token=token, cache_dir=cache_dir, local_files_only=local_files_only
    )
    text = os.fspath(file)
    _refuse(text, "is one file", variant=variant, subfolder=subfolder)
    if is_address(text):
        path = _fetch_file(read_address(text), options)
    else:
        _refuse(text, "is on this machine", revision=options.revision)
        path = Path(text).expanduser()
    library = None
    if config is not None:
        library = _configurations(os.fspath(config), options)
    return open_checkpoint(path, config=library, prediction_type=prediction_type, options=options)


def _configurations(text: str, options: HubOptions) -> FolderLibrary:
    if is_address(text) or _is_file(text):
        raise ModelError(
            f"config is {text!r}, which is one file: give a folder or hub id with model_index.json "
            "and the configurations of the components."
        )
    if is_hub_id(text):
        return _open_remote(text, None, None, replace(options, revision=None))
    return FolderLibrary.open(_folder(text, None))


def _is_file(text: str) -> bool:
    return is_checkpoint(text) and not Path(text).expanduser().is_dir()


def _folder(text: str, subfolder: str | None) -> Path:
    zoo, name = zoo_models(), zoo_name(text)
    if text.startswith("zoo/") and name is None:
        raise ModelError(f"The zoo has no model {text!r}.{nearest(text, zoo)}")
    folder = Path(text).expanduser() if name is None else zoo[name]
    if text == folder.name and not folder.exists():  # one word
        here = [path.name for path in Path().iterdir() if path.is_dir()]
        short = [each.removeprefix("zoo/") for each in zoo]
        raise ModelError(
            f"There is no folder {text!r} and no model of the zoo that is called so. A model of "
            f"the hub is organisation/name.{_as_template(text)}"
            f"{nearest(text, [*short, *here], list_others=False)}"
        )
    return folder / _inside(subfolder)


def _as_template(text: str) -> str:
    """Says what to do with the name of a template, which is none of a model."""
    if text not in template_names():
        return ""
    return f" {text!r} is a template: from_template({text!r}, pretrained=<the model>)."


def _open_remote(
    text: str, variant: str | None, subfolder: str | None, options: HubOptions
) -> FolderLibrary:
    part = _inside(subfolder)
    snapshot = _snapshot_of(text, part, options)
    if not (snapshot.root / INDEX).is_file():
        raise ModelError(_no_pipeline(snapshot, part))
    return FolderLibrary.open(snapshot.root, variant, snapshot)


def _snapshot_of(text: str, part: str, options: HubOptions) -> Snapshot:
    name, _, at = text.partition("@")
    if at and options.revision not in (None, at):
        raise ModelError(f"{text!r} says the revision {at!r}, and revision={options.revision!r}.")
    if at:
        options = replace(options, revision=at)
    return open_snapshot(name, INDEX, also=[GRAPH, CONFIG], subfolder=part, options=options)


def _no_pipeline(snapshot: Snapshot, part: str) -> str:
    files = sorted(snapshot.files)
    where = f" in {part!r}" if part else ""
    more = ", ..." if len(files) > 8 else ""
    single = [address_of(snapshot.model, file) for file in files if is_checkpoint(file)]
    way = f" For a checkpoint of one file give {single[0]!r}." if single else ""
    entry = MODEL_REGISTRY.find(snapshot.model)
    if entry is not None and entry.component is not None:
        way = f" The registry has it as {entry.about} ({entry.component})."
    return (
        f"{snapshot.describe()} has no {INDEX}{where}, so it is not a pipeline in Diffusers' "
        f"layout; it has {', '.join(files[:8]) or 'nothing'}{more}.{way}"
    )


def _fetch_file(address: FileAddress, options: HubOptions) -> Path:
    if options.revision not in (None, address.revision):
        raise ModelError(
            f"The address says the revision {address.revision!r}, and "
            f"revision={options.revision!r}: give one."
        )
    if not is_checkpoint(address.file):
        raise ModelError(f"{address.file!r} of {address.model!r} is no .safetensors file.")
    options = replace(options, revision=address.revision)
    snapshot = open_snapshot(address.model, address.file, options=options)
    path = snapshot.root / address.file
    if not path.is_file():
        near = [name for name in snapshot.files if is_checkpoint(name)]
        raise ModelError(
            f"{snapshot.describe()} has no file {address.file!r}.{nearest(address.file, near)}"
        )
    return path


def _inside(subfolder: str | None) -> str:
    """Gives a subfolder as a path that stays inside.

    Raises:
        ModelError: It leads out.
    """
    path = PurePosixPath(subfolder or "")
    if path.is_absolute() or ".." in path.parts or "\\" in str(path):
        raise ModelError(f"subfolder is {subfolder!r}, which leads out of the model.")
    return "" if str(path) == "." else str(path)


def _refuse(model: str, why: str, **given: str | None) -> None:
    """Refuses arguments that would be read by nothing.

    Raises:
        ModelError: One is given.
    """
    for name, value in given.items():
        if value is not None:
            raise ModelError(f"{model} {why}: {name}={value!r} means nothing there. Leave it out.")
