"""Making a picture again from what it carries."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import PIL.Image
import torch

from yggdrasil.core.errors import GraphFileError
from yggdrasil.core.executor import Observer
from yggdrasil.pipelines.components import blocks_of
from yggdrasil.pipelines.result import GenerationResult
from yggdrasil.pipelines.runner import Runner
from yggdrasil.pipelines.workflows.describing import (
    describe_machine,
    describe_weights,
    versions,
)
from yggdrasil.pipelines.workflows.opening import Opening, open_workflow
from yggdrasil.pipelines.workflows.pictures import Carried, pixels_hash, read_picture

__all__ = ["Rerun", "rerun"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rerun:
    """A picture that was made again.

    Attributes:
        picture: It.
        same: Whether it has the pixels that the first one had when it was made, to the bit.
        differences: What differs from then: weights, versions, the machine, and what no file holds.
        result: Of the whole call.
        index: The picture's place in it.
    """

    picture: PIL.Image.Image
    same: bool
    differences: tuple[str, ...]
    result: GenerationResult
    index: int


def rerun(
    path: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] | None = None,
    device: str | None = None,
    allow_download: bool = False,
    allow_changes: bool = False,
    observers: Sequence[Observer] = (),
    progress_bar: bool = True,
) -> Rerun:
    """Makes a picture again, bit for bit on the machine that made it.

    What the picture carries may come from anyone. It is data: it names blocks that are registered
    here, models, and inputs by their hashes. Nothing is fetched that was not allowed, and no code
    of the picture's is run.

    Args:
        path: A picture that ``result.save`` wrote.
        model: A model in place of the one that it names, or for one that was handed in as objects.
        device: A device in place of the one that it was made on.
        allow_download: Whether a model that is not on this machine may be fetched from the hub.
        allow_changes: Whether to go on where the picture, or what it carries, was changed since.
        observers: Listeners to calls and steps.
        progress_bar: Whether to show one.

    Raises:
        GraphFileError: The file carries no record, a damaged or changed one, or one that does not
            hold all that made the picture.
        ModelError: A model is not on this machine.
        InputError: It was made on a device that this machine does not have.
    """
    carried = read_picture(Path(path))
    if carried.changes and not allow_changes:
        raise GraphFileError(
            f"{path} was changed after it was written: {' and '.join(carried.changes)}. Nothing "
            "was run. To make what the record now says give --allow-changes (allow_changes=True)."
        )
    opening = Opening(
        model=None if model is None else os.fspath(model),
        device=device,
        allow_download=allow_download,
    )
    opened = open_workflow(carried.workflow, carried.store, source=str(path), opening=opening)
    runner = Runner(opened)
    runner.pipeline.set_progress_bar_config(disable=not progress_bar)
    result = runner.run({"output_type": "pil", "observers": observers})
    about = carried.workflow.picture
    assert about is not None  # noqa: S101 - reading the picture saw to it
    if about.index >= len(result.images):
        raise GraphFileError(
            f"{path} says that it is picture {about.index} of its call, which makes "
            f"{len(result.images)}."
        )
    picture = result.images[about.index]
    same = pixels_hash(picture) == about.pixels
    return Rerun(
        picture=picture,
        same=same,
        differences=tuple(_differences(carried, runner, device=opened.device, same=same)),
        result=result,
        index=about.index,
    )


def _differences(
    carried: Carried, runner: Runner, *, device: torch.device | None, same: bool
) -> list[str]:
    """Says what is not as it was when the picture was made."""
    then = carried.workflow
    now = describe_weights(dict(blocks_of(runner.pipeline.graph)))
    found = [
        f"the weights of {name} are others" for name in _unlike(then.weights, now) if name in now
    ]
    unknown = sorted(now.keys() - then.weights.keys())
    if unknown and not same:
        found.append(
            f"nothing is known of the weights that {', '.join(unknown)} had: the picture was saved "
            "when its pipeline was gone"
        )
    installed = versions()
    found += [
        f"{name} was {then.versions[name]} and is {installed.get(name, 'not installed')}"
        for name in _unlike(then.versions, installed)
    ]
    machine = describe_machine(device)
    if then.machine != machine:
        found.append(f"the machine was {then.machine} and is {machine}")
    if then.watched:
        found.append(
            f"{', '.join(then.watched)} listened to the run and may have changed it, which no "
            "file holds"
        )
    return found


def _unlike(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    return sorted(name for name in then if then[name] != now.get(name))
