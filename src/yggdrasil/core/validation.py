"""Checking a graph without running it."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any

from yggdrasil.core.availability import can_be_had, fill_defaults
from yggdrasil.core.candidates import FromInput, Vertex, Wiring
from yggdrasil.core.declaration import Edge, GraphLike
from yggdrasil.core.errors import (
    AmbiguousError,
    ConnectError,
    GraphError,
    MissingInputError,
    nearest,
)
from yggdrasil.core.lowering import lower
from yggdrasil.core.missing import explain_missing
from yggdrasil.core.planner import find_output, make_plan
from yggdrasil.core.ports import Port, fits
from yggdrasil.core.references import PortRef
from yggdrasil.core.rules import Mode
from yggdrasil.core.structure import reachable_vertices, select_structure
from yggdrasil.core.tasks import read_tasks
from yggdrasil.core.wiring import wire

__all__ = ["validate"]


def validate(
    graph: GraphLike,
    given: Mapping[str, Any] | None = None,
    outputs: Sequence[str] | None = None,
    *,
    mode: Mode = "denoise",
) -> None:
    """Checks all that can be known before anything runs.

    Args:
        graph: The graph.
        given: Inputs of a call, to check that very call; without them it is checked that some
            inputs lead to each output.
        outputs: What is wanted; every exposed output unless said.
        mode: ``denoise`` generates, ``corrupt`` trains.

    Raises:
        YggdrasilError: The first thing that is wrong, with where and how to mend it.
    """
    _check_declarations(graph)
    wiring = wire(graph, mode)
    wanted = list(graph.outputs) if outputs is None else list(outputs)
    if given is not None:
        make_plan(wiring, fill_defaults(wiring, graph.defaults, given), wanted)
        return
    targets = {name: find_output(wiring, name) for name in wanted}
    available = reachable_vertices(wiring)
    for name, target in targets.items():
        if target.vertex not in available:
            raise MissingInputError(
                explain_missing(wiring, wiring.names, (), available, name, target)
            )
    selection = select_structure(wiring, [t.vertex for t in targets.values()], available)
    for vertex in selection.chosen:
        _check_ambiguity(wiring, vertex, available)
    lower(wiring, selection, targets)


def _check_declarations(graph: GraphLike) -> None:
    """Checks aliases, edges, exposures and tasks of a graph and of the stages in it."""
    graphs: list[GraphLike] = [graph]
    for each in graphs:  # it grows while it is walked
        for name, node in each.nodes.items():
            _check_alias(each, name)
            if node.block is not None and node.block.inner_graph is not None:
                graphs.append(node.block.inner_graph)
    for each in reversed(graphs):
        for name in each.nodes:
            each.ops(name)
        for edge in each.edges:
            _check_edge(each, edge)
        for refs in each.inputs.values():
            for ref in refs:
                _port(each, ref, "inputs", f"exposed input {ref}")
        for name, ref in each.outputs.items():
            _port(each, ref, "outputs", f"exposed output {name!r}")
        read_tasks(each.tasks)


def _check_alias(graph: GraphLike, name: str) -> None:
    trail = [name]
    while (use := graph.nodes[trail[-1]].use) is not None:
        used = use.partition(".")[0]
        if used not in graph.nodes:
            raise GraphError(
                f"Node {trail[-1]!r} of graph {graph.name!r} uses {use!r}, but there is no node "
                f"{used!r}.{nearest(used, graph.nodes)}"
            )
        if used in trail:
            raise GraphError(
                f"Nodes of graph {graph.name!r} use each other in a circle: "
                f"{' -> '.join((*trail, used))}. One of them must have a type."
            )
        trail.append(used)


def _check_edge(graph: GraphLike, edge: Edge) -> None:
    source = _port(graph, edge.source, "outputs", f"edge {edge}")
    target = _port(graph, edge.target, "inputs", f"edge {edge}")
    if not fits(source, target):
        raise ConnectError(
            f"Edge {edge} of graph {graph.name!r} joins {source} to {target}, which do not fit; "
            f"disconnect({str(edge.target)!r})."
        )


def _port(graph: GraphLike, ref: PortRef, side: str, what: str) -> Port:
    ops = graph.ops(ref.node) if ref.node in graph.nodes else {}
    ports: Mapping[str, Port] = getattr(ops.get(ref.op), side, {})
    if ref.port not in ports:
        known = [f"{name}.{port}" for name, spec in ops.items() for port in getattr(spec, side)]
        raise ConnectError(
            f"Graph {graph.name!r}: {what} names {ref}, which does not exist."
            f"{nearest(f'{ref.op}.{ref.port}', known)}"
        )
    return ports[ref.port]


def _check_ambiguity(wiring: Wiring, vertex: Vertex, available: Container[Vertex]) -> None:
    for name, candidates in wiring.inputs[vertex].items():
        if candidates.port.many:
            continue
        for choice in candidates.choices:
            there = [s for s in choice if can_be_had(s, wiring.names, available)]
            if len(there) > 1:
                raise AmbiguousError(
                    f"{vertex}.{name} in graph {wiring.graph_name!r} could come from "
                    f"{' or '.join(map(str, there))}. Say which: "
                    f"graph.connect('{there[0]}', '{vertex}.{name}')."
                )
            if there and not isinstance(there[0], FromInput):
                break
