"""Saying why an input gets what it gets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from yggdrasil.core.availability import (
    available_vertices,
    can_be_had,
    direct_ports,
    fill_defaults,
)
from yggdrasil.core.candidates import Candidates, FromInput, Source, Vertex, Wiring
from yggdrasil.core.declaration import GraphLike
from yggdrasil.core.errors import ConnectError, nearest
from yggdrasil.core.rules import Mode
from yggdrasil.core.structure import reachable_vertices
from yggdrasil.core.wiring import wire

__all__ = ["explain"]


def explain(
    graph: GraphLike,
    port: str,
    given: Mapping[str, Any] | None = None,
    *,
    mode: Mode = "denoise",
) -> str:
    """Says where an input comes from, what else it could come from, and why it does not.

    Args:
        graph: The graph.
        port: ``node.port``, ``node.op.port``, ``role.port`` or ``role.op.port``.
        given: Inputs of a call; without them the structure is explained, as if any input could be
            given.
        mode: ``denoise`` generates, ``corrupt`` trains.

    Returns:
        One paragraph for each input that the reference means.

    Raises:
        ConnectError: No input is called so.
        UnknownInputError: A given input is none of the graph's.
    """
    wiring = wire(graph, mode)
    found = list(_find(wiring, port))
    if not found:
        known = {
            f"{vertex}.{name}" for vertex, ports in wiring.inputs.items() for name in ports
        } | {f"{vertex.node}.{name}" for vertex, ports in wiring.inputs.items() for name in ports}
        raise ConnectError(
            f"{port!r}: graph {graph.name!r} has no such input.{nearest(port, known)}"
        )
    view = _View(wiring, None if given is None else fill_defaults(wiring, graph.defaults, given))
    return "\n\n".join(view.paragraph(vertex, name) for vertex, name in found)


def _find(wiring: Wiring, text: str) -> Iterator[tuple[Vertex, str]]:
    """Gives the inputs that a reference means, nodes before roles."""
    head, _, port = text.rpartition(".")
    by_node: list[tuple[Vertex, str]] = []
    by_role: list[tuple[Vertex, str]] = []
    for vertex, ports in wiring.inputs.items():
        if port not in ports:
            continue
        node = wiring.nodes[vertex.node]
        if head in (vertex.node, str(vertex)):
            by_node.append((vertex, port))
        names = (node.role, *node.type_names)
        if any(head in (name, f"{name}.{vertex.op}") for name in names):
            by_role.append((vertex, port))
    yield from sorted(by_node or by_role)


class _View:
    """The wiring, seen with the inputs of a call or with none."""

    def __init__(self, wiring: Wiring, given: Mapping[str, Any] | None) -> None:
        self._wiring = wiring
        self._open = given is None
        if given is None:
            self._given: frozenset[str] = frozenset(wiring.names)
            self._direct: Mapping[tuple[Vertex, str], str] = {}
            self._available = reachable_vertices(wiring)
        else:
            self._given = frozenset(given)
            self._direct = direct_ports(wiring, self._given)
            self._available = available_vertices(wiring, self._given, self._direct)

    def paragraph(self, vertex: Vertex, port: str) -> str:
        """Explains one input."""
        candidates = self._wiring.inputs[vertex][port]
        need = "required" if candidates.port.required else "optional"
        if candidates.port.many:
            need = "takes all there are, by their nodes' order"
        head = f"{vertex}.{candidates.port} ({need})"
        if not self._open:
            head += f", given {', '.join(sorted(self._given)) or 'nothing'}"
        lines = [f"{head}:", *self._lines(vertex, candidates)]
        lines += [
            f"  from the second step on: {_show(choice)} (carried by the loop)"
            for choice in candidates.carried[:1]
        ]
        if vertex not in self._available:
            lines.append(f"  {vertex} itself cannot run: another required input is missing.")
        return "\n".join(lines)

    def _lines(self, vertex: Vertex, candidates: Candidates) -> Iterator[str]:
        name = self._direct.get((vertex, candidates.port.name))
        taken = name is not None
        if taken:
            yield f"  -> ${name}: given in the call, which beats every edge"
        absent = list(candidates.absent)
        for place, (choice, reason) in enumerate(
            zip(candidates.choices, candidates.reasons, strict=True)
        ):
            yield from (_gone(why) for at, why in absent if at == place)
            there = [s for s in choice if can_be_had(s, self._given, self._available)]
            if not there:
                yield f"     {_show(choice)}: {reason}; {self._lack(choice)}"
            elif candidates.port.many:
                yield f"  -> {_show(choice)}: {reason}"
            elif taken:
                yield f"     {_show(choice)}: {reason}; passed over: later in order"
            else:
                fork = len(there) > 1
                note = "; ambiguous: graph.connect must say which" if fork else ""
                unsure = self._open and isinstance(there[0], FromInput)
                note = "; if it is given" if unsure else note
                yield f"  -> {_show(choice)}: {reason}{note}"
                taken = not unsure
        yield from (_gone(why) for at, why in absent if at == len(candidates.choices))
        if not taken and not candidates.port.required and not candidates.port.many:
            yield f"  -> its default, {candidates.port.default!r}"
        if not candidates.choices and candidates.port.required and not taken:
            yield (
                f"     nothing gives it: graph.connect('...', '{vertex}.{candidates.port.name}')"
            )

    def _lack(self, choice: tuple[Source, ...]) -> str:
        if isinstance(choice[0], FromInput):
            return "passed over: not given"
        why = "whatever is given" if self._open else "given these inputs"
        return f"passed over: not available {why}"


def _gone(reason: str) -> str:
    return f"     {reason}; passed over: no node of the graph is that"


def _show(choice: tuple[Source, ...]) -> str:
    return " or ".join(map(str, choice))
