"""Saying why an input gets what it gets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
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

__all__ = ["Considered", "Explanation", "explain", "explanations"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Considered:
    """One thing that an input could get.

    Attributes:
        chosen: Whether it gets it.
        source: What would give it, where the graph has it.
        reason: Why it is considered: a rule, an edge, a name.
        note: Why it is passed over, or on what it depends.
    """

    chosen: bool
    source: str | None
    reason: str
    note: str = ""

    def __str__(self) -> str:
        """Gives a line, which begins with an arrow if it is chosen."""
        told = self.reason if self.source is None else f"{self.source}: {self.reason}"
        return f"{'->' if self.chosen else '  '} {told}{f'; {self.note}' if self.note else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Where one input comes from.

    Attributes:
        vertex: The op, ``node.op``.
        port: The input's name.
        kinds: What it takes.
        need: ``required``, ``optional``, or how it takes many.
        given: The inputs of the call; None where the structure is explained.
        considered: What it could get, in order.
        carried: What it gets from the second step of a loop on.
        available: Whether the op itself can run.
    """

    vertex: str
    port: str
    kinds: tuple[str, ...]
    need: str
    given: tuple[str, ...] | None
    considered: tuple[Considered, ...]
    carried: str | None
    available: bool

    def __str__(self) -> str:
        """Gives a paragraph."""
        head = f"{self.vertex}.{self.port}: {' or '.join(self.kinds)} ({self.need})"
        if self.given is not None:
            head += f", given {', '.join(self.given) or 'nothing'}"
        lines = [f"{head}:", *(f"  {each}" for each in self.considered)]
        if self.carried is not None:
            lines.append(f"  from the second step on: {self.carried} (carried by the loop)")
        if not self.available:
            lines.append(f"  {self.vertex} itself cannot run: another required input is missing.")
        return "\n".join(lines)


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
    return "\n\n".join(map(str, explanations(graph, port, given, mode=mode)))


def explanations(
    graph: GraphLike,
    port: str,
    given: Mapping[str, Any] | None = None,
    *,
    mode: Mode = "denoise",
) -> list[Explanation]:
    """Says the same as ``explain``, as records; arguments and errors as there."""
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
    return [view.explanation(vertex, name) for vertex, name in found]


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

    def explanation(self, vertex: Vertex, port: str) -> Explanation:
        """Explains one input."""
        candidates = self._wiring.inputs[vertex][port]
        need = "required" if candidates.port.required else "optional"
        if candidates.port.many:
            need = "takes all there are, by their nodes' order"
        return Explanation(
            vertex=str(vertex),
            port=port,
            kinds=tuple(map(str, candidates.port.kinds)),
            need=need,
            given=None if self._open else tuple(sorted(self._given)),
            considered=tuple(self._considered(vertex, candidates)),
            carried=_show(candidates.carried[0]) if candidates.carried else None,
            available=vertex in self._available,
        )

    def _considered(self, vertex: Vertex, candidates: Candidates) -> Iterator[Considered]:
        name = self._direct.get((vertex, candidates.port.name))
        taken = name is not None
        if taken:
            told = "given in the call, which beats every edge"
            yield Considered(chosen=True, source=f"${name}", reason=told)
        absent = list(candidates.absent)
        for place, (choice, reason) in enumerate(
            zip(candidates.choices, candidates.reasons, strict=True)
        ):
            yield from (_gone(why) for at, why in absent if at == place)
            there = [s for s in choice if can_be_had(s, self._given, self._available)]
            source = _show(choice)
            if not there:
                note = self._lack(choice)
                yield Considered(chosen=False, source=source, reason=reason, note=note)
            elif candidates.port.many:
                yield Considered(chosen=True, source=source, reason=reason)
            elif taken:
                note = "passed over: later in order"
                yield Considered(chosen=False, source=source, reason=reason, note=note)
            else:
                note = "ambiguous: graph.connect must say which" if len(there) > 1 else ""
                unsure = self._open and isinstance(there[0], FromInput)
                note = "if it is given" if unsure else note
                yield Considered(chosen=True, source=source, reason=reason, note=note)
                taken = not unsure
        yield from (_gone(why) for at, why in absent if at == len(candidates.choices))
        if not taken and not candidates.port.required and not candidates.port.many:
            told = f"its default, {candidates.port.default!r}"
            yield Considered(chosen=True, source=None, reason=told)
        if not candidates.choices and candidates.port.required and not taken:
            told = f"nothing gives it: graph.connect('...', '{vertex}.{candidates.port.name}')"
            yield Considered(chosen=False, source=None, reason=told)

    def _lack(self, choice: tuple[Source, ...]) -> str:
        if isinstance(choice[0], FromInput):
            return "passed over: not given"
        why = "whatever is given" if self._open else "given these inputs"
        return f"passed over: not available {why}"


def _gone(reason: str) -> Considered:
    note = "passed over: no node of the graph is that"
    return Considered(chosen=False, source=None, reason=reason, note=note)


def _show(choice: tuple[Source, ...]) -> str:
    return " or ".join(map(str, choice))
