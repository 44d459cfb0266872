"""Explicit edges: from two references to the one edge that they can mean."""

from __future__ import annotations

from collections.abc import Sequence

from yggdrasil.core.declaration import Edge, GraphLike
from yggdrasil.core.errors import ConnectError
from yggdrasil.core.ports import Port, fits
from yggdrasil.core.references import PortRef, find_inputs, find_outputs

__all__ = ["resolve_edge", "sole"]


def resolve_edge(graph: GraphLike, source: str, target: str) -> Edge:
    """Gives the edge that two references mean.

    Args:
        graph: The graph.
        source: ``node.op.port``; parts that leave no doubt may be left out.
        target: Likewise, an input.

    Raises:
        ConnectError: An end does not exist, kinds do not fit, or several pairs would do.
    """
    outputs, inputs = find_outputs(graph, source), find_inputs(graph, target)
    pairs = [
        Edge(o, i)
        for o in outputs
        for i in inputs
        if fits(_output(graph, o), _input(graph, i)) and (o.node, o.op) != (i.node, i.op)
    ]
    if len(pairs) > 1:
        alike = [pair for pair in pairs if pair.source.port == pair.target.port]
        pairs = alike if len(alike) == 1 else pairs
    if len(pairs) == 1:
        return pairs[0]
    if pairs:
        lines = "; ".join(f"connect('{p.source}', '{p.target}')" for p in pairs[:5])
        raise ConnectError(
            f"connect({source!r}, {target!r}) in graph {graph.name!r} could mean: {lines}."
        )
    gives = ", ".join(f"{ref} ({_output(graph, ref)})" for ref in outputs[:5])
    takes = ", ".join(f"{ref} ({_input(graph, ref)})" for ref in inputs[:5])
    raise ConnectError(
        f"{source!r} does not fit {target!r} in graph {graph.name!r}: {gives} against {takes}."
    )


def sole(graph: GraphLike, refs: Sequence[PortRef], text: str) -> PortRef:
    """Gives the one port that a reference means.

    Args:
        graph: For messages.
        refs: What it could mean; at least one.
        text: The reference.

    Raises:
        ConnectError: It could mean several.
    """
    if len(refs) > 1:
        raise ConnectError(
            f"{text!r} in graph {graph.name!r} could be {', '.join(map(str, refs[:5]))}: "
            "name the port in full."
        )
    return refs[0]


def _output(graph: GraphLike, ref: PortRef) -> Port:
    return graph.ops(ref.node)[ref.op].outputs[ref.port]


def _input(graph: GraphLike, ref: PortRef) -> Port:
    return graph.ops(ref.node)[ref.op].inputs[ref.port]
