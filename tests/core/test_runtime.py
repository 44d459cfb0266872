from __future__ import annotations

import threading
import time

import pytest
import torch

from tests.core.graphs import chain, diffusion, one, seeded
from tests.core.toys import Add, Double, TooFew
from yggdrasil.core.block import AbstractBaseBlock
from yggdrasil.core.cache import ValueCache
from yggdrasil.core.component import Component
from yggdrasil.core.cycles import strongly_connected
from yggdrasil.core.errors import ExecutionError, InputError
from yggdrasil.core.graph import ComputeGraph
from yggdrasil.core.ports import op
from yggdrasil.core.runtime import Runtime


def test_a_chain_of_thousands_is_planned_in_moments():
    graph = chain(*(Add() for _ in range(5000)))
    started = time.process_time()  # of the machine's other work nothing is counted
    plain, cached = Runtime(graph), Runtime(graph, ValueCache())
    for runtime in (plain, cached, cached):
        assert runtime.run({"n0.x": one(1)}, ["n4999.run"])["n4999.run"].item() == 5001
    assert time.process_time() - started < 5


def test_a_plan_is_kept_until_the_graph_is_edited():
    graph = diffusion()
    runtime = Runtime(graph)
    plan = runtime.plan({"prompt": "a"})
    assert runtime.plan({"prompt": "b"}) is plan
    assert runtime.plan({"prompt": "b"}, ["latents"]) is not plan
    graph.add_node("more", Add())
    assert runtime.plan({"prompt": "a"}) is not plan


def test_many_plans_do_not_pile_up():
    runtime = Runtime(chain(*(Add() for _ in range(100))))
    for number in range(100):
        runtime.plan({"n0.x": one(1)}, [f"n{number}.run"])
    assert len(runtime._plans) <= 66


def test_a_plan_can_be_printed():
    text = str(Runtime(diffusion()).plan({"prompt": "a"}, ["image"]))
    assert text.startswith("plan of 'toy': prompt\n")
    assert "  loop over solver.start.solver_state, until solver.done:\n" in text
    assert "    net.predict(sample=solver.tick.sample, " in text
    assert text.endswith("gives image = vae.decode.image")


def test_an_op_that_returns_too_few_values_is_named():
    graph = ComputeGraph().add_node("few", TooFew())
    with pytest.raises(ExecutionError, match=r"few.run \(TooFew\).*tuple \(left, right\) and ret"):
        Runtime(graph).run({"x": one(1)}, ["few.run.left"])


def test_an_error_of_a_block_says_where_it_was():
    class Refuses(Add):
        def run(self, x):
            raise InputError("too large")

        run.__annotations__ = Add.run.__annotations__

    graph = chain(Add(), Double())
    graph.block("n1").run = Refuses().run
    with pytest.raises(InputError, match="too large") as caught:
        Runtime(graph).run({"x": one(1)}, ["n1.run"])
    assert caught.value.__notes__ == ["At n1.run of 'chain'."]


def test_threads_may_share_a_cache():
    cache = ValueCache(limit=2000)
    runtimes = [Runtime(diffusion(), cache) for _ in range(4)]
    expected = [Runtime(diffusion()).run(_call(seed))["image"] for seed in range(5)]
    wrong = []

    def work(runtime):
        for _ in range(10):
            wrong.extend(
                seed
                for seed in range(5)
                if not torch.equal(runtime.run(_call(seed))["image"], expected[seed])
            )

    threads = [threading.Thread(target=work, args=(runtime,)) for runtime in runtimes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def _call(seed):
    return {"prompt": "a", "generator": seeded(seed)}


def test_strongly_connected_components_come_after_what_they_point_to():
    edges = {1: [2], 2: [3], 3: [2, 4], 4: [], 5: [5, 1]}
    assert [sorted(each) for each in strongly_connected(edges)] == [[4], [2, 3], [1], [5]]


def test_the_wiring_of_training_differs():
    runtime = Runtime(diffusion())
    assert runtime.wiring("denoise").mode == "denoise"
    assert runtime.wiring("corrupt").mode == "corrupt"
    assert runtime.wiring("corrupt") is runtime.wiring("corrupt")


def test_a_component_given_anew_changes_the_facts():
    class Wide(AbstractBaseBlock):
        table = Component(dict)

        @op(fact=True)
        def width(self) -> int:
            return self.table["width"]

        @op
        def fill(self, width: int) -> list:
            return [0] * width

    block = Wide().give(table={"width": 2})
    graph = ComputeGraph().add_node("wide", block).connect("wide.width", "wide.fill.width")
    runtime = Runtime(graph)
    assert runtime.run({}, ["wide.fill"]) == {"wide.fill": [0, 0]}
    block.give(table={"width": 3})
    assert runtime.run({}, ["wide.fill"]) == {"wide.fill": [0, 0, 0]}
