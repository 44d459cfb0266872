"""Drawings as SVG, laid out here: no other program is needed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from yggdrasil.core.drawing.colours import colours_of
from yggdrasil.core.drawing.diagram import Arrow, Diagram
from yggdrasil.core.drawing.layout import Item, Placed, Route, place
from yggdrasil.core.drawing.lettering import haloed, lines_of
from yggdrasil.core.drawing.strokes import coord, curve, moved, overlap, rounded, way_back

__all__ = ["to_svg"]

_GAP = 44.0
_LABEL = 13.0
_MARGIN = 28.0
_TITLE = 34.0
_PAD = 22.0
_HEAD = 30.0
_LANE = 20.0
_STYLE = """
  text { fill: #1f2328; font: 12px ui-sans-serif, system-ui, 'Segoe UI', Helvetica, sans-serif; }
  .title { font-size: 17px; font-weight: 650; }
  .node { font-size: 13px; font-weight: 650; }
  .type { font-size: 10.5px; fill: #57606a; }
  .input { font-size: 10.5px; font-style: italic; fill: #57606a; }
  .label { font-size: 10px; fill: #57606a; }
  .loop { font-size: 12px; font-weight: 600; fill: #6639ba; }
  .arrow { fill: none; stroke: #57606a; stroke-width: 1.4; }
  .carried { stroke: #8250df; stroke-dasharray: 6 4; }
"""


def to_svg(diagram: Diagram, *, ports: bool = False) -> str:
    """Writes a drawing as SVG.

    Args:
        diagram: What to draw.
        ports: Whether arrows are labelled with the ports that they join.
    """
    return _Sheet(diagram, ports=ports).text()


class _Sheet:
    """One drawing: loops are laid out first, and are then boxes of the whole."""

    def __init__(self, diagram: Diagram, *, ports: bool) -> None:
        self._diagram = diagram
        self._ports = ports
        self._lines = [lines_of(box) for box in diagram.boxes]
        self._gap = _GAP
        if ports:
            most = max((len(arrow.labels) for arrow in diagram.arrows), default=0)
            self._gap += _LABEL * (most + 2)
        self._shapes: list[str] = []
        self._arrows: list[str] = []
        self._texts: list[str] = []
        self._taken: list[tuple[float, float, float, float]] = []

    def text(self) -> str:
        """Gives the SVG."""
        inner = [self._inside(loop) for loop in range(len(self._diagram.loops))]
        width, height = self._outside(inner)
        width = max(width, len(self._diagram.title) * 10.0) + 2 * _MARGIN
        height += 2 * _MARGIN + _TITLE
        w, h = math.ceil(width), math.ceil(height)
        size, title = f'width="{w}" height="{h}"', escape(self._diagram.title)
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {w} {h}">',
                f"<title>{title}</title>",
                f"<style>{_STYLE}</style>",
                "<defs>",
                *(_marker(name, fill) for name, fill in _HEADS),
                "</defs>",
                f'<rect {size} rx="10" fill="#ffffff"/>',
                f'<text class="title" x="{_MARGIN}" y="{_MARGIN + 8}">{title}</text>',
                *self._shapes,
                *self._arrows,
                *self._texts,
                "</svg>",
                "",
            ]
        )

    # -- loops -----------------------------------------------------------------------------------

    def _inside(self, loop: int) -> _Loop:
        """Lays out the body of a loop, with places on its frame where arrows enter and leave."""
        boxes = self._diagram.boxes
        members = [n for n, box in enumerate(boxes) if box.loop == loop]
        number = {box: place_ for place_, box in enumerate(members)}
        items = [self._item(n) for n in members]
        edges: list[tuple[int, int]] = []
        entries: dict[int, int] = {}
        exits: dict[int, int] = {}
        for arrow in self._diagram.arrows:
            here, there = arrow.source in number, arrow.target in number
            if arrow.carried or not (here or there):
                continue
            if not here and arrow.source not in entries:
                entries[arrow.source] = len(items)
                items.append(Item(8.0, 0.0, row=0))
            if not there and arrow.target not in exits:
                exits[arrow.target] = len(items)
                items.append(Item(8.0, 0.0, row=-1))
            source = number[arrow.source] if here else entries[arrow.source]
            edges.append((source, number[arrow.target] if there else exits[arrow.target]))
        for place_, (_, source) in enumerate(self._diagram.outputs):
            if source in number:
                exits[-1 - place_] = len(items)
                items.append(Item(8.0, 0.0, row=-1))
                edges.append((number[source], exits[-1 - place_]))
        placed = place(items, list(dict.fromkeys(edges)), self._gap)
        back = [a for a in self._diagram.arrows if a.carried and a.source in number]
        return _Loop(members, number, entries, exits, placed, back)

    def _item(self, number: int) -> Item:
        lines = self._lines[number]
        width = max(line.width for line in lines) + 2 * 14
        return Item(max(width, 96.0), sum(line.height for line in lines) + 16)

    # -- the whole -------------------------------------------------------------------------------

    def _outside(self, loops: Sequence[_Loop]) -> tuple[float, float]:
        """Draws everything; gives the width and height that it took."""
        boxes, outputs = self._diagram.boxes, self._diagram.outputs
        whole = self._gather(loops)
        placed = place(whole.items, [*whole.edges, *whole.tails], self._gap)
        x, y = _MARGIN, _MARGIN + _TITLE
        for loop, frame, title in zip(loops, whole.frames, self._diagram.loops, strict=True):
            self._draw_loop(loop, frame, placed, x, y, title)
        for n, item in whole.outer.items():
            if boxes[n].loop is None:
                cx, cy = placed.corners[item]
                self._draw_box(n, whole.items[item], x + cx, y + cy)
        for key, arrows in whole.edges.items():
            route = moved(placed.routes[key], x, y)
            self._draw_arrow(route, _labels(arrows), inside=key[1] in whole.frames)
        for (name, _), (source, end) in zip(outputs, whole.tails, strict=True):
            self._draw_end(name, whole.items[end], placed.corners[end], x, y)
            self._draw_arrow(moved(placed.routes[source, end], x, y), ())
        for lane, arrow in enumerate(whole.back):
            ends = whole.outer[arrow.source], whole.outer[arrow.target]
            right = placed.width + _LANE * (lane + 1)
            route = way_back(placed, whole.items, *ends, right, self._gap)
            self._draw_back(moved(route, x, y), arrow)
        lanes = len(whole.back) + 1 if whole.back else 0
        return placed.width + _LANE * lanes, placed.height

    def _gather(self, loops: Sequence[_Loop]) -> _Whole:
        """Numbers what is laid out: boxes outside loops, loops, wanted outputs."""
        diagram = self._diagram
        outside = [n for n, box in enumerate(diagram.boxes) if box.loop is None]
        outer = {n: number for number, n in enumerate(outside)}
        items = [self._item(n) for n in outside]
        frames = [len(items) + number for number in range(len(loops))]
        for loop, frame in zip(loops, frames, strict=True):
            outer.update(dict.fromkeys(loop.members, frame))
            items.append(loop.item())
        ends = [len(items) + number for number in range(len(diagram.outputs))]
        items += [Item(len(name) * 7.6 + 32, 28.0) for name, _ in diagram.outputs]
        edges: dict[tuple[int, int], list[Arrow]] = {}
        for arrow in diagram.arrows:
            key = (outer[arrow.source], outer[arrow.target])
            if key[0] != key[1] and not arrow.carried:
                edges.setdefault(key, []).append(arrow)
        for loop, frame in zip(loops, frames, strict=True):
            self._name_ports(loop, items[frame], outer, ends)
        sources = [outer[source] for _, source in diagram.outputs]
        back = [a for a in diagram.arrows if a.carried and outer[a.source] != outer[a.target]]
        return _Whole(items, outer, frames, edges, list(zip(sources, ends, strict=True)), back)

    def _name_ports(
        self, loop: _Loop, item: Item, outer: dict[int, int], ends: Sequence[int]
    ) -> None:
        """Has the arrows of the whole meet those inside at the frame."""
        entries: dict[int, float] = {}
        exits: dict[int, float] = {}
        for box, port in loop.entries.items():
            entries.setdefault(outer[box], loop.port(port))
        for box, port in loop.exits.items():
            exits.setdefault(ends[-1 - box] if box < 0 else outer[box], loop.port(port))
        item.entries, item.exits = entries, exits

    def _draw_loop(
        self, loop: _Loop, frame: int, placed: Placed, x: float, y: float, title: str
    ) -> None:
        item = loop.item()
        left, top = placed.corners[frame]
        left, top = left + x, top + y
        self._shapes.append(
            f'<rect x="{coord(left)}" y="{coord(top)}" width="{coord(item.width)}" '
            f'height="{coord(item.height)}" rx="14" fill="#8250df" fill-opacity="0.05" '
            'stroke="#8250df" stroke-width="1.4" stroke-dasharray="2 3"/>'
        )
        x_end, y_end = left + item.width - 14, top + item.height - 9
        self._texts += haloed(f"↻ {title}", "loop", x_end, y_end, "end", "#faf8fe")
        x, y = left + _PAD, top + _HEAD
        for n, number in loop.number.items():
            cx, cy = loop.placed.corners[number]
            self._draw_box(n, self._item(n), x + cx, y + cy)
        inside = dict.fromkeys(loop.entries.values(), top)
        outside = dict.fromkeys(loop.exits.values(), top + item.height)
        arrows = _between(self._diagram.arrows, loop)
        for (source, target), route in loop.placed.routes.items():
            points = moved(route, x, y)
            if source in inside:
                points.insert(0, (points[0][0], top))
            if target in outside:
                points.append((points[-1][0], outside[target]))
            labels = () if target in outside else _labels(arrows.get((source, target), ()))
            self._draw_arrow(points, labels, inside=target in outside)
        for lane, arrow in enumerate(loop.back):
            a, b = loop.number[arrow.source], loop.number[arrow.target]
            right = loop.placed.width + _LANE * (lane + 0.6)
            items = [self._item(n) for n in loop.members]
            self._draw_back(
                moved(way_back(loop.placed, items, a, b, right, self._gap), x, y), arrow
            )

    # -- strokes ---------------------------------------------------------------------------------

    def _draw_box(self, number: int, item: Item, x: float, y: float) -> None:
        box = self._diagram.boxes[number]
        fill, stroke = colours_of(box.role)
        faint = "" if box.ops else ' opacity="0.45" stroke-dasharray="4 3"'
        self._shapes.append(
            f'<rect class="box" x="{coord(x)}" y="{coord(y)}" width="{coord(item.width)}" '
            f'height="{coord(item.height)}" rx="9" fill="{fill}" stroke="{stroke}" '
            f'stroke-width="1.4"{faint}/>'
        )
        y += 8
        for line in self._lines[number]:
            y += line.height
            self._texts.append(
                f'<text class="{line.style}" x="{coord(x + item.width / 2)}" y="{coord(y - 4)}" '
                f'text-anchor="middle">{escape(line.text)}</text>'
            )

    def _draw_end(
        self, name: str, item: Item, corner: tuple[float, float], x: float, y: float
    ) -> None:
        x, y = x + corner[0], y + corner[1]
        self._shapes.append(
            f'<rect class="box" x="{coord(x)}" y="{coord(y)}" width="{coord(item.width)}" '
            f'height="{coord(item.height)}" rx="14" fill="#1f2328"/>'
        )
        self._texts.append(
            f'<text x="{coord(x + item.width / 2)}" y="{coord(y + 18.5)}" text-anchor="middle" '
            f'style="fill:#ffffff;font-weight:600">{escape(name)}</text>'
        )

    def _draw_arrow(self, points: Route, labels: Sequence[str], *, inside: bool = False) -> None:
        head = "" if inside else ' marker-end="url(#head)"'
        self._arrows.append(f'<path class="arrow" d="{curve(points)}"{head}>{_tip(labels)}</path>')
        if self._ports and labels and not inside:
            (x0, y0), (x1, y1) = points[-2:]
            for place_, label in enumerate(labels):
                self._draw_label(label, x0, y0, x1, y1 - 16 - _LABEL * place_)

    def _draw_label(self, label: str, x0: float, y0: float, x1: float, y: float) -> None:
        """Writes a label beside its arrow, in the first line where it is on no other."""
        width = len(label) * 5.5
        while True:
            share = min(max((y - y0) / (_GAP + 1), 0.0), 1.0)
            x = x0 + (x1 - x0) * share
            spot = (x - width / 2, y - _LABEL + 3, x + width / 2, y + 3)
            if y - _LABEL <= y0 or not any(overlap(spot, other) for other in self._taken):
                break
            y -= _LABEL
        self._taken.append(spot)
        self._texts += haloed(label, "label", x, y, "middle", "#ffffff")

    def _draw_back(self, points: Route, arrow: Arrow) -> None:
        self._arrows.append(
            f'<path class="arrow carried" d="{rounded(points)}" marker-end="url(#carried)">'
            f"{_tip(arrow.labels)}</path>"
        )


@dataclass(frozen=True, slots=True)
class _Whole:
    """What is laid out, loops being boxes.

    Attributes:
        items: Boxes, frames of loops and wanted outputs.
        outer: For each box of the diagram, its item.
        frames: The items of the loops.
        edges: Arrows between items.
        tails: Arrows to wanted outputs.
        back: Arrows that run backwards.
    """

    items: list[Item]
    outer: dict[int, int]
    frames: list[int]
    edges: dict[tuple[int, int], list[Arrow]]
    tails: list[tuple[int, int]]
    back: list[Arrow]


@dataclass(frozen=True, slots=True)
class _Loop:
    """A loop's body, laid out.

    Attributes:
        members: Its boxes.
        number: For each, its number in the layout.
        entries: For each box outside that feeds it, the place on the upper frame.
        exits: For each box outside that it feeds, the place on the lower frame; outputs of the
            graph count down from -1.
        placed: The layout.
        back: The arrows that it carries.
    """

    members: list[int]
    number: dict[int, int]
    entries: dict[int, int]
    exits: dict[int, int]
    placed: Placed
    back: list[Arrow]

    def item(self) -> Item:
        """Gives the frame's size."""
        lanes = _LANE * len(self.back)
        return Item(
            max(self.placed.width + lanes + 2 * _PAD, 190.0), self.placed.height + _HEAD + _PAD
        )

    def port(self, number: int) -> float:
        """Gives a place on the frame, from its left edge."""
        return self.placed.corners[number][0] + 4.0 + _PAD


def _between(arrows: Sequence[Arrow], loop: _Loop) -> dict[tuple[int, int], list[Arrow]]:
    found: dict[tuple[int, int], list[Arrow]] = {}
    for arrow in arrows:
        if arrow.target in loop.number and not arrow.carried:
            source = loop.number.get(arrow.source, loop.entries.get(arrow.source, -1))
            found.setdefault((source, loop.number[arrow.target]), []).append(arrow)
    return found


def _labels(arrows: Sequence[Arrow]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(label for arrow in arrows for label in arrow.labels))


_HEADS = (("head", "#57606a"), ("carried", "#8250df"))


def _marker(name: str, fill: str) -> str:
    return (
        f"<marker id={quoteattr(name)} viewBox='0 0 10 10' refX='9' refY='5' markerWidth='7' "
        f"markerHeight='7' orient='auto-start-reverse'>"
        f"<path d='M0 0.8 L10 5 L0 9.2 z' fill={quoteattr(fill)}/></marker>"
    )


def _tip(labels: Sequence[str]) -> str:
    return f"<title>{escape(', '.join(labels))}</title>" if labels else ""
