"""The report page: one file that needs nothing else, for the eyes."""

from __future__ import annotations

import base64
import importlib.resources
import io
from collections.abc import Mapping
from dataclasses import asdict
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yggdrasil.pipelines.comparison.pictures import amplified, as_picture
from yggdrasil.pipelines.comparison.result import Comparison
from yggdrasil.pipelines.comparison.spread import Spread

__all__ = ["write_page"]

# Below this width a picture's pixels are shown as squares, not smoothed away.
_SMALL = 256
_MEBIBYTE = 2**20
_ASKED = ("model", "seed", "solver", "dtype", "device")


def write_page(comparison: Comparison, path: Path) -> None:
    """Writes the report of a comparison as HTML; pictures are inside, nothing is fetched.

    Args:
        comparison: What was found.
        path: The file; its folder is made if it does not exist.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_page(comparison), encoding="utf-8")


def _page(comparison: Comparison) -> str:
    page = importlib.resources.files(__package__).joinpath("page.html")
    request, job = comparison.job.request, comparison.job
    verdict, reason = comparison.verdict()
    shared = "the same modules" if comparison.shared else "modules of their own"
    count = comparison.wall.ratio.count
    small = comparison.ours is not None and comparison.ours.shape[1] <= _SMALL
    # What stands in the page was text of somebody's: each piece is escaped where it is put in.
    return Template(page.read_text(encoding="utf-8")).substitute(
        title=escape(f"YggDrasil beside Diffusers: {request.model}"),
        model=escape(request.model),
        task=escape(job.task),
        prompt=_prompt(comparison),
        outcome="passed" if comparison.passed else "failed",
        verdict=escape(verdict),
        reason=escape(reason),
        rendering="pixelated" if small else "auto",
        pictures=_pictures(comparison),
        figures=_figures(comparison),
        costs=_costs(comparison),
        call=_table(_call(comparison)),
        versions=_table(comparison.versions),
        footer=escape(
            f"Both ran on {shared}; times are of {count} {'call' if count == 1 else 'calls'} each, "
            "taken in turn, with nothing kept between them."
        ),
    )


def _prompt(comparison: Comparison) -> str:
    prompt = comparison.job.call.get("prompt")
    return "" if prompt is None else f": <q>{escape(str(prompt))}</q>"


def _pictures(comparison: Comparison) -> str:
    if comparison.ours is None or comparison.theirs is None:
        return ""
    apart, factor = amplified(comparison.ours, comparison.theirs)
    is_none = factor == 1.0 and not apart.any()
    shown = (
        ("YggDrasil", comparison.ours, ""),
        (f"Diffusers {comparison.versions['diffusers']}", comparison.theirs, ""),
        ("Difference", apart, "none" if is_none else f"amplified × {factor:,.0f}"),
    )
    figures = "".join(_figure(name, values, note) for name, values, note in shown)
    return f'<h2>Pictures</h2>\n<div class="row">{figures}</div>\n'


def _figure(name: str, values: NDArray[np.floating], note: str) -> str:
    buffer = io.BytesIO()
    as_picture(values).save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    height, width = values.shape[:2]
    return (
        f'<figure><img src="data:image/png;base64,{data}" alt="{escape(name)}" '
        f'width="{width}" height="{height}"><figcaption>{escape(name)}'
        f"<small>{escape(note)}</small></figcaption></figure>"
    )


def _figures(comparison: Comparison) -> str:
    shown = comparison.likeness.as_text()
    return "".join(
        f'<div class="card"><small>{escape(name)}</small><b>{escape(value)}</b></div>'
        for name, value in shown.items()
    )


def _costs(comparison: Comparison) -> str:
    parts = []
    for name, times in (("Time", comparison.wall), ("Processor time", comparison.processor)):
        bars = ((times.ours.median, _seconds(times.ours)), (times.theirs.median,
                                                             _seconds(times.theirs)))  # fmt: skip
        ratio = times.ratio
        told = f"{ratio.median:.3f} × Diffusers ({ratio.low:.3f} to {ratio.high:.3f})"
        parts.append(_cost(name, told, bars))
    if comparison.memory is not None:
        memory = comparison.memory
        held = tuple((n, f"{n / _MEBIBYTE:,.0f} MiB") for n in (memory.ours, memory.theirs))
        parts.append(_cost("Peak memory", f"{memory.ratio:.3f} × Diffusers", held))
    return "".join(parts)


def _cost(name: str, ratio: str, bars: tuple[tuple[float, str], ...]) -> str:
    longest = max(value for value, _ in bars)
    drawn = "".join(
        f'<div class="bar {side}"><small>{label}</small><span class="track">'
        f'<i style="width:{70 * value / longest:.2f}%"></i><small>{escape(text)}</small>'
        "</span></div>"
        for (side, label), (value, text) in zip(
            (("ours", "YggDrasil"), ("theirs", "Diffusers")), bars, strict=True
        )
    )
    header = f"<header><b>{escape(name)}</b><small>{escape(ratio)}</small></header>"
    return f'<div class="card cost">{header}{drawn}</div>'


def _call(comparison: Comparison) -> dict[str, Any]:
    job = comparison.job
    asked = asdict(job.request)
    shown = {name: asked[name] for name in _ASKED if asked[name] not in (None, "")}
    drawn = dict.fromkeys(job.drawn, "drawn for this comparison")
    call = {
        name: value["file"] if isinstance(value, Mapping) and "file" in value else value
        for name, value in job.call.items()
    }
    return {**shown, **call, **drawn, "pipeline": job.pipeline}


def _table(rows: Mapping[str, Any]) -> str:
    return "".join(
        f"<tr><th>{escape(name.replace('_', ' '))}</th><td>{escape(str(value))}</td></tr>"
        for name, value in rows.items()
    )


def _seconds(spread: Spread) -> str:
    scale, unit = (1.0, "s") if spread.median >= 1.0 else (1e3, "ms")
    return f"{spread.median * scale:.3g} {unit}"
