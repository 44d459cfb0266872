"""From a graph to the text of a drawing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from yggdrasil.core.availability import fill_defaults
from yggdrasil.core.declaration import GraphLike
from yggdrasil.core.drawing.diagram import of_plan, of_structure
from yggdrasil.core.drawing.mermaid import to_mermaid
from yggdrasil.core.drawing.svg import to_svg
from yggdrasil.core.errors import InputError, nearest
from yggdrasil.core.planner import make_plan
from yggdrasil.core.rules import Mode
from yggdrasil.core.wiring import wire

__all__ = ["draw"]

_FORMATS = {"mermaid": to_mermaid, "svg": to_svg}


def draw(
    graph: GraphLike,
    format: Literal["mermaid", "svg"] = "mermaid",
    *,
    given: Mapping[str, Any] | None = None,
    outputs: Sequence[str] | None = None,
    mode: Mode = "denoise",
    ports: bool = False,
) -> str:
    """Draws the wired graph.

    Args:
        graph: The graph.
        format: ``mermaid`` or ``svg``.
        given: Inputs of a call; then only what that call runs is drawn.
        outputs: What is wanted of it; every exposed output unless said.
        mode: ``denoise`` generates, ``corrupt`` trains.
        ports: Whether edges are labelled with the ports that they join.

    Returns:
        The drawing's text.

    Raises:
        InputError: There is no such format.
    """
    if format not in _FORMATS:
        raise InputError(f"There is no drawing format {format!r}.{nearest(format, _FORMATS)}")
    wiring = wire(graph, mode)
    wanted = tuple(graph.outputs) if outputs is None else tuple(outputs)
    if given is None:
        diagram = of_structure(wiring, wanted)
    else:
        filled = fill_defaults(wiring, graph.defaults, given)
        diagram = of_plan(wiring, make_plan(wiring, filled, wanted))
    return _FORMATS[format](diagram, ports=ports)
