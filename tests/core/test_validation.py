from __future__ import annotations

import pytest
import torch

from tests.core.graphs import chain, diffusion
from tests.core.toys import Add, Double, Split
from yggdrasil.core.errors import (
    AmbiguousError,
    ConfigError,
    ConnectError,
    GraphError,
    InputError,
    LoopError,
    MissingInputError,
    UnknownOutputError,
)
from yggdrasil.core.graph import ComputeGraph
from yggdrasil.core.rules import Rule


def test_a_sound_graph_passes():
    assert diffusion().validate() is None
    diffusion().validate(outputs=["vae.sample"], mode="corrupt")
    diffusion().validate({"prompt": "a", "init_image": torch.ones(3)}, ["latents"])
    ComputeGraph("outer").add_stage("stage", diffusion()).validate()
    chain(Add(), Double()).validate()


def test_nothing_runs():
    class Explodes(Add):
        def run(self, x):
            raise AssertionError

        run.__annotations__ = Add.run.__annotations__

    chain(Add(), Double()).expose_output("out", "n1").validate()


def test_aliases_must_lead_somewhere():
    with pytest.raises(GraphError, match=r"'b' of graph 'g' uses 'ad', .*Did you mean 'add'"):
        ComputeGraph("g").add_node("add", Add()).add_node("b", use="ad").validate()
    with pytest.raises(GraphError, match="in a circle: a -> b -> a"):
        ComputeGraph("g").add_node("a", use="b").add_node("b", use="a").validate()
    with pytest.raises(GraphError, match="no op 'walk'"):
        ComputeGraph("g").add_node("a", Add()).add_node("b", use="a.walk").validate()


def test_edges_and_exposures_must_still_fit():
    inner = chain(Add(), Double()).expose_output("out", "n1")
    graph = ComputeGraph("outer").add_stage("stage", inner).add_node("after", Add())
    graph.connect("stage.out", "after.x").validate()
    inner.remove_node("n1")
    with pytest.raises(
        ConnectError, match=r"edge stage.run.out -> after.run.x names stage.run.out"
    ):
        graph.validate()
    graph = ComputeGraph("outer").add_stage(
        "stage", chain(Add(), Double()).expose_output("o", "n0")
    )
    graph.expose_output("o", "stage.o").validate()
    graph.nodes["stage"].block.inner_graph.remove_node("n0")
    with pytest.raises(ConnectError, match=r"exposed output 'o' names stage.run.o, which does not"):
        graph.validate()


def test_stages_are_checked_too():
    inner = ComputeGraph("inner").add_node("b", use="nothing")
    with pytest.raises(GraphError, match="'b' of graph 'inner' uses 'nothing'"):
        ComputeGraph("outer").add_stage("stage", inner).validate()


def test_an_output_that_nothing_can_lead_to():
    graph = diffusion().remove_node("noise")
    graph.rules = (*graph.rules, Rule("solver.start.noise", ("source.sample",)))
    graph.validate()  # latents may be given
    graph.remove_node("net")
    message = r"'latents' of graph 'toy' needs guidance.combine.prediction .*no node gives it"
    with pytest.raises(MissingInputError, match=message):
        graph.validate()
    with pytest.raises(UnknownOutputError):
        graph.validate(outputs=["imag"])


def test_two_candidates_are_found_without_a_call():
    graph = diffusion().add_node("other", "toy_backbone/linear")
    with pytest.raises(AmbiguousError, match=r"net.predict.prediction or other.predict.predict.*"):
        graph.validate()


def test_a_cycle_is_found_without_a_call():
    graph = ComputeGraph("ring").add_node("a", "toy/mix").add_node("b", "toy/mix")
    graph.connect("a", "b.b").connect("b", "a.b").expose_output("out", "a")
    with pytest.raises(LoopError, match="cycle"):
        graph.validate()


def test_a_call_is_checked_as_it_is():
    with pytest.raises(MissingInputError, match="needs the input 'prompt'"):
        diffusion().validate({})
    with pytest.raises(InputError, match="scale is NaN"):
        diffusion().validate({"prompt": "a", "scale": float("nan")})


def test_tasks_are_checked():
    graph = diffusion()
    graph.tasks = {"a": {"take": []}}
    with pytest.raises(ConfigError, match="unknown key 'take'"):
        graph.validate()


def test_kinds_that_no_longer_fit():
    graph = ComputeGraph("g").add_stage("s", ComputeGraph("i").add_node("n", Split()))
    inner = graph.nodes["s"].block.inner_graph
    inner.expose_output("o", "n.left")
    graph.add_node("after", Add()).connect("s.o", "after.x")
    inner.add_node("solver", "toy_solver/halving").expose_output("o", "solver.finish")
    with pytest.raises(ConnectError, match=r"joins o: latents .* to x: number .*which do not fit"):
        graph.validate()
