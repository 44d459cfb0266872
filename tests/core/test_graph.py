from __future__ import annotations

import pytest
import torch

from tests.core.graphs import chain, diffusion, one
from tests.core.toys import Add, Double, Gather, Mix, Solver, Split
from yggdrasil.core.errors import ConfigError, ConnectError, GraphError, RegistryError
from yggdrasil.core.graph import ComputeGraph
from yggdrasil.core.runtime import Runtime


def test_edits_chain_and_grow_the_version():
    graph = ComputeGraph().add_node("a", "toy/add", n=2.0).add_node("b", Double())
    before = graph.version
    graph.connect("a", "b").expose_output("out", "b").expose_input("number", "a.run.x")
    assert graph.version > before
    assert repr(graph) == "ComputeGraph('graph', {a: block, b: block})"
    assert Runtime(graph).run({"number": one(1)}) == {"out": one(6)}


@pytest.mark.parametrize(
    ("edit", "error", "message"),
    [
        (lambda g: g.add_node("n0", Add()), GraphError, r"has a node 'n0' already.*replace_node"),
        (lambda g: g.add_node("no-name", Add()), GraphError, "letters, digits and underscores"),
        (lambda g: g.add_node("x"), GraphError, "either a type or use="),
        (lambda g: g.add_node("x", Add(), use="n0"), GraphError, "and not both"),
        (lambda g: g.add_node("x", Add(), n=3), GraphError, "made already"),
        (lambda g: g.add_node("x", "toy/adds"), RegistryError, "Did you mean 'toy/add'"),
        (lambda g: g.add_node("x", "toy/add", m=1), ConfigError, "toy/add"),
        (lambda g: g.remove_node("n7"), GraphError, "no node 'n7'. Known: 'mix'"),
        (lambda g: g.replace_node("n7", Add()), GraphError, "no node 'n7'"),
        (lambda g: g.connect("n9.run", "n0"), ConnectError, r"'n9.run': .*no node 'n9'"),
        (lambda g: g.connect("n0.runs", "n1"), ConnectError, "no such output. Did you mean 'run'"),
        (lambda g: g.connect("n0", "n1.run.y"), ConnectError, "no such input.*'run.x'"),
        (lambda g: g.connect("n0", "n2"), ConnectError, r"fed by n1.run.number already.*disconn"),
        (lambda g: g.connect("split", "n0"), ConnectError, r"could mean: connect\('split.run.left"),
        (lambda g: g.connect("n0", "solver.tick"), ConnectError, r"does not fit.*number \(n\)"),
        (lambda g: g.disconnect("n0.run.x"), ConnectError, "No explicit edge.*'n1.run.x'"),
        (lambda g: g.expose_input("i", "mix"), ConnectError, "could be.*name the port in full"),
        (lambda g: g.expose_output("o", "split"), ConnectError, "name the port in full"),
        (lambda g: g.expose_output("o", "n0.x"), ConnectError, "no such output"),
        (lambda g: g.block("zz"), GraphError, "no node 'zz'"),
    ],
)
def test_a_wrong_edit_says_how_to_mend_it_and_changes_nothing(edit, error, message):
    graph = chain(Add(), Add(), Double())
    graph.add_node("split", Split()).add_node("solver", Solver()).add_node("mix", Mix())
    before = (dict(graph.nodes), graph.edges, dict(graph.inputs), dict(graph.outputs))
    version = graph.version
    with pytest.raises(error, match=message):
        edit(graph)
    assert (dict(graph.nodes), graph.edges, dict(graph.inputs), dict(graph.outputs)) == before
    assert graph.version == version


def test_parts_of_a_reference_may_be_left_out():
    graph = ComputeGraph().add_node("split", Split()).add_node("mix", Mix())
    graph.connect("split.left", "mix.a").connect("split.run.right", "mix.run.b")
    assert [str(edge) for edge in graph.edges] == [
        "split.run.left -> mix.run.a",
        "split.run.right -> mix.run.b",
    ]


def test_connecting_twice_is_connecting_once():
    graph = chain(Add(), Double())
    graph.connect("n0", "n1")
    assert len(graph.edges) == 1


def test_removing_a_node_takes_its_edges_and_exposures():
    graph = chain(Add(), Double(), Add())
    graph.expose_input("both", "n0.run.x", "n1.run.x").expose_input("first", "n0.run.x")
    graph.expose_output("out", "n0")
    graph.remove_node("n0")
    assert [str(edge) for edge in graph.edges] == ["n1.run.number -> n2.run.x"]
    assert {name: [str(r) for r in refs] for name, refs in graph.inputs.items()} == {
        "both": ["n1.run.x"]
    }
    assert not graph.outputs


def test_a_node_that_an_alias_uses_cannot_be_removed():
    graph = ComputeGraph().add_node("a", Add()).add_node("b", use="a")
    with pytest.raises(GraphError, match="is used by 'b'; remove those first"):
        graph.remove_node("a")
    graph.remove_node("b").remove_node("a")


def test_replacing_keeps_settings_edges_and_exposures():
    graph = diffusion(noise={"order": 3, "group": None})
    graph.replace_node("noise", "toy_source/noise", order=4)
    assert graph.nodes["noise"].order == 4
    graph = chain(Add(), Double())
    graph.expose_output("out", "n0")
    graph.replace_node("n0", Add(5.0))
    assert Runtime(graph).run({"x": one(1)}, ["out", "n1.run"]) == {
        "out": one(6),
        "n1.run": one(12),
    }


def test_a_replacement_without_the_ports_in_use_is_refused():
    graph = chain(Add(), Double())
    with pytest.raises(GraphError, match=r"no run.number.*edge n0.run.number -> n1.run.x"):
        graph.replace_node("n0", Split())
    graph = ComputeGraph().add_node("a", Add()).expose_output("out", "a")
    with pytest.raises(GraphError, match=r"no run.number, .*exposed name 'out'"):
        graph.replace_node("a", Split())
    assert isinstance(graph.block("a"), Add)


def test_an_alias_of_one_op_has_that_op_alone():
    graph = diffusion().add_node("again", use="vae.decode", role="other")
    assert list(graph.ops("again")) == ["decode"]
    assert graph.block("again") is graph.block("vae")
    assert graph.role("again") == "other"
    graph.add_node("wrong", use="vae.decodes")
    with pytest.raises(GraphError, match=r"no op 'decodes'. Did you mean 'decode'"):
        graph.ops("wrong")


def test_ports_that_take_many_are_fed_several_times_by_hand():
    graph = ComputeGraph()
    for name, order in (("c", 0), ("a", 2), ("b", 1)):
        graph.add_node(name, Add(float(order)), order=order)
    graph.add_node("gather", Gather())
    for name in ("a", "b", "c"):
        graph.connect(name, "gather")
    # By the nodes' order, whatever their names and however they were connected: ((c)*3 + b)*3 + a.
    result = Runtime(graph).run({"x": one(1)}, ["gather.run"])["gather.run"]
    assert torch.equal(result, one((1 * 3 + 2) * 3 + 3))


def test_aliases_in_a_circle_are_no_endless_search():
    graph = ComputeGraph().add_node("a", use="b").add_node("b", use="a")
    with pytest.raises(GraphError, match="in a circle: a -> b -> a"):
        graph.block("a")


def test_a_graph_whose_aliases_lead_nowhere_can_be_shown():
    graph = ComputeGraph("g").add_node("a", use="b").add_node("b", use="a.run")
    graph.add_node("c", use="later").add_node("d", use="e").add_node("e", Add())
    assert repr(graph) == (
        "ComputeGraph('g', {a: use b, b: use a.run, c: use later, d: block, e: block})"
    )
