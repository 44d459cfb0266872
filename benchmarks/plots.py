"""The figures as pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

__all__ = ["draw"]

_COLOURS = {"diffusers": "#b7791f", "yggdrasil": "#2f7d4f", "uncached": "#7fb895"}
_NAMES = {"diffusers": "Diffusers", "yggdrasil": "YggDrasil", "uncached": "YggDrasil, no cache"}
# Without these a file differs each time it is made.
_METADATA = {"Date": None, "Creator": None}


def draw(figures: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draws overhead and engine as SVG.

    Args:
        figures: As ``python -m benchmarks`` writes them.
        folder: Where to.

    Returns:
        The files.
    """
    made = {
        "benchmarks-pipelines.svg": _pipelines(figures["pipelines"]),
        "benchmarks-engine.svg": _engine(figures["engine"]),
    }
    for name, figure in made.items():
        figure.savefig(folder / name, metadata=_METADATA, facecolor="white")
    return [folder / name for name in made]


def _pipelines(pipelines: Mapping[str, Any]) -> Figure:
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    plots = figure.subplots(1, 2)
    for plot, key, title in zip(
        plots,
        ("step_seconds", "call_seconds"),
        ("a step beyond the models, ms", "a call beyond models and steps, ms"),
        strict=True,
    ):
        for place, (side, name) in enumerate(_NAMES.items()):
            spreads = [sides[side][key] for sides in pipelines.values()]
            middle = [1e3 * each["median"] for each in spreads]
            below = [1e3 * (each["median"] - each["low"]) for each in spreads]
            above = [1e3 * (each["high"] - each["median"]) for each in spreads]
            at = [number + 0.27 * (place - 1) for number in range(len(spreads))]
            plot.bar(at, middle, 0.25, yerr=(below, above), color=_COLOURS[side], label=name)
        names = [name.removesuffix("Scheduler") for name in pipelines]
        plot.set_xticks(range(len(names)), names, rotation=25, ha="right", fontsize=7)
        plot.set_title(title, fontsize=9)
        plot.spines[["top", "right"]].set_visible(False)
    plots[0].legend(fontsize=7, frameon=False)
    return figure


def _engine(rows: list[Mapping[str, Any]]) -> Figure:
    figure = Figure(figsize=(6, 3.4), layout="constrained")
    plot = figure.subplots()
    colours = {"plan": "#9aa5b1", "first": "#b7791f", "cached": "#2f7d4f"}
    for shape, line in (("chain", "-"), ("tree", "--")):
        of_shape = [row for row in rows if row["shape"] == shape]
        sizes = [row["vertices"] for row in of_shape]
        for key, colour in colours.items():
            taken = [row["microseconds"][key] for row in of_shape]
            plot.plot(sizes, taken, line, color=colour, marker="o", ms=3, label=f"{shape}, {key}")
    plot.axhline(20, color="#b3261e", lw=0.8, ls=":")
    plot.set(xscale="log", xlabel="vertices", ylabel="microseconds a vertex", ylim=(0, None))
    plot.spines[["top", "right"]].set_visible(False)
    plot.legend(fontsize=7, frameon=False, ncols=2)
    return figure
