"""What the figures must keep to; a line of data for each bound."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["BOUNDS", "Bound", "Found"]

Figures = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A figure beside its bound.

    Attributes:
        name: What it is of.
        value: The figure.
        limit: The bound.
        kept: Whether it keeps to it.
    """

    name: str
    value: float
    limit: float
    kept: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """A limit, and the figures that must keep to it.

    Attributes:
        name: What is bounded.
        limit: The bound.
        read: Gives the figures by name.
        at_least: Whether the limit is a lower one.
        form: How a figure is written.
    """

    name: str
    limit: float
    read: Callable[[Figures], Iterator[tuple[str, float]]]
    at_least: bool = False
    form: str = ".3f"

    def of(self, figures: Figures) -> list[Found]:
        """Holds every figure against the bound."""
        return [
            Found(
                name=name,
                value=value,
                limit=self.limit,
                kept=value >= self.limit if self.at_least else value <= self.limit,
            )
            for name, value in self.read(figures)
        ]


def _pipelines(key: str, part: str, factor: float = 1.0) -> Callable[[Figures], Iterator[Any]]:
    """Reads a figure of both forms of YggDrasil's pipeline with every scheduler."""

    def read(figures: Figures) -> Iterator[tuple[str, float]]:
        for scheduler, sides in figures["pipelines"].items():
            for side in ("yggdrasil", "uncached"):
                yield f"{scheduler}, {side}", factor * sides[side][key][part]

    return read


def _engine(key: str) -> Callable[[Figures], Iterator[Any]]:
    def read(figures: Figures) -> Iterator[tuple[str, float]]:
        for row in figures["engine"]:
            yield f"{row['shape']} of {row['vertices']}", row["microseconds"][key]

    return read


def _hundred(figures: Figures) -> Iterator[tuple[str, float]]:
    for row in figures["engine"]:
        if 90 <= row["vertices"] <= 110:
            yield f"{row['shape']} of {row['vertices']}", 1e3 * row["cached_seconds"]


def _growth(figures: Figures) -> Iterator[tuple[str, float]]:
    """Reads by how much a vertex costs more in the largest graph than in one of a hundred."""
    for shape in ("chain", "tree"):
        rows = sorted(
            (row for row in figures["engine"] if row["shape"] == shape and row["vertices"] >= 90),
            key=lambda row: row["vertices"],
        )
        for key in ("first", "cached"):
            small, large = (row["microseconds"][key] for row in (rows[0], rows[-1]))
            yield f"{shape}, {key}", large / small


def _memory(figures: Figures) -> Iterator[tuple[str, float]]:
    for row in figures["memory"]:
        yield f"{row['millions']:.0f} million parameters", row["ratio"]["high"]


def _imports(figures: Figures) -> Iterator[tuple[str, float]]:
    yield "import yggdrasil", figures["imports"]["ratio"]["low"]


BOUNDS = (
    Bound(
        name="processor time of a call against Diffusers, upper end of the interval",
        limit=1.02,
        read=_pipelines("image_processor_ratio", "high"),
    ),
    Bound(
        name="time of a call against Diffusers by the clock, upper end of the interval",
        limit=1.02,
        read=_pipelines("image_wall_ratio", "high"),
    ),
    Bound(
        name="a step beyond the models against Diffusers",
        limit=1.0,
        read=_pipelines("step_ratio", "median"),
    ),
    Bound(
        name="a step beyond the models, ms (aim)",
        limit=0.10,
        read=_pipelines("step_seconds", "median", 1e3),
    ),
    Bound(name="memory against Diffusers, upper end of the interval", limit=1.02, read=_memory),
    Bound(
        name="engine, first run, microseconds a vertex",
        limit=20.0,
        read=_engine("first"),
        form=".1f",
    ),
    Bound(
        name="engine, everything cached, microseconds a vertex",
        limit=20.0,
        read=_engine("cached"),
        form=".1f",
    ),
    Bound(name="a hundred vertices, everything cached, ms", limit=2.0, read=_hundred, form=".2f"),
    Bound(
        name="a vertex of the largest graph against one of a hundred",
        limit=1.5,
        read=_growth,
        form=".2f",
    ),
    Bound(
        name="import, how often faster than the pipeline of Diffusers, lower end",
        limit=15.0,
        read=_imports,
        at_least=True,
        form=".0f",
    ),
)
"""In the order of the table."""
