"""Drawings as Mermaid text, which many editors and forges show as a picture."""

from __future__ import annotations

from html import escape

from yggdrasil.core.drawing.colours import colours_of
from yggdrasil.core.drawing.diagram import Box, Diagram

__all__ = ["to_mermaid"]


def to_mermaid(diagram: Diagram, *, ports: bool = False) -> str:
    """Writes a drawing as a Mermaid flowchart.

    Args:
        diagram: What to draw.
        ports: Whether arrows are labelled with the ports that they join.
    """
    lines = ["---", f"title: {_quoted(diagram.title)}", "---", "flowchart TD"]
    outside = [number for number, box in enumerate(diagram.boxes) if box.loop is None]
    lines += [f"  {_box(number, diagram.boxes[number])}" for number in outside]
    for loop, title in enumerate(diagram.loops):
        lines.append(f'  subgraph loop{loop}["↻ {_text(title)}"]')
        lines += [
            f"    {_box(number, box)}"
            for number, box in enumerate(diagram.boxes)
            if box.loop == loop
        ]
        lines.append("  end")
    for arrow in diagram.arrows:
        line = "-.->" if arrow.carried else "-->"
        label = f'|"{"<br/>".join(map(_text, arrow.labels))}"|' if ports else ""
        lines.append(f"  n{arrow.source} {line}{label} n{arrow.target}")
    for number, (name, source) in enumerate(diagram.outputs):
        lines.append(f'  out{number}(["{_text(name)}"]):::output')
        lines.append(f"  n{source} --> out{number}")
    roles = sorted({box.role for box in diagram.boxes})
    for place, role in enumerate(roles):
        fill, stroke = colours_of(role)
        lines.append(f"  classDef role{place} fill:{fill},stroke:{stroke},color:#1f2328")
        members = [f"n{n}" for n, box in enumerate(diagram.boxes) if box.role == role]
        lines.append(f"  class {','.join(members)} role{place}")
    lines.append("  classDef output fill:#ffffff,stroke:#57606a,color:#1f2328")
    return "\n".join([*lines, ""])


def _box(number: int, box: Box) -> str:
    parts = [f"<b>{_text(box.title)}</b>", f"<small>{_text(box.subtitle)}</small>"]
    if box.ops:
        parts.append(_text(" · ".join(box.ops)))
    if box.inputs:
        parts.append(f"<i>{_text(', '.join(box.inputs))}</i>")
    return f'n{number}("{"<br/>".join(parts)}")'


def _text(text: str) -> str:
    """Escapes a text within quotes: Mermaid reads HTML, and ``#`` as the start of an entity."""
    return escape(text, quote=False).replace("#", "#35;").replace('"', "#quot;")


def _quoted(text: str) -> str:
    inner = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
    return f'"{inner}"'
