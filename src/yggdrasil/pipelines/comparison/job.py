"""A request with what was found out about its model: what each side needs to open it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import torch

from yggdrasil.pipelines.comparison.arguments import made
from yggdrasil.pipelines.comparison.request import Request

__all__ = ["Job"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is to be run, as plain data.

    Attributes:
        request: The model and what was asked for.
        folder: Where the model lies.
        task: Of its graph, such as ``img2img``.
        pipeline: The class of Diffusers that the task stands for.
        call: The arguments of the call in plain form; see ``arguments.made``.
        seeded: Whether the call takes a generator.
        output_type: The form in which pictures are asked for; None where the call takes none.
        settings: Further arguments for loading Diffusers' pipeline.
        lacking: Components that the model has and the folder lacks, since the graph needs none.
        scheduler: Class and configuration of a scheduler in place of the model's own.
    """

    request: Request
    folder: str
    task: str
    pipeline: str
    call: Mapping[str, Any]
    seeded: bool = True
    output_type: str | None = "np"
    settings: Mapping[str, Any]
    lacking: tuple[str, ...] = ()
    scheduler: tuple[str, Mapping[str, Any]] | None = None

    @property
    def drawn(self) -> tuple[str, ...]:
        """The names of the arguments that are pictures drawn for this."""
        told = self.call.items()
        return tuple(name for name, each in told if isinstance(each, Mapping) and "drawn" in each)

    def arguments(self, further: int = 0) -> dict[str, Any]:
        """Gives the arguments of the call, and seeds what both sides draw from.

        That is the call's generator, and PyTorch's own where a pipeline hands on none.

        Args:
            further: Added to the seed, for repetitions.

        Raises:
            InputError: A file cannot be read.
        """
        call, seed = made(self.call), self.request.seed + further
        if self.seeded:
            call["generator"] = torch.Generator("cpu").manual_seed(seed)
        if self.output_type is not None:
            call["output_type"] = self.output_type
        torch.manual_seed(seed)
        return call

    def as_plain(self) -> dict[str, Any]:
        """Gives it as what JSON can say."""
        return asdict(self)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """Reads what ``as_plain`` gave, or what JSON made of it."""
        scheduler = plain["scheduler"]
        request = plain["request"]
        return cls(**{
            **plain,
            "request": Request(**{**request, "further": tuple(request["further"])}),
            "lacking": tuple(plain["lacking"]),
            "scheduler": None if scheduler is None else (scheduler[0], scheduler[1]),
        })  # fmt: skip
