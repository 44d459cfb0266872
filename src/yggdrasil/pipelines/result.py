"""What a generating call gives back."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from torch import Tensor

from yggdrasil.core.errors import InputError
from yggdrasil.pipelines.notebook import html_of_result
from yggdrasil.pipelines.workflows.origin import Origin
from yggdrasil.pipelines.workflows.stores import PictureStore

__all__ = ["GenerationResult"]

_log = logging.getLogger("yggdrasil")


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationResult:
    """The result of a call of a pipeline.

    Attributes:
        images: In the form that ``output_type`` asked for; latents for ``latent``.
        latents: The solver's result ``b c h w``; None where the graph exposes none.
        metadata: What made it: template, task, inputs, seed, versions; ``stopped_after`` where
            an observer or Ctrl-C ended a loop before its time.
        outputs: Every output that was asked for, by name.
        origin: What ``save`` writes into the files: the call, as it was before it ran.
    """

    images: Any
    latents: Tensor | None
    metadata: Mapping[str, Any]
    outputs: Mapping[str, Any] = field(default_factory=dict, repr=False)
    origin: Origin | None = field(default=None, repr=False)

    @property
    def nsfw_content_detected(self) -> list[bool] | None:
        """For each picture whether the model's safety checker held it back; None without one."""
        return self.outputs.get("nsfw_content_detected")

    def save(
        self, path: str | os.PathLike[str], *, index: int | None = None, record: bool = True
    ) -> list[Path]:
        """Writes the pictures; each carries the graph and the inputs that made it.

        ``yggdrasil rerun`` makes them again from that, to the bit. Inputs of up to 1 MB in all lie
        inside, larger ones in the folder ``yggdrasil-inputs`` beside the pictures. Weights are
        named, not written, and told apart by what they are now: save while the pipeline is there,
        and before you train on.

        Args:
            path: Ends in ``.png`` or ``.webp`` (both without loss) or ``.jpg``. Several pictures
                get a number each: ``cat-0.png``, ``cat-1.png``.
            index: Write the picture at this place alone.
            record: False writes pictures that carry nothing.

        Returns:
            The files.

        Raises:
            InputError: There are no pictures, or the name ends otherwise.
        """
        # What checks records takes megabytes, and most results are never saved.
        from yggdrasil.pipelines.workflows.pictures import write_picture  # noqa: PLC0415

        pictures = dict(enumerate(_as_pil(self.images)))
        if index is not None:
            if index not in pictures:
                raise InputError(f"index is {index}, and there are {len(pictures)} pictures.")
            pictures = {index: pictures[index]}
        stem = Path(path)
        alone = len(pictures) == 1
        paths = {
            place: stem if alone else stem.with_stem(f"{stem.stem}-{place}") for place in pictures
        }
        workflow, store = None, PictureStore()
        if record and self.origin is not None:
            workflow, store = self.origin.tell()
            for name, reason in workflow.lost.items():
                _log.warning("%s cannot be made again: %s: %s", stem, name, reason)
        for place, picture in pictures.items():
            write_picture(paths[place], picture, workflow, store, index=place)
        return [*paths.values()]

    def __iter__(self) -> Iterator[Any]:
        """Goes through the images."""
        return iter(self.images)

    def __len__(self) -> int:
        """Counts the images."""
        return len(self.images)

    def _repr_html_(self) -> str:
        """Shows the pictures, small, in a notebook."""
        return html_of_result(self.images, self.metadata)


def _as_pil(images: Any) -> list[PIL.Image.Image]:
    """Gives pictures as PIL pictures, rounded as Diffusers rounds them.

    Raises:
        InputError: They are latents.
    """
    if isinstance(images, list) and all(isinstance(each, PIL.Image.Image) for each in images):
        return images
    array = images
    if isinstance(images, Tensor):
        array = images.detach().cpu().permute(0, 2, 3, 1).float().numpy()
    if not isinstance(array, np.ndarray) or array.ndim != 4 or array.shape[-1] not in (1, 3):
        raise InputError(
            f"The result holds no pictures but {type(images).__name__} of shape "
            f"{list(getattr(images, 'shape', []))}: call without output_type='latent'."
        )
    return [PIL.Image.fromarray(each) for each in (array * 255).round().astype("uint8")]
