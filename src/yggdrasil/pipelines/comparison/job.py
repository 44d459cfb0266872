"""A request with what was found out about its model: what each side needs to open it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from yggdrasil.pipelines.comparison.request import Request

__all__ = ["Job"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is to be run, as plain data.

    Attributes:
        request: The call.
        folder: Where the model lies.
        lacking: Components that the model has and the folder lacks, since the graph needs none.
        task: Of its template, such as ``img2img``.
        pipeline: The class of Diffusers that the task stands for.
        scheduler: Class and configuration of a scheduler in place of the model's own.
    """

    request: Request
    folder: str
    task: str
    pipeline: str
    lacking: tuple[str, ...] = ()
    scheduler: tuple[str, Mapping[str, Any]] | None = None

    def as_plain(self) -> dict[str, Any]:
        """Gives it as what JSON can say."""
        return asdict(self)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """Reads what ``as_plain`` gave, or what JSON made of it."""
        scheduler = plain["scheduler"]
        return cls(
            request=Request(**plain["request"]),
            folder=plain["folder"],
            task=plain["task"],
            pipeline=plain["pipeline"],
            lacking=tuple(plain["lacking"]),
            scheduler=None if scheduler is None else (scheduler[0], scheduler[1]),
        )
