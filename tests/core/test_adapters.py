"""Adapters change the blocks of others for a run, are part of their keys, and are taken off."""

from __future__ import annotations

import contextlib

import pytest
import torch

from tests.core.graphs import chain, diffusion, seeded
from tests.core.toys import Add, Weigh, calls, ran
from yggdrasil.core.adapters import AbstractAdapter
from yggdrasil.core.cache import ValueCache
from yggdrasil.core.errors import AmbiguousError, GraphError
from yggdrasil.core.graph import ComputeGraph
from yggdrasil.core.registry import register_block
from yggdrasil.core.runtime import Runtime
from yggdrasil.core.serialization import from_yaml
from yggdrasil.core.wiring import wire

X = {"n0.x": torch.tensor([1.0])}
OUT = ["n1.run"]


@register_block("toy_adapter/times")
class Times(AbstractAdapter):
    """Multiplies every weight of a block, after adding what is to be added."""

    def __init__(self, factor: float = 3.0, added: float = 0.0, targets: list[str] | None = None):
        self.factor = factor
        self.added = added
        del targets

    def mark(self, block, among):
        assert block in among
        return None if self.factor == 1.0 else repr((self.factor, self.added)).encode()

    @classmethod
    @contextlib.contextmanager
    def applied(cls, block, patches):
        before = [(each, each.data) for each in block.parameters()]
        calls.append("on")
        for parameter, data in before:
            for patch in patches:
                data = (data + patch.adapter.added) * patch.adapter.factor  # noqa: PLW2901
            parameter.data = data
        try:
            yield
        finally:
            calls.append("off")
            for parameter, data in before:
                parameter.data = data


def weighed(**config):
    """x + 1, then times a weight of 2, which an adapter changes."""
    graph = chain(Add(), Weigh())
    if config:
        graph.add_node("style", Times(targets=["n1"], **config))
    return graph


def result(runtime):
    return runtime.run(X, OUT)["n1.run"].item()


def test_an_adapter_changes_a_block_for_a_run():
    graph = weighed(factor=3.0)
    assert result(Runtime(graph)) == 2 * 2 * 3
    assert graph.block("n1").weight.item() == 2.0
    graph.remove_node("style")
    assert result(Runtime(graph)) == 2 * 2


def test_it_is_part_of_the_keys_of_what_it_changes_alone():
    runtime = Runtime(weighed(factor=3.0), ValueCache(10**6))
    result(runtime)
    calls.clear()
    assert result(runtime) == 12
    assert calls == []
    runtime.graph.block("style").factor = 5.0
    assert result(runtime) == 20
    assert ran("weigh") == 1
    assert ran("add") == 0


def test_one_that_leaves_a_block_as_it_is_leaves_its_key():
    runtime = Runtime(weighed(), ValueCache(10**6))
    result(runtime)
    runtime.graph.add_node("style", Times(factor=1.0, targets=["n1"]))
    calls.clear()
    assert result(runtime) == 4
    assert calls == []


def test_several_act_in_the_order_of_their_nodes():
    graph = weighed()
    graph.add_node("late", Times(factor=3.0, targets=["n1"]), order=2)
    graph.add_node("early", Times(factor=1.5, added=1.0, targets=["n1"]), order=1)
    assert result(Runtime(graph)) == 2 * ((2 + 1) * 1.5 * 3)
    graph.replace_node("early", graph.block("early"), order=2)
    with pytest.raises(AmbiguousError, match=r"early and late both change n1 .* order=2"):
        result(Runtime(graph))


def test_a_failing_op_is_left_without_its_adapter():
    graph = weighed(factor=3.0)
    with pytest.raises(Exception, match="failed"):
        Runtime(graph).run({"n0.x": torch.tensor([1.0]), "n1.x": "no number"}, OUT)
    assert graph.block("n1").weight.item() == 2.0


def test_in_a_loop_it_is_put_on_once():
    graph = diffusion().add_node("style", Times(targets=["net"]))
    plain = Runtime(diffusion()).run({"prompt": "abc", "generator": seeded()}, ["latents"])
    calls.clear()
    changed = Runtime(graph).run({"prompt": "abc", "generator": seeded()}, ["latents"])
    assert calls.count("on") == calls.count("off") == 1
    assert not torch.equal(plain["latents"], changed["latents"])


def test_a_target_that_is_not_there_is_told():
    graph = weighed().add_node("style", Times(targets=["n2"]))
    with pytest.raises(GraphError, match=r"'style' of graph 'chain' is to change 'n2'.*n1"):
        Runtime(graph).run(X, OUT)


def test_a_node_of_a_stage_may_be_a_target():
    outer = ComputeGraph("outer").add_stage("inner", weighed())
    outer.add_node("style", Times(factor=3.0, targets=["inner.n1"]))
    found = Runtime(outer).run({"inner.n0.x": torch.tensor([1.0])}, ["inner.n1.run"])
    assert found["inner.n1.run"].item() == 12


def test_a_graph_file_keeps_it():
    graph = weighed(factor=3.0)
    assert result(Runtime(from_yaml(graph.to_yaml(), ComputeGraph))) == 12


def test_it_is_drawn_with_its_patches():
    text = weighed(factor=3.0).draw(ports=True)
    assert "<b>style</b>" in text
    assert '|"patch"|' in text
    assert "<b>style</b>" in weighed(factor=3.0).draw(given=X, outputs=OUT)
    assert "<svg" in weighed(factor=3.0).draw("svg")


def test_one_that_changes_nothing_is_told():
    graph = weighed().add_node("style", Times(), group="refiner")
    with pytest.raises(
        GraphError, match=r"'style' .* changes no node: in group 'refiner'.*targets"
    ):
        result(Runtime(graph))


def test_the_rule_looks_in_the_adapter_s_own_group():
    graph = ComputeGraph("two")
    for group in ("base", "refiner"):
        graph.add_node(f"net_{group}", "toy_backbone/linear", role="backbone", group=group)
    graph.add_node("style", "adapter/lora", group="refiner")
    assert wire(graph).patches == {"net_refiner": ("style",)}
