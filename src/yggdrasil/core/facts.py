"""Facts: what configuration alone tells, computed while planning."""

from __future__ import annotations

from typing import Any

from yggdrasil.core.block import AbstractBaseBlock
from yggdrasil.core.errors import NotLoadedError
from yggdrasil.core.wiring import FromPort, Vertex, Wiring

__all__ = ["declined", "fact_of"]


def fact_of(wiring: Wiring, source: FromPort) -> dict[FromPort, Any]:
    """Computes the outputs of a fact that needs nothing of a call.

    Args:
        wiring: For the vertex's block.
        source: One of its outputs.

    Returns:
        All its outputs; nothing where the vertex is no such fact, or its block has neither
        components nor a source of them, as in a template that nobody gave a model yet.
    """
    spec = wiring.spec(source.vertex)
    if not spec.fact or spec.inputs:
        return {}
    try:
        result = getattr(wiring.nodes[source.vertex.node].block, spec.name)()
    except NotLoadedError:
        return {}
    values = result if spec.several else (result,)
    return {
        FromPort(source.vertex, port): value
        for port, value in zip(spec.outputs, values, strict=True)
    }


def declined(wiring: Wiring, vertex: Vertex) -> bool:
    """Asks a block whether an op does not apply to the models in the graph."""
    block = wiring.nodes[vertex.node].block
    if type(block).declines is AbstractBaseBlock.declines:
        return False
    facts: dict[str, Any] = {}
    for name, candidates in wiring.inputs[vertex].items():
        sources = [choice[0] for choice in candidates.choices if len(choice) == 1]
        known = [fact_of(wiring, each) for each in sources if isinstance(each, FromPort)]
        if known and known[0]:
            facts[name] = next(iter(known[0].values()))
    return block.declines(vertex.op, facts)
