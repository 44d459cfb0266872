"""Several graphs as the stages of one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Protocol

from yggdrasil.core.errors import ConnectError, GraphError, nearest
from yggdrasil.core.graph import ComputeGraph
from yggdrasil.core.ports import fits

__all__ = ["Stages", "combine"]


class _HasGraph(Protocol):
    """A pipeline, as far as it is of interest here."""

    graph: ComputeGraph


Stages = Mapping[str, ComputeGraph | _HasGraph] | Sequence[ComputeGraph | _HasGraph]


def combine(stages: Stages, links: Mapping[str, str]) -> ComputeGraph:
    """Makes one graph whose nodes are stages; their graphs are shared, not copied.

    A stage's input takes another stage's output of the same name and kind where exactly one other
    stage gives it and no cycle results. A list is an explicit order: there the input takes the
    output of the nearest stage before it.

    Args:
        stages: Graphs or pipelines by name, or in order; then they are called after their graphs.
        links: By input, ``stage.input``, the output that it takes: ``stage.output``. They go
            before what is found by name.

    Returns:
        The graph; of outputs that several stages have it exposes the last stage's.

    Raises:
        GraphError: There are no stages, or one name stands for two.
        ConnectError: A link names what is not there, or what does not fit.
    """
    named = dict(stages) if isinstance(stages, Mapping) else _named(stages)
    if not named:
        raise GraphError("There are no stages to combine: give at least one graph or pipeline.")
    whole = ComputeGraph("+".join(named))
    for name, each in named.items():
        whole.add_stage(name, each if isinstance(each, ComputeGraph) else each.graph)
    for target, source in links.items():
        for end in (source, target):
            stage = end.partition(".")[0]
            if stage not in named:
                raise ConnectError(
                    f"The link {source!r} -> {target!r} names no stage {stage!r}."
                    f"{nearest(stage, named)}"
                )
        whole.connect(source, target)
    if not isinstance(stages, Mapping):
        _link_in_order(whole, links)
    for name in named:
        for output in whole.ops(name)["run"].outputs:
            whole.expose_output(output, f"{name}.run.{output}")
    return whole


def _named(
    stages: Sequence[ComputeGraph | _HasGraph],
) -> dict[str, ComputeGraph | _HasGraph]:
    """Names stages after their graphs, with a number where a name comes again."""
    named: dict[str, ComputeGraph | _HasGraph] = {}
    for each in stages:
        graph = each if isinstance(each, ComputeGraph) else each.graph
        stem = re.sub(r"[^A-Za-z0-9_]", "_", graph.name)
        stem = stem if re.match(r"[A-Za-z_]", stem) else f"stage_{stem}"
        number = sum(name == stem or name.startswith(f"{stem}_") for name in named) + 1
        named[stem if number == 1 else f"{stem}_{number}"] = each
    return named


def _link_in_order(whole: ComputeGraph, links: Mapping[str, str]) -> None:
    """Feeds each stage's inputs from the nearest stage before it that gives the name."""
    before: list[str] = []
    for name in whole.nodes:
        for port in whole.ops(name)["run"].inputs.values():
            if f"{name}.{port.name}" in links:
                continue
            for giver in reversed(before):
                output = whole.ops(giver)["run"].outputs.get(port.name)
                if output is not None and fits(output, port):
                    whole.connect(f"{giver}.run.{port.name}", f"{name}.run.{port.name}")
                    break
        before.append(name)
