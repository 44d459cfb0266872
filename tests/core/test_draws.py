"""A seed decides the result: draws stand in one order, or are refused."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from tests.core.graphs import diffusion, seeded
from tests.core.toys import Number, Residual
from yggdrasil.core.block import AbstractBaseBlock
from yggdrasil.core.errors import InputError, LoopError
from yggdrasil.core.graph import ComputeGraph
from yggdrasil.core.kinds import Generator, Latents
from yggdrasil.core.ports import op
from yggdrasil.core.registry import register_block
from yggdrasil.core.runtime import Runtime

IMAGE = torch.tensor([1.0, 2.0, 3.0])


class Draw(AbstractBaseBlock):
    @op
    def run(self, x: Number | None = None, generator: Generator | None = None) -> Number:
        drawn = torch.randn(1, generator=generator)
        return drawn if x is None else drawn + x


class DrawImage(AbstractBaseBlock):
    @op
    def look(self, sample: Latents, generator: Generator | None = None) -> Residual:
        return torch.randn(1, generator=generator)


class Join(AbstractBaseBlock):
    @op
    def run(self, a: Number, b: Number, c: Number | None = None) -> Number:
        return a + 10 * b + (0 if c is None else 100 * c)


def two(draws=()):
    graph = ComputeGraph("two", draws=draws)
    graph.add_node("p", Draw()).add_node("q", Draw()).add_node("join", Join())
    graph.connect("p", "join.a").connect("q", "join.b")
    return graph


def order(graph, output="join.run", **given):
    plan = Runtime(graph).plan({"generator": seeded(), **given}, [output])
    return [str(c.vertex) for c in plan.calls() if c.spec.draws]


def test_draws_that_nothing_orders_are_refused():
    message = r"p.run and q.run in graph 'two' both draw .*Name both in the graph's draws, now \["
    with pytest.raises(InputError, match=message):
        order(two())
    Runtime(two()).plan({}, ["join.run"])  # without a generator there is nothing to order


def test_the_list_orders_what_data_does_not():
    assert order(two(("p.run", "q.run"))) == ["p.run", "q.run"]
    assert order(two(("q.run", "p.run"))) == ["q.run", "p.run"]


@pytest.mark.parametrize("draws", [("p.run", "q.run"), ("q.run", "p.run")])
def test_the_list_orders_draws_from_the_global_generator_too(draws):
    plan = Runtime(two(draws)).plan({}, ["join.run"])
    assert tuple(str(call.vertex) for call in plan.calls())[:2] == draws


@register_block("toy_block/draw")
class Named(Draw):
    pass


class Derived(Named):
    pass


def test_the_list_names_derived_types_by_their_base():
    graph = ComputeGraph("two", draws=("toy_block/draw.run", "p.run"))
    graph.add_node("p", Draw()).add_node("q", Derived()).add_node("join", Join())
    graph.connect("p", "join.a").connect("q", "join.b")
    assert order(graph) == ["q.run", "p.run"]


def test_data_orders_without_a_list():
    graph = two().connect("q", "p.x")
    assert order(graph) == ["q.run", "p.run"]


def test_a_list_that_contradicts_the_data_is_refused():
    graph = two(("p.run", "q.run")).connect("q", "p.x")
    with pytest.raises(LoopError, match=r"\['p.run', 'q.run'\], contradicts the order that data"):
        order(graph)


def test_every_pair_is_looked_at_and_not_only_neighbours():
    # a and c come before b by data, and nothing orders a and c.
    graph = ComputeGraph("three")
    for name in "abc":
        graph.add_node(name, Draw())
    graph.add_node("mid", Join()).add_node("join", Join())
    graph.connect("a", "mid.a").connect("c", "mid.b").connect("mid", "b.x")
    graph.connect("a", "join.a").connect("b", "join.b").connect("c", "join.c")
    with pytest.raises(InputError, match=r"a.run and c.run"):
        order(graph)


def test_a_chain_through_the_list_and_the_data_orders_both():
    graph = ComputeGraph("three", draws=("a.run", "b.run"))
    for name in "abc":
        graph.add_node(name, Draw())
    graph.add_node("join", Join()).connect("b", "c.x")
    graph.connect("a", "join.a").connect("b", "join.b").connect("c", "join.c")
    assert order(graph) == ["a.run", "b.run", "c.run"]


def test_a_posterior_is_drawn_before_the_noise():
    runtime = Runtime(diffusion())
    plan = runtime.plan({"prompt": "a", "init_image": IMAGE, "generator": seeded()})
    drawn = [str(c.vertex) for c in plan.calls() if c.spec.draws]
    assert drawn == ["vae.sample", "noise.sample"]


def test_a_loop_counts_as_one_draw():
    graph = diffusion(solver={"type": "toy_solver/drawing"})
    plan = Runtime(graph).plan({"prompt": "a", "init_image": IMAGE, "generator": seeded()})
    drawn = [str(c.vertex) for c in plan.calls() if c.spec.draws]
    assert drawn == ["vae.sample", "noise.sample", "solver.step"]


def test_draws_within_a_loop_are_ordered_too():
    graph = diffusion(solver={"type": "toy_solver/drawing"})
    graph.add_node("left", DrawImage(), role="inner_module", order=1)
    graph.add_node("right", DrawImage(), role="inner_module", order=2)
    given = {"prompt": "a", "generator": seeded()}
    with pytest.raises(InputError, match=r"left.look and right.look"):
        Runtime(graph).plan(given, ["latents"])
    graph.draws = ("source.sample", "right.look", "left.look", "solver.step")
    plan = Runtime(graph).plan(given, ["latents"])
    drawn = [str(c.vertex) for c in plan.calls() if c.spec.draws]
    assert drawn == ["noise.sample", "right.look", "left.look", "solver.step"]


def test_draws_of_one_role_follow_the_order_of_their_nodes():
    graph = diffusion(solver={"type": "toy_solver/drawing"})
    graph.add_node("left", DrawImage(), role="inner_module", order=2)
    graph.add_node("right", DrawImage(), role="inner_module", order=1)
    graph.draws = ("source.sample", "inner_module.look", "solver.step")
    plan = Runtime(graph).plan({"prompt": "a", "generator": seeded()}, ["latents"])
    drawn = [str(c.vertex) for c in plan.calls() if c.spec.draws]
    assert drawn == ["noise.sample", "right.look", "left.look", "solver.step"]


def test_a_seed_decides_the_bits():
    graph = diffusion(solver={"type": "toy_solver/drawing"})
    given = {"prompt": "a", "init_image": IMAGE}
    first = Runtime(graph).run(given | {"generator": seeded(7)})["image"]
    assert torch.equal(first, Runtime(graph).run(given | {"generator": seeded(7)})["image"])
    assert not torch.equal(first, Runtime(graph).run(given | {"generator": seeded(8)})["image"])


def test_stages_order_their_own_draws():
    inner = two(("q.run", "p.run")).expose_output("sum", "join")
    graph = ComputeGraph("outer").add_stage("stage", inner).add_node("twice", "toy/double")
    graph.connect("stage.run.sum", "twice.x")
    plan = Runtime(graph).plan({"generator": seeded()}, ["twice.run"])
    drawn = [str(c.vertex) for c in plan.calls() if c.spec.draws]
    assert drawn == ["stage.q.run", "stage.p.run"]


def test_draws_of_two_stages_are_ordered_by_the_outer_list():
    graph = ComputeGraph("outer").add_node("join", Join())
    for name in ("one", "two"):
        inner = ComputeGraph(name).add_node("d", Draw()).expose_output(name, "d")
        graph.add_stage(name, inner)
    graph.connect("one.run.one", "join.a").connect("two.run.two", "join.b")
    with pytest.raises(InputError, match=r"one.d.run and two.d.run"):
        order(graph)
    graph.draws = ("two.d.run", "one.d.run")
    assert order(graph) == ["two.d.run", "one.d.run"]


def passing(*names):
    """Makes stages that each draw and read the one before, named so that sorting misleads."""
    graph = ComputeGraph("outer")
    for name in names:
        inner = ComputeGraph(name).add_node("d", Draw()).expose_input("x", "d.x")
        graph.add_stage(name, inner.expose_output(name, "d"))
    for first, then in pairwise(names):
        graph.connect(f"{first}.run.{first}", f"{then}.run.x")
    return graph.expose_output("sum", f"{names[-1]}.run.{names[-1]}")


def test_stages_draw_in_the_order_in_which_data_passes():
    assert order(passing("c", "a", "b"), "sum") == ["c.d.run", "a.d.run", "b.d.run"]


def test_draws_of_a_stage_that_data_does_not_order_stand_behind_those_of_the_stage_it_reads():
    refiner = ComputeGraph("refiner").add_node("encode", Draw()).add_node("noise", Draw())
    refiner.add_node("join", Join()).connect("encode", "join.a").connect("noise", "join.b")
    refiner.expose_input("start", "encode.x").expose_output("out", "join")
    refiner.draws = ("encode.run", "noise.run")
    base = ComputeGraph("base").add_node("z", Draw()).expose_output("start", "z")
    graph = ComputeGraph("outer").add_stage("refiner", refiner).add_stage("base", base)
    graph.expose_output("sum", "refiner.run.out")
    assert order(graph, "sum") == ["base.z.run", "refiner.encode.run", "refiner.noise.run"]
    # What the graph around them lists goes before.
    refiner.draws, graph.draws = ("noise.run", "encode.run"), ("refiner.noise.run", "base.z.run")
    assert order(graph, "sum") == ["refiner.noise.run", "base.z.run", "refiner.encode.run"]


def test_roles_of_one_group_say_nothing_of_another():
    graph = ComputeGraph("groups", draws=("codec.run", "source.run"))
    graph.add_node("noise", Draw(), role="source", group="base")
    graph.add_node("encode", Draw(), role="codec", group="refiner")
    graph.add_node("join", Join()).connect("noise", "encode.x")
    graph.connect("noise", "join.a").connect("encode", "join.b")
    assert order(graph) == ["noise.run", "encode.run"]
