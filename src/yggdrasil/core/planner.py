"""Planning: from the candidates, the inputs given and the outputs wanted to a plan.

Three passes: which ops are *available* given the inputs, which of them are *selected* by walking
back from the outputs, and in which *order* they run. Loops are found in the last one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from yggdrasil.core.availability import available_vertices, can_be_had, direct_ports
from yggdrasil.core.block import AbstractBaseBlock
from yggdrasil.core.errors import (
    AmbiguousError,
    MissingInputError,
    UnknownOutputError,
    nearest,
)
from yggdrasil.core.facts import fact_of
from yggdrasil.core.lowering import lower
from yggdrasil.core.missing import explain_missing
from yggdrasil.core.patches import check_adapters
from yggdrasil.core.plan import Guard, Plan
from yggdrasil.core.selection import Selection
from yggdrasil.core.wiring import (
    Candidates,
    FromConstant,
    FromInput,
    FromPort,
    Source,
    Vertex,
    Wiring,
)

__all__ = ["find_output", "make_plan"]


def make_plan(wiring: Wiring, values: Mapping[str, Any], outputs: Sequence[str]) -> Plan:
    """Plans a run.

    Args:
        wiring: The candidates.
        values: The inputs given, by name; what is None is not given.
        outputs: Names of exposed outputs, or ``node.op.port``.

    Raises:
        UnknownInputError: No port reads an input of that name.
        UnknownOutputError: The graph has no such output.
        MissingInputError: An output needs an input that is not given.
        AmbiguousError: Two nodes could both feed an input.
        LoopError: A cycle is no loop.
        GraphError: An adapter changes nothing.
        InputError: Two random draws whose order nothing decides.
    """
    given = {name: value for name, value in values.items() if value is not None}
    direct = direct_ports(wiring, given)
    targets = {name: find_output(wiring, name) for name in outputs}
    check_adapters(wiring)
    available = available_vertices(wiring, given, direct)
    for name, target in targets.items():
        if target.vertex not in available:
            raise MissingInputError(explain_missing(wiring, given, direct, available, name, target))
    selection = _Selector(wiring, given, direct, available).select(targets.values())
    return lower(wiring, selection, targets)


def find_output(wiring: Wiring, name: str) -> FromPort:
    """Gives the port that an output's name stands for.

    Args:
        wiring: The candidates.
        name: An exposed output, or ``node.op.port``, or ``node.op``.

    Raises:
        UnknownOutputError: The graph has no such output.
    """
    if name in wiring.outputs:
        return wiring.outputs[name]
    head, _, last = name.rpartition(".")
    node, _, op = head.rpartition(".")
    if node in wiring.nodes and last in getattr(wiring.nodes[node].ops.get(op), "outputs", {}):
        return FromPort(Vertex(node, op), last)
    if head in wiring.nodes and last in wiring.nodes[head].ops:
        ports = list(wiring.nodes[head].ops[last].outputs)
        if len(ports) == 1:
            return FromPort(Vertex(head, last), ports[0])
    known = set(wiring.outputs) | {
        f"{path}.{op}" for path, node in wiring.nodes.items() for op in node.ops
    }
    raise UnknownOutputError(
        f"Graph {wiring.graph_name!r} has no output {name!r}."
        f"{nearest(name, wiring.outputs or known)} Any output of a node can be asked for as "
        "'node.op'."
    )


class _Selector:
    """Walks back from the outputs, taking for each input its first available candidate."""

    def __init__(
        self,
        wiring: Wiring,
        given: Mapping[str, Any],
        direct: Mapping[tuple[Vertex, str], str],
        available: set[Vertex],
    ) -> None:
        self._wiring = wiring
        self._given = given
        self._direct = direct
        self._available = available
        self._selection = Selection()
        self._pruned: list[Source] = []

    def select(self, targets: Iterable[FromPort]) -> Selection:
        selection = self._selection
        self._visit([target.vertex for target in targets])
        read = {
            source.name
            for ports in selection.chosen.values()
            for sources in ports.values()
            for source in sources
            if isinstance(source, FromInput)
        }
        excused = self._names_behind(self._pruned) | {"generator"}
        selection.unread = frozenset(self._given) - read - excused
        return selection

    def _visit(self, vertices: list[Vertex]) -> None:
        while vertices:
            vertex = vertices.pop()
            if vertex in self._selection.chosen:
                continue
            ports = {
                name: sources
                for name, candidates in self._wiring.inputs[vertex].items()
                if (sources := self._choose(vertex, candidates))
            }
            for name in self._ask(vertex, ports):
                self._pruned.extend(ports.pop(name))
            self._selection.chosen[vertex] = ports
            for sources in ports.values():
                vertices.extend(s.vertex for s in sources if isinstance(s, FromPort))
            vertices.extend(self._close_loop(vertex))

    def _choose(self, vertex: Vertex, candidates: Candidates) -> tuple[Source, ...]:
        port = candidates.port
        name = self._direct.get((vertex, port.name))
        if name is not None:
            return (FromInput(name),)
        found = [
            tuple(source for source in choice if self._can_be_had(source))
            for choice in candidates.choices
        ]
        if port.many:
            sources = tuple(dict.fromkeys(source for choice in found for source in choice))
            self._check_order(vertex, port.name, sources)
            return sources
        for choice in found:
            if len(choice) > 1:
                raise AmbiguousError(
                    f"{vertex}.{port.name} in graph {self._wiring.graph_name!r} could come from "
                    f"{' or '.join(map(str, choice))}. Say which: "
                    f"graph.connect('{choice[0]}', '{vertex}.{port.name}')."
                )
            if choice:
                return choice
        return ()

    def _check_order(self, vertex: Vertex, port: str, sources: tuple[Source, ...]) -> None:
        """Refuses nodes of one order into a port that takes many: a name must not decide bits."""
        taken: dict[int, str] = {}
        for source in sources:
            if not isinstance(source, FromPort):
                continue
            node = self._wiring.nodes[source.vertex.node]
            other = taken.setdefault(node.order, node.path)
            if other != node.path:
                raise AmbiguousError(
                    f"{other} and {node.path} both feed {vertex}.{port} in graph "
                    f"{self._wiring.graph_name!r} with order={node.order}, and which comes first "
                    "changes the result. Give each an order of its own: "
                    "add_node(..., order=1)."
                )

    def _can_be_had(self, source: Source) -> bool:
        return can_be_had(source, self._given, self._available)

    def _ask(self, vertex: Vertex, ports: Mapping[str, tuple[Source, ...]]) -> frozenset[str]:
        """Asks a block which inputs it will not read, and notes the question for later calls."""
        block = self._wiring.nodes[vertex.node].block
        cls = type(block)
        base = AbstractBaseBlock
        if cls.unused_inputs is base.unused_inputs and cls.check_inputs is base.check_inputs:
            return frozenset()
        names: dict[str, str] = {}
        facts: dict[str, Any] = {}
        for port, sources in ports.items():
            source = sources[0]
            if isinstance(source, FromInput):
                names[port] = source.name
            elif isinstance(source, FromConstant):
                facts[port] = source.value
            elif source.vertex in self._available and self._know(source):
                facts[port] = self._selection.facts[source]
        for port, spec in self._wiring.spec(vertex).inputs.items():
            if port not in ports and not spec.required:
                facts[port] = spec.default
        guard = Guard(vertex=vertex, block=block, names=names, facts=facts, unused=frozenset())
        guard.check(self._given)
        unused = block.unused_inputs(vertex.op, guard.known(self._given))
        if "generator" in unused:
            self._selection.still.add(vertex)
        self._selection.guards.append(
            Guard(vertex=vertex, block=block, names=names, facts=facts, unused=unused)
        )
        return unused & ports.keys()

    def _know(self, source: FromPort) -> bool:
        """Computes a fact that needs nothing of the call; says whether it is one."""
        if source in self._selection.facts:
            return True
        found = fact_of(self._wiring, source)
        self._selection.facts.update(found)
        return bool(found)

    def _close_loop(self, vertex: Vertex) -> list[Vertex]:
        """Chooses the carried source of an input that closes a loop, if the loop can run."""
        for name, candidates in self._wiring.inputs[vertex].items():
            for choice in candidates.carried:
                sources = [s for s in choice if self._can_be_had(s)]
                if not sources or not isinstance(sources[0], FromPort):
                    continue
                self._selection.carried[vertex] = (name, sources[0])
                if candidates.until is not None:
                    self._selection.until[vertex] = Vertex(vertex.node, candidates.until)
                return [sources[0].vertex]
        return []

    def _names_behind(self, sources: Iterable[Source]) -> set[str]:
        """Gives the inputs that feed sources which a block chose not to read."""
        names: set[str] = set()
        seen: set[Vertex] = set()
        waiting = list(sources)
        while waiting:
            source = waiting.pop()
            if isinstance(source, FromInput):
                names.add(source.name)
            elif isinstance(source, FromPort) and source.vertex not in seen:
                seen.add(source.vertex)
                for candidates in self._wiring.inputs[source.vertex].values():
                    waiting.extend(
                        s for choice in candidates.choices for s in choice if self._can_be_had(s)
                    )
        return names
