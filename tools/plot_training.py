"""Draws the curves of a recipe's run: loss, and prompt adherence where it was measured.

python tools/plot_training.py runs/shapes docs/shapes_training.png
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

_COLUMNS = 3


def read(path: Path) -> list[dict[str, Any]]:
    """Reads a file of JSON lines; later lines of a step replace earlier ones (a resumed run)."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    by_step = {row["step"]: row for row in map(json.loads, lines)}
    return [by_step[step] for step in sorted(by_step)]


def smooth(values: list[float], span: int = 20) -> list[float]:
    """Gives running means."""
    return [
        sum(values[max(0, i - span + 1) : i + 1]) / min(i + 1, span) for i in range(len(values))
    ]


def main() -> None:
    """Draws a panel for each phase's loss, and one for adherence over all phases."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("picture", type=Path)
    options = parser.parse_args()
    phases = sorted(options.run.glob("*/metrics.jsonl"), key=lambda path: path.stat().st_mtime)
    adherence, ends = joined(phases)
    panels = len(phases) + bool(adherence)
    rows = -(-panels // _COLUMNS)
    figure, axes = plt.subplots(rows, _COLUMNS, figsize=(4 * _COLUMNS, 3.2 * rows), squeeze=False)
    for axis in axes.flat[panels:]:
        axis.set_visible(False)
    for axis, path in zip(axes.flat, phases, strict=False):
        losses = read(path)
        axis.plot([r["step"] for r in losses], smooth([r["loss"] for r in losses]), lw=1)
        axis.set(title=f"{path.parent.name}: loss", xlabel="step", yscale="log")
        axis.grid(alpha=0.3, which="both")
    if adherence:
        plot_adherence(axes.flat[panels - 1], adherence, ends)
    figure.tight_layout()
    figure.savefig(options.picture, dpi=90)


def joined(phases: list[Path]) -> tuple[list[dict[str, Any]], list[int]]:
    """Gives the measurements of all phases by steps in all, and where phases end."""
    found: list[dict[str, Any]] = []
    ends: list[int] = []
    before = 0
    for path in phases:
        rows = read(path.parent / "adherence.jsonl")
        if rows:
            found.extend({**row, "step": row["step"] + before} for row in rows)
            before += read(path)[-1]["step"]
            ends.append(before)
    return found, ends


def plot_adherence(axis: Any, rows: list[dict[str, Any]], ends: list[int]) -> None:
    """Draws shares of pictures that are right, by combinations seen and kept out."""
    steps = [row["step"] for row in rows]
    for name, style in (("seen", "-"), ("kept_out", "--")):
        for part, color in (("right", "black"), ("shape", "C0"), ("color", "C3")):
            label = f"{part}, {name.replace('_', ' ')}"
            shares = [100 * row[name][part] for row in rows]
            axis.plot(steps, shares, style, color=color, label=label, lw=1)
    for end in ends[:-1]:
        axis.axvline(end, color="gray", lw=0.8, ls=":")
    axis.set(title="prompt adherence, %", xlabel="step of diffusion", ylim=(0, 101))
    axis.legend(fontsize=7, loc="lower right")
    axis.grid(alpha=0.3)


if __name__ == "__main__":
    main()
