"""Lowering: a selection of vertices becomes an ordered plan with loops and slots."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from yggdrasil.core.cycles import strongly_connected
from yggdrasil.core.draws import check_draws, listed_draws, staged_draws
from yggdrasil.core.errors import LoopError
from yggdrasil.core.patches import patches_of
from yggdrasil.core.plan import Call, Loop, Plan, Slot, note_frees
from yggdrasil.core.selection import Selection
from yggdrasil.core.wiring import FromConstant, FromInput, FromPort, Source, Vertex, Wiring

__all__ = ["lower"]

Unit = tuple[Vertex, ...]
"""What is ordered as one: a vertex, or all vertices of a loop in their order."""


def lower(wiring: Wiring, selection: Selection, targets: Mapping[str, FromPort]) -> Plan:
    """Orders what was selected.

    Args:
        wiring: For specs and nodes.
        selection: What runs and what feeds it.
        targets: The outputs by name.

    Raises:
        LoopError: A cycle has no carried edge, or more than one.
        InputError: Two random draws whose order nothing decides.
    """
    data = _data_edges(selection)
    units, opened_by = _find_units(wiring, selection, data)
    order = _order_units(wiring, selection, units, data)
    return _Slots(wiring, selection).plan(order, opened_by, targets)


def _data_edges(selection: Selection) -> dict[Vertex, list[Vertex]]:
    """Gives for each selected vertex the vertices that read its outputs."""
    follows: dict[Vertex, list[Vertex]] = {vertex: [] for vertex in selection.chosen}
    for vertex, ports in selection.chosen.items():
        for sources in ports.values():
            for source in sources:
                if isinstance(source, FromPort):
                    follows[source.vertex].append(vertex)
    return follows


def _find_units(
    wiring: Wiring, selection: Selection, data: Mapping[Vertex, list[Vertex]]
) -> tuple[list[Unit], dict[Unit, Vertex]]:
    """Finds the loops: strongly connected once carried edges are drawn in."""
    follows = {vertex: list(targets) for vertex, targets in data.items()}
    for vertex, (_, source) in selection.carried.items():
        follows[source.vertex].append(vertex)
    units: list[Unit] = []
    opened_by: dict[Unit, Vertex] = {}
    for component in strongly_connected(follows):
        members = set(component)
        heads = [vertex for vertex in component if vertex in selection.carried]
        is_cycle = len(component) > 1 or component[0] in follows[component[0]]
        if not is_cycle:
            units.append(component)
            continue
        inside = {v: [t for t in data[v] if t in members] for v in component}
        body = _order_body(wiring, selection, inside)
        if len(heads) != 1 or body is None or heads[0] not in selection.until:
            raise LoopError(_explain_cycle(wiring, selection, component, heads))
        unit = tuple(body)
        units.append(unit)
        opened_by[unit] = heads[0]
    return units, opened_by


def _explain_cycle(
    wiring: Wiring, selection: Selection, component: Unit, heads: list[Vertex]
) -> str:
    names = ", ".join(sorted(map(str, component))[:8])
    if not heads:
        return (
            f"Graph {wiring.graph_name!r} has a cycle that no solver's state closes: {names}. "
            "Take away one of its explicit edges with graph.disconnect(...)."
        )
    if len(heads) > 1:
        opened = ", ".join(sorted(map(str, heads)))
        return (
            f"Graph {wiring.graph_name!r} has a loop that is opened twice, by {opened}: {names}. "
            "Put each loop in a group of its own, or the inner one in a stage."
        )
    if heads[0] not in selection.until:
        return (
            f"Graph {wiring.graph_name!r} has a loop opened by {heads[0]} that nothing ends: "
            f"{names}. Its rule must say `until`, the op that tells when the state is done."
        )
    return (
        f"Graph {wiring.graph_name!r} has a cycle inside the loop of {heads[0]}: {names}. "
        "Take away one of its explicit edges with graph.disconnect(...)."
    )


def _topological(follows: Mapping[Vertex, Iterable[Vertex]]) -> list[Vertex] | None:
    """Orders vertices so that each stands before those that follow it; ties by name.

    Returns:
        The order, or None where there is a cycle.
    """
    before = dict.fromkeys(follows, 0)
    for targets in follows.values():
        for target in targets:
            before[target] += 1
    ready = [vertex for vertex, count in before.items() if not count]
    heapq.heapify(ready)
    order: list[Vertex] = []
    while ready:
        vertex = heapq.heappop(ready)
        order.append(vertex)
        for target in follows[vertex]:
            before[target] -= 1
            if not before[target]:
                heapq.heappush(ready, target)
    return order if len(order) == len(before) else None


def _order_units(
    wiring: Wiring,
    selection: Selection,
    units: list[Unit],
    data: Mapping[Vertex, list[Vertex]],
) -> list[Unit]:
    """Orders units by data, then draws by the family's list, then by name."""
    unit_of = {vertex: unit for unit in units for vertex in unit}
    # A unit is known by its smallest vertex, so that ties never depend on the order of adding.
    key = {unit: min(unit) for unit in units}
    by_key = {key[unit]: unit for unit in units}
    follows: dict[Vertex, set[Vertex]] = {key[unit]: set() for unit in units}
    for vertex, targets in data.items():
        for target in targets:
            if unit_of[target] is not unit_of[vertex]:
                follows[key[unit_of[vertex]]].add(key[unit_of[target]])
    drawing = {
        key[unit]: [vertex for vertex in unit if _may_draw(wiring, vertex)] for unit in units
    }
    _order_draws(wiring, drawing, follows)
    order = _topological(follows)
    if order is None:
        raise _contradiction(wiring, [vertex for each in drawing.values() for vertex in each])
    check_draws(wiring, _given(selection, drawing), order, follows)
    return [by_key[each] for each in order]


def _order_body(
    wiring: Wiring, selection: Selection, inside: Mapping[Vertex, list[Vertex]]
) -> list[Vertex] | None:
    """Orders one iteration of a loop, its draws by the family's list too.

    Returns:
        The order, or None where there is a cycle.
    """
    if _topological(inside) is None:
        return None
    follows = {vertex: set(targets) for vertex, targets in inside.items()}
    drawing = {v: [v] if _may_draw(wiring, v) else [] for v in inside}
    _order_draws(wiring, drawing, follows)
    order = _topological(follows)
    if order is None:
        raise _contradiction(wiring, [vertex for each in drawing.values() for vertex in each])
    check_draws(wiring, _given(selection, drawing), order, follows)
    return order


def _may_draw(wiring: Wiring, vertex: Vertex) -> bool:
    """Whether an op takes a generator; where it is given none it draws from the global one."""
    return "generator" in wiring.inputs[vertex]


def _given(
    selection: Selection, drawing: Mapping[Vertex, list[Vertex]]
) -> dict[Vertex, list[Vertex]]:
    """Gives the draws that are given a generator, whose order must be decided."""
    return {
        unit: [vertex for vertex in vertices if "generator" in selection.chosen[vertex]]
        for unit, vertices in drawing.items()
    }


def _order_draws(
    wiring: Wiring, drawing: Mapping[Vertex, list[Vertex]], follows: dict[Vertex, set[Vertex]]
) -> None:
    """Adds the edges of the families' lists, then those that follow the stages."""
    for first, then in listed_draws(wiring, drawing):
        follows[first].add(then)
    # All are found before any is added: an order must not follow from another default.
    for first, then in list(staged_draws(wiring, drawing, follows)):
        follows[first].add(then)


def _contradiction(wiring: Wiring, drawing: list[Vertex]) -> LoopError:
    lists = "; ".join(str(list(patterns)) for patterns in dict.fromkeys(wiring.draws.values()))
    return LoopError(
        f"Graph {wiring.graph_name!r}: its list of draws, {lists}, contradicts the order that data "
        f"demands of {', '.join(sorted(map(str, drawing)))}."
    )


class _Slots:
    """Numbers values and builds the plan from ordered units."""

    def __init__(self, wiring: Wiring, selection: Selection) -> None:
        self._wiring = wiring
        self._selection = selection
        self._slots: dict[object, Slot] = {}
        self._labels: list[str] = []
        self._constants: dict[Slot, Any] = {}
        self._inputs: dict[str, Slot] = {}
        # Inside a loop, the head reads the state from a slot of its own.
        self._state: dict[tuple[Vertex, str], Slot] = {}

    def plan(
        self,
        order: Iterable[Unit],
        opened_by: Mapping[Unit, Vertex],
        targets: Mapping[str, FromPort],
    ) -> Plan:
        items: list[Call | Loop] = []
        for unit in order:
            if unit in opened_by:
                items.append(self._loop(unit, opened_by[unit]))
            elif not self._is_known(unit[0]):
                items.append(self._call(unit[0]))
        outputs = {name: self._slot(target) for name, target in targets.items()}
        kept = {*outputs.values(), *self._constants}
        return Plan(
            graph_name=self._wiring.graph_name,
            items=tuple(_with_frees(items, kept)),
            inputs=self._inputs,
            constants=self._constants,
            outputs=outputs,
            guards=tuple(self._selection.guards),
            labels=tuple(self._labels),
            unread=self._selection.unread,
            slots=len(self._labels),
        )

    def _is_known(self, vertex: Vertex) -> bool:
        """Says whether all outputs of a vertex are facts that planning computed."""
        spec = self._wiring.spec(vertex)
        return spec.fact and all(
            FromPort(vertex, port) in self._selection.facts for port in spec.outputs
        )

    def _call(self, vertex: Vertex) -> Call:
        node = self._wiring.nodes[vertex.node]
        spec = node.ops[vertex.op]
        arguments: list[tuple[str, Slot | tuple[Slot, ...]]] = []
        for port, sources in self._selection.chosen[vertex].items():
            if (vertex, port) in self._state:
                arguments.append((port, self._state[vertex, port]))
            elif spec.inputs[port].many:
                arguments.append((port, tuple(self._slot(source) for source in sources)))
            else:
                arguments.append((port, self._slot(sources[0])))
        # A port that takes many and gets none gets an empty tuple, unless its default is another.
        given = {port for port, _ in arguments}
        arguments += [
            (port.name, ())
            for port in spec.inputs.values()
            if port.many and port.default == () and port.name not in given
        ]
        results = tuple((port, self._slot(FromPort(vertex, port))) for port in spec.outputs)
        return Call(
            vertex=vertex,
            block=node.block,
            spec=spec,
            arguments=tuple(arguments),
            results=results,
            patches=() if spec.fact else patches_of(self._wiring, vertex.node),
            still=vertex in self._selection.still,
        )

    def _loop(self, body: Unit, head: Vertex) -> Loop:
        port, carried = self._selection.carried[head]
        initial = self._slot(self._selection.chosen[head][port][0])
        state = self._new_slot((head, port), f"{head}.{port}")
        self._state[head, port] = state
        until = self._selection.until[head]
        node = self._wiring.nodes[until.node]
        spec = node.ops[until.op]
        ends = Call(
            vertex=until,
            block=node.block,
            spec=spec,
            arguments=((next(iter(spec.inputs)), state),),
            results=(),
        )
        return Loop(
            body=tuple(self._call(vertex) for vertex in body),
            until=ends,
            initial=initial,
            state=state,
            carried=self._slot(carried),
        )

    def _slot(self, source: Source) -> Slot:
        if source in self._slots:
            return self._slots[source]
        slot = self._new_slot(source, str(source))
        if isinstance(source, FromInput):
            self._inputs[source.name] = slot
        elif isinstance(source, FromConstant):
            self._constants[slot] = source.value
        elif source in self._selection.facts:
            self._constants[slot] = self._selection.facts[source]
        return slot

    def _new_slot(self, key: object, label: str) -> Slot:
        self._slots[key] = len(self._labels)
        self._labels.append(label)
        return self._slots[key]


def _with_frees(items: Iterable[Call | Loop], kept: set[Slot]) -> Iterator[Call | Loop]:
    """Notes after each item the slots that nothing needs any more."""
    ordered = list(items)
    last: dict[Slot, int] = {}
    for place, item in enumerate(ordered):
        for slot in item.reads():
            last[slot] = place
        for slot in item.writes():
            last[slot] = max(last.get(slot, place), place)
    frees: dict[int, list[Slot]] = defaultdict(list)
    for slot, place in last.items():
        if slot not in kept:
            frees[place].append(slot)
    for place, item in enumerate(ordered):
        here = tuple(sorted(frees.get(place, ())))
        if isinstance(item, Loop):
            outside = {slot for later in ordered[place + 1 :] for slot in later.reads()} | kept
            yield replace(item, frees=here, body=_free_inside(item, outside))
        else:
            yield note_frees(item, here)


def _free_inside(loop: Loop, needed_after: set[Slot]) -> tuple[Call, ...]:
    """Frees what one iteration makes and uses up."""
    mine = loop.writes() - needed_after - {loop.carried, loop.state}
    last = {slot: place for place, call in enumerate(loop.body) for slot in call.reads()}
    for place, call in enumerate(loop.body):
        for _, slot in call.results:
            last.setdefault(slot, place)
    return tuple(
        note_frees(call, tuple(sorted(s for s in mine if last.get(s) == place)))
        for place, call in enumerate(loop.body)
    )
