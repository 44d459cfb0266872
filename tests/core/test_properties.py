"""Whatever the order of edits: the same plan. Whatever the graph: the numbers of a reference."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.core.graphs import NODES, diffusion, one, seeded
from tests.core.toys import Add, Double, Gather, Mix, Split
from yggdrasil.core.cache import ValueCache
from yggdrasil.core.graph import ComputeGraph
from yggdrasil.core.runtime import Runtime

MORE: dict[str, dict[str, Any]] = {
    "control_a": {"type": "toy_control/net", "order": 1},
    "control_b": {"type": "toy_control/net", "order": 2, "factor": 3.0},
    "shift": {"type": "toy_processor/shift", "order": 5},
}
ALL = {**NODES, **MORE}
GIVEN = {
    "prompt": "abc",
    "init_image": torch.tensor([1.0, 2.0, 3.0]),
    "mask": torch.tensor([1.0, 0.0, 1.0]),
    "control_image": one(0.5),
}
FEW = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def build(names):
    graph = diffusion(order=())  # only what does not depend on nodes
    for name in names:
        graph.add_node(name, **ALL[name])
    return graph


def expose(graph):
    return graph.expose_output("image", "vae.decode").expose_output("latents", "solver.finish")


def outcome(graph):
    runtime = Runtime(expose(graph))
    given = {**GIVEN, "generator": seeded()}
    return str(runtime.plan(given)), runtime.run(given)


def empty():
    return ComputeGraph("toy", rules=diffusion().rules)


def with_nodes(names):
    graph = empty()
    for name in names:
        graph.add_node(name, **ALL[name])
    return graph


EXPECTED = outcome(with_nodes(ALL))


def same(found):
    assert found[0] == EXPECTED[0]
    for name, value in EXPECTED[1].items():
        assert torch.equal(found[1][name], value)


@FEW
@given(st.permutations(list(ALL)))
def test_the_order_of_adding_changes_neither_plan_nor_bits(names):
    same(outcome(with_nodes(names)))


@FEW
@given(st.permutations(list(ALL)), st.lists(st.sampled_from(list(ALL)), max_size=6))
def test_adding_removing_and_adding_again_changes_nothing(names, away):
    graph = with_nodes(names)
    for name in away:
        graph.remove_node(name)
        graph.add_node(name, **ALL[name])
    same(outcome(graph))


@FEW
@given(st.permutations(list(ALL)))
def test_equal_graphs_give_equal_text(names):
    assert with_nodes(names).to_yaml() == with_nodes(ALL).to_yaml()


# -- random graphs against a reference -----------------------------------------------------------

KINDS = {"add": Add, "double": Double, "split": Split, "mix": Mix, "gather": Gather}
INPUTS = {
    "add": ["x"],
    "double": ["x"],
    "split": ["x"],
    "mix": ["a", "b", "c"],
    "gather": ["parts"],
}


@st.composite
def dags(draw):
    """Nodes ``(kind, {port: [source, ...]})``; a source is an earlier ``(node, output)``."""
    nodes = []
    for place in range(draw(st.integers(1, 12))):
        kind = draw(st.sampled_from(list(KINDS)))
        sources = [
            (earlier, output)
            for earlier in range(place)
            for output in (["left", "right"] if nodes[earlier][0] == "split" else ["number"])
        ]
        ports = {}
        for port in INPUTS[kind]:
            if kind == "gather":
                ports[port] = (
                    draw(st.lists(st.sampled_from(sources), unique=True, max_size=4))
                    if sources
                    else []
                )
            elif port in "bc":
                ports[port] = [draw(st.sampled_from([None, *sources]))]
            else:
                ports[port] = [draw(st.sampled_from(sources)) if sources else None]
        nodes.append((kind, ports))
    return nodes


def as_graph(nodes, order):
    graph = ComputeGraph("random")
    for place in order:
        # Optional inputs are named alike in all nodes, and are not given: only edges feed them.
        graph.add_node(f"n{place}", KINDS[nodes[place][0]](), order=place)
    for place, (_, ports) in enumerate(nodes):
        for port, sources in ports.items():
            for source in sources:
                if source is not None:
                    graph.connect(f"n{source[0]}.run.{source[1]}", f"n{place}.run.{port}")
    return graph


def reference(nodes, start):
    values: dict[Any, Any] = {}
    for place, (kind, ports) in enumerate(nodes):
        arguments = {
            port: [values[source] for source in sorted(sources, key=lambda s: (s[0], s[1]))]
            if kind == "gather"
            else (values[sources[0]] if sources[0] is not None else start[port])
            for port, sources in ports.items()
        }
        result = KINDS[kind]().run(**arguments)
        outputs = result._asdict() if kind == "split" else {"number": result}
        values.update({(place, output): value for output, value in outputs.items()})
    return values


@settings(max_examples=60, deadline=None)
@given(dags(), st.randoms(use_true_random=False))
def test_the_executor_agrees_with_a_reference(nodes, random):
    order = list(range(len(nodes)))
    random.shuffle(order)
    graph = as_graph(nodes, order)
    start = {"x": one(1.5), "a": one(-2), "b": None, "c": None}
    last = len(nodes) - 1
    outputs = ["left", "right"] if nodes[last][0] == "split" else ["number"]
    wanted = [f"n{last}.run.{output}" for output in outputs]
    expected = reference(nodes, start)
    plain, cached = Runtime(graph), Runtime(graph, ValueCache())
    names = plain.wiring().names
    given = {name: value for name, value in start.items() if name in names}
    for runtime in (plain, plain, cached, cached):
        found = runtime.run(given, wanted)
        for output, name in zip(outputs, wanted, strict=True):
            assert torch.equal(found[name], expected[last, output])
