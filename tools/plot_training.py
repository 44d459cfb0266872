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
    """Draws one panel for each phase's loss and one for adherence."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("picture", type=Path)
    options = parser.parse_args()
    phases = sorted(options.run.glob("*/metrics.jsonl"), key=lambda path: path.stat().st_mtime)
    measured = [(path, read(path.parent / "adherence.jsonl")) for path in phases]
    panels = len(phases) + sum(bool(rows) for _, rows in measured)
    figure, axes = plt.subplots(1, panels, figsize=(5 * panels, 3.6), squeeze=False)
    places = iter(axes[0])
    for path, rows in measured:
        axis, losses = next(places), read(path)
        axis.plot([r["step"] for r in losses], smooth([r["loss"] for r in losses]), lw=1)
        axis.set(title=f"{path.parent.name}: loss", xlabel="step", yscale="log")
        axis.grid(alpha=0.3)
        if rows:
            axis = next(places)
            for name, style in (("seen", "-"), ("kept_out", "--")):
                for part, color in (("right", "black"), ("shape", "C0"), ("position", "C1")):
                    axis.plot(
                        [r["step"] for r in rows],
                        [100 * r[name][part] for r in rows],
                        style,
                        color=color,
                        label=f"{part}, {name.replace('_', ' ')}",
                    )
            axis.set(title="prompt adherence, %", xlabel="step", ylim=(0, 100))
            axis.legend(fontsize=7)
            axis.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(options.picture, dpi=110)


if __name__ == "__main__":
    main()
