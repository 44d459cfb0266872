"""What a drawing shows, before it is put on paper: boxes, arrows and loops."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from yggdrasil.core.candidates import FromInput, FromPort, Vertex, Wiring
from yggdrasil.core.cycles import strongly_connected
from yggdrasil.core.drawing.boxing import group_ops
from yggdrasil.core.plan import Loop, Plan
from yggdrasil.core.planner import find_output
from yggdrasil.core.structure import reachable_vertices, select_structure

__all__ = ["Arrow", "Box", "Diagram", "of_plan", "of_structure"]

_PATCH = "patch"
"""What is drawn of an adapter, which has no op: it changes the blocks of others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """Ops of one node that stand together.

    Attributes:
        title: The node.
        subtitle: What it is.
        ops: What it does here, in order; empty for a node that is not used.
        inputs: Graph inputs that are read here.
        role: For the colour.
        loop: The loop that it stands in, by number.
    """

    title: str
    subtitle: str
    ops: tuple[str, ...]
    inputs: tuple[str, ...]
    role: str
    loop: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrow:
    """Values that flow from one box to another.

    Attributes:
        source: A box, by number.
        target: Likewise.
        labels: The ports that are joined.
        carried: Whether they flow from one step of a loop to the next.
    """

    source: int
    target: int
    labels: tuple[str, ...]
    carried: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagram:
    """A drawing's contents.

    Attributes:
        title: The graph's name.
        boxes: In an order that data allows.
        arrows: At most one of each sort between two boxes.
        loops: Their titles.
        outputs: Wanted outputs, each with its box.
    """

    title: str
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    loops: tuple[str, ...]
    outputs: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class _Flow:
    """One value on its way from an op to an op."""

    source: Vertex
    target: Vertex
    label: str
    carried: bool = False


def of_plan(wiring: Wiring, plan: Plan) -> Diagram:
    """Gives the contents of a drawing of what one call runs.

    Args:
        wiring: For the nodes.
        plan: The plan.
    """
    made: dict[int, tuple[Vertex, str]] = {}
    names = {slot: name for name, slot in plan.inputs.items()}
    loops = [[call.vertex for call in item.body] for item in plan.items if isinstance(item, Loop)]
    for call in plan.calls():
        made.update({slot: (call.vertex, port) for port, slot in call.results})
    states = {item.state: item for item in plan.items if isinstance(item, Loop)}
    flows: list[_Flow] = []
    reads: dict[Vertex, dict[str, None]] = defaultdict(dict)
    for call in plan.calls():
        for port, slots in call.arguments:
            for slot in (slots,) if isinstance(slots, int) else slots:
                loop = states.get(slot)
                first = slot if loop is None else loop.initial
                if first in names:
                    reads[call.vertex][names[first]] = None
                if first in made:
                    vertex, out = made[first]
                    flows.append(_Flow(vertex, call.vertex, f"{out} → {port}"))
                if loop is not None:
                    vertex, out = made[loop.carried]
                    flows.append(_Flow(vertex, call.vertex, f"{out} → {port}", carried=True))
    outputs = {name: made[slot][0] for name, slot in plan.outputs.items() if slot in made}
    order = [call.vertex for call in plan.calls()]
    patching = _patching(wiring, order)
    order = [*dict.fromkeys(flow.source for flow in patching), *order]
    return _draw_up(wiring, order, [*flows, *patching], reads, loops, outputs, unused=())


def _patching(wiring: Wiring, vertices: Iterable[Vertex]) -> list[_Flow]:
    """Gives what goes from adapters to the ops of the blocks that they may change."""
    return [
        _Flow(Vertex(adapter, _PATCH), vertex, _PATCH)
        for vertex in vertices
        for adapter in wiring.patches.get(vertex.node, ())
        if not wiring.spec(vertex).fact
    ]


def of_structure(wiring: Wiring, outputs: Sequence[str]) -> Diagram:
    """Gives the contents of a drawing of a whole graph.

    Args:
        wiring: The candidates.
        outputs: What is wanted of it; without any, everything that could run is drawn.
    """
    available = reachable_vertices(wiring)
    targets = {name: find_output(wiring, name).vertex for name in outputs}
    wanted: Iterable[Vertex] = targets.values() if targets else wiring.inputs
    selection = select_structure(wiring, wanted, available, alternatives=True)

    def is_fact(vertex: Vertex) -> bool:
        spec = wiring.spec(vertex)
        return spec.fact and not spec.inputs

    chosen = [vertex for vertex in selection.chosen if not is_fact(vertex)]
    drawn = set(chosen)
    flows: list[_Flow] = []
    reads: dict[Vertex, dict[str, None]] = defaultdict(dict)
    for vertex in chosen:
        for port, sources in selection.chosen[vertex].items():
            for source in sources:
                if isinstance(source, FromInput):
                    reads[vertex][source.name] = None
                elif isinstance(source, FromPort) and source.vertex in drawn:
                    flows.append(_Flow(source.vertex, vertex, f"{source.port} → {port}"))
        if vertex in selection.carried:
            port, back = selection.carried[vertex]
            flows.append(_Flow(back.vertex, vertex, f"{back.port} → {port}", carried=True))
    follows: dict[Vertex, list[Vertex]] = {vertex: [] for vertex in sorted(chosen)}
    for flow in flows:
        follows[flow.source].append(flow.target)
    components = strongly_connected(follows)
    loops = [sorted(c) for c in components if len(c) > 1 or c[0] in follows[c[0]]]
    order = [vertex for component in reversed(components) for vertex in component]
    patching = _patching(wiring, chosen)
    order = [*dict.fromkeys(flow.source for flow in patching), *order]
    drawn.update(flow.source for flow in patching)
    unused = [path for path in wiring.nodes if path not in {vertex.node for vertex in drawn}]
    flows = [*_cut(flows, loops), *patching]
    reached = {name: vertex for name, vertex in targets.items() if vertex in drawn}
    return _draw_up(wiring, order, flows, reads, loops, reached, unused=unused)


def _cut(flows: list[_Flow], loops: Sequence[Sequence[Vertex]]) -> list[_Flow]:
    """Has the arrows that close a cycle run backwards, where no carried edge does."""
    result = list(flows)
    for loop in loops:
        members = set(loop)
        while True:
            follows: dict[Vertex, list[Vertex]] = {vertex: [] for vertex in loop}
            for flow in result:
                if flow.source in members and flow.target in members and not flow.carried:
                    follows[flow.source].append(flow.target)
            rings = [
                set(ring)
                for ring in strongly_connected(follows)
                if len(ring) > 1 or ring[0] in follows[ring[0]]
            ]
            if not rings:
                break
            place = next(
                place
                for place, flow in enumerate(result)
                if flow.source in rings[0] and flow.target in rings[0] and not flow.carried
            )
            cut = result[place]
            result[place] = _Flow(cut.source, cut.target, cut.label, carried=True)
    return result


def _draw_up(
    wiring: Wiring,
    order: Sequence[Vertex],
    flows: Sequence[_Flow],
    reads: Mapping[Vertex, Iterable[str]],
    loops: Sequence[Sequence[Vertex]],
    outputs: Mapping[str, Vertex],
    *,
    unused: Iterable[str],
) -> Diagram:
    loop_of = {vertex: number for number, loop in enumerate(loops) for vertex in loop}
    forward = [(flow.source, flow.target) for flow in flows if not flow.carried]
    groups = group_ops(order, forward, loop_of)
    box_of = {vertex: number for number, group in enumerate(groups) for vertex in group}
    boxes = []
    for group in groups:
        node = wiring.nodes[group[0].node]
        names = dict.fromkeys(name for vertex in group for name in reads.get(vertex, ()))
        boxes.append(
            Box(
                title=node.path,
                subtitle=node.block.label,
                ops=tuple(vertex.op for vertex in group),
                inputs=tuple(names),
                role=node.role,
                loop=loop_of.get(group[0]),
            )
        )
    for path in unused:
        node = wiring.nodes[path]
        subtitle = node.block.label
        boxes.append(
            Box(title=path, subtitle=subtitle, ops=(), inputs=(), role=node.role, loop=None)
        )
    joined: dict[tuple[int, int, bool], dict[str, None]] = {}
    for flow in flows:
        key = (box_of[flow.source], box_of[flow.target], flow.carried)
        if key[0] != key[1] or flow.carried:
            joined.setdefault(key, {})[flow.label] = None
    return Diagram(
        title=wiring.graph_name,
        boxes=tuple(boxes),
        arrows=tuple(
            Arrow(source=a, target=b, labels=tuple(labels), carried=carried)
            for (a, b, carried), labels in sorted(joined.items())
        ),
        loops=tuple(_loop_title(loop) for loop in loops),
        outputs=tuple((name, box_of[vertex]) for name, vertex in outputs.items()),
    )


def _loop_title(loop: Sequence[Vertex]) -> str:
    """Names a loop by the node that does most in it."""
    count: dict[str, int] = defaultdict(int)
    for vertex in loop:
        count[vertex.node] += 1
    return f"each step of {max(sorted(count), key=lambda node: count[node])}"
