"""A profile as a flame picture: the wider a bar, the longer it took."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from xml.sax.saxutils import escape, quoteattr

from yggdrasil.core.drawing.colours import colours_of
from yggdrasil.pipelines.profiling.record import ProfileReport, VertexTime
from yggdrasil.pipelines.units import in_bytes, in_seconds

__all__ = ["to_flame"]

_WIDTH, _MARGIN, _ROW, _GAP = 960.0, 16.0, 26.0, 2.0
_LETTER = 6.6
_STYLE = "text { fill: #1f2328; font: 12px ui-sans-serif, system-ui, 'Segoe UI', sans-serif; }"


@dataclass(frozen=True, slots=True)
class _Bar:
    """One bar, with those that stand below it."""

    name: str
    tip: str
    seconds: float
    role: str
    parts: tuple[_Bar, ...] = ()


def to_flame(report: ProfileReport) -> str:
    """Draws the picture as SVG: the whole, below it vertices and loops, below a loop its own.

    Args:
        report: What was measured.
    """
    root = _whole(report)
    depth = 3 if any(each.loop for each in report.vertices) else 2
    height = 2 * _MARGIN + depth * (_ROW + _GAP)
    w, h = f"{_WIDTH:.0f}", f"{height:.0f}"
    size = f'width="{w}" height="{h}"'
    scale = (_WIDTH - 2 * _MARGIN) / report.seconds if report.seconds else 0.0
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {w} {h}">',
            f"<title>{escape(root.tip)}</title>",
            f"<style>{_STYLE}</style>",
            f'<rect {size} rx="10" fill="#ffffff"/>',
            *_draw([root], _MARGIN, _MARGIN, scale),
            "</svg>",
            "",
        ]
    )


def _whole(report: ProfileReport) -> _Bar:
    parts: list[_Bar] = []
    ran = [each for each in report.vertices if each.calls]
    for loop, group in groupby(ran, key=lambda each: each.loop):
        bars = tuple(_of_vertex(each, report) for each in group)
        if loop is None:
            parts += bars
        else:
            seconds = sum(bar.seconds for bar in bars)
            parts.append(_Bar(loop, _tip(loop, seconds, report), seconds, "solver", bars))
    return _Bar(
        report.graph, _tip(report.graph, report.seconds, report), report.seconds, "", (*parts,)
    )


def _of_vertex(each: VertexTime, report: ProfileReport) -> _Bar:
    told = [_tip(each.vertex, each.seconds, report), f"{each.type_name}, {each.calls} calls"]
    told += [] if each.peak is None else [f"peak {in_bytes(each.peak)}"]
    return _Bar(each.vertex, ", ".join(told), each.seconds, each.role)


def _tip(name: str, seconds: float, report: ProfileReport) -> str:
    share = f", {100 * seconds / report.seconds:.1f} %" if report.seconds else ""
    return f"{name}: {in_seconds(seconds)}{share}"


def _draw(bars: Sequence[_Bar], x: float, y: float, scale: float) -> Iterator[str]:
    for bar in bars:
        width = bar.seconds * scale
        fill, stroke = colours_of(bar.role)
        yield (
            f'<g><title>{escape(bar.tip)}</title><rect x="{x:.2f}" y="{y:.1f}" '
            f'width="{max(width - 0.5, 0.2):.2f}" height="{_ROW:.0f}" rx="3" '
            f'fill={quoteattr(fill)} stroke={quoteattr(stroke)} stroke-width="0.6"/>'
        )
        letters = int((width - 10) / _LETTER)
        if letters >= 3:
            # All that is known where there is room, else the name, else its beginning.
            label = next((each for each in (bar.tip, bar.name) if len(each) <= letters), None)
            label = label or f"{bar.name[: letters - 1]}…"
            yield f'<text x="{x + 5:.2f}" y="{y + 17:.1f}">{escape(label)}</text>'
        yield "</g>"
        yield from _draw(bar.parts, x, y + _ROW + _GAP, scale)
        x += width
