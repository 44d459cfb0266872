"""What a generating call gives back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from yggdrasil.pipelines.notebook import html_of_result

__all__ = ["GenerationResult"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationResult:
    """The result of a call of a pipeline.

    Attributes:
        images: In the form that ``output_type`` asked for; latents for ``latent``.
        latents: The solver's result ``b c h w``; None where the graph exposes none.
        metadata: What made it: template, task, inputs, seed, versions; ``stopped_after`` where
            an observer or Ctrl-C ended a loop before its time.
        outputs: Every output that was asked for, by name.
    """

    images: Any
    latents: Tensor | None
    metadata: Mapping[str, Any]
    outputs: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def nsfw_content_detected(self) -> list[bool] | None:
        """For each picture whether the model's safety checker held it back; None without one."""
        return self.outputs.get("nsfw_content_detected")

    def __iter__(self) -> Iterator[Any]:
        """Goes through the images."""
        return iter(self.images)

    def __len__(self) -> int:
        """Counts the images."""
        return len(self.images)

    def _repr_html_(self) -> str:
        """Shows the pictures, small, in a notebook."""
        return html_of_result(self.images, self.metadata)
