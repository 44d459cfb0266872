from __future__ import annotations

import pytest
import torch

from tests.core.graphs import chain, diffusion, one, seeded
from tests.core.toys import Add, AsNumber, Double, Mix, Weigh, calls, ran
from yggdrasil.core.cache import ValueCache
from yggdrasil.core.errors import (
    ConfigError,
    ConnectError,
    GraphError,
    LoopError,
    MissingInputError,
    UnknownInputError,
    UnknownOutputError,
)
from yggdrasil.core.graph import ComputeGraph
from yggdrasil.core.runtime import Runtime
from yggdrasil.core.stage import AbstractStage


def stage(block, output, **inputs):
    """One block as a stage: ``inputs`` names its ports from outside."""
    graph = ComputeGraph(output).add_node("n", block).expose_output(output, "n")
    for name, port in inputs.items():
        graph.expose_input(name, f"n.run.{port}")
    return graph


def test_a_stage_has_the_ports_of_its_graph():
    ops = AbstractStage.of(diffusion()).ops()
    assert list(ops) == ["run"]
    assert set(ops["run"].outputs) == {"image", "latents"}
    assert {"prompt", "init_image", "mask", "generator"} <= set(ops["run"].inputs)
    assert ops["run"].inputs["init_image"].kinds[0].name == "image"


def test_stages_are_linked_by_name():
    graph = ComputeGraph("pipe")
    graph.add_stage("second", stage(Double(), "image", middle="x"))
    graph.add_stage("first", stage(Add(), "middle", number="x"))
    graph.expose_output("image", "second.image")
    assert Runtime(graph).run({"number": one(3)})["image"].item() == 8
    assert ran("add") == 1


def test_a_link_is_made_when_exactly_one_other_stage_gives_it():
    graph = ComputeGraph("pipe")
    graph.add_stage("one", stage(Add(1.0), "middle", number="x"))
    graph.add_stage("two", stage(Add(2.0), "middle", number="x"))
    graph.add_stage("last", stage(Double(), "image", middle="x"))
    graph.expose_output("image", "last.image")
    with pytest.raises(MissingInputError, match="needs the input 'middle'"):
        Runtime(graph).run({"number": one(3)})
    graph.connect("two.middle", "last.middle")
    assert Runtime(graph).run({"number": one(3)})["image"].item() == 10


def test_explicit_edges_beat_links():
    graph = ComputeGraph("pipe")
    graph.add_stage("first", stage(Add(), "middle", number="x"))
    graph.add_stage("second", stage(Double(), "image", middle="x"))
    graph.add_node("other", Add(10.0)).connect("other", "second.middle")
    graph.expose_input("number", "other.run.x").expose_output("image", "second.image")
    assert Runtime(graph).run({"number": one(3)})["image"].item() == 26


def test_a_link_that_would_close_a_circle_is_left_out():
    graph = ComputeGraph("ring")
    graph.add_stage("one", stage(Add(1.0), "a", b="x"))
    graph.add_stage("two", stage(Add(2.0), "b", a="x"))
    runtime = Runtime(graph)
    assert runtime.run({"b": one(1)}, ["one.a"])["one.a"].item() == 2
    assert runtime.run({"a": one(1)}, ["two.b"])["two.b"].item() == 3
    # Said by hand, one way, the other link is still left out.
    graph.connect("one.a", "two.a")
    assert runtime.run({"b": one(1)}, ["two.b"])["two.b"].item() == 4


def test_a_circle_said_by_hand_is_no_loop():
    graph = ComputeGraph("ring")
    graph.add_stage("one", stage(Mix(), "a", x="a", y="b"))
    graph.add_stage("two", stage(Mix(), "b", x="a", y="b"))
    graph.connect("one.a", "two.y").connect("two.b", "one.y")
    with pytest.raises(LoopError, match="cycle that no solver's state closes"):
        Runtime(graph).run({"x": one(1)}, ["one.a"])


def test_a_name_leads_into_every_stage_that_reads_it():
    graph = ComputeGraph("pipe")
    graph.add_stage("one", stage(Add(1.0), "a", number="x"))
    graph.add_stage("two", stage(Add(2.0), "b", number="x"))
    runtime = Runtime(graph)
    found = runtime.run({"number": one(1)}, ["one.a", "two.b"])
    assert [found["one.a"].item(), found["two.b"].item()] == [2, 3]
    found = runtime.run({"number": one(1), "two.number": one(5)}, ["one.a", "two.b"])
    assert [found["one.a"].item(), found["two.b"].item()] == [2, 7]


def test_two_whole_families_in_one_pipeline():
    graph = ComputeGraph("pipe")
    graph.add_stage("base", diffusion())
    refiner = diffusion(vae={"type": "toy_codec/shift"})
    graph.add_stage("refiner", refiner)
    graph.connect("base.image", "refiner.init_image")
    graph.expose_output("image", "refiner.image")
    generator, expected = seeded(), seeded()
    found = Runtime(graph).run({"prompt": "abc", "generator": generator, "strength": 0.5})
    first = Runtime(diffusion()).run({"prompt": "abc", "generator": expected, "strength": 0.5})
    second = Runtime(refiner).run(
        {
            "prompt": "abc",
            "generator": expected,
            "strength": 0.5,
            "init_image": first["image"],
        }
    )
    assert torch.equal(found["image"], second["image"])
    assert torch.equal(generator.get_state(), expected.get_state())


def test_what_is_not_asked_of_a_stage_does_not_run():
    graph = ComputeGraph("pipe").add_stage("base", diffusion())
    Runtime(graph).run({"prompt": "a", "generator": seeded()}, ["base.latents"])
    assert "decode" not in calls


def test_stages_within_stages():
    inner = ComputeGraph("inner").add_stage("add", stage(Add(), "sum", number="x"))
    inner.expose_output("sum", "add.sum")
    graph = ComputeGraph("outer").add_stage("inner", inner)
    graph.add_stage("double", stage(Double(), "image", sum="x")).expose_output(
        "image", "double.image"
    )
    runtime = Runtime(graph)
    assert runtime.run({"number": one(1)})["image"].item() == 4
    assert runtime.run({"inner.add.number": one(2)})["image"].item() == 6
    assert [str(c.vertex) for c in runtime.plan({"number": one(1)}).calls()] == [
        "inner.add.n.run",
        "double.n.run",
    ]


def test_an_edit_inside_a_stage_is_noticed():
    inner = chain(Add(), Double()).expose_output("out", "n1")
    graph = ComputeGraph("outer").add_stage("stage", inner).expose_output("out", "stage.out")
    runtime = Runtime(graph)
    assert runtime.run({"x": one(1)})["out"].item() == 4
    inner.replace_node("n0", Add(5.0))
    assert runtime.run({"x": one(1)})["out"].item() == 12


def test_a_changed_last_stage_does_not_run_the_first():
    graph = ComputeGraph("pipe").add_stage("base", diffusion())
    graph.add_stage("after", stage(Double(), "big", x="x"))
    graph.add_node("pass", AsNumber()).connect("base.image", "pass.x").connect("pass", "after.x")
    graph.expose_output("big", "after.big")
    runtime = Runtime(graph, ValueCache())
    runtime.run({"prompt": "a", "generator": seeded()})
    calls.clear()
    graph.nodes["after"].block.inner_graph.replace_node("n", Add(2.0))
    runtime.run({"prompt": "a", "generator": seeded()})
    assert calls == ["add"]


def test_equal_stages_share_what_they_computed():
    graph = ComputeGraph("pipe")
    for name in ("one", "two"):
        graph.add_stage(name, stage(Add(3.0), name, number="x"))
    Runtime(graph, ValueCache()).run({"number": one(1)}, ["one.one"])
    runtime = Runtime(graph, ValueCache())
    runtime.run({"number": one(1)}, ["one.one"])
    calls.clear()
    runtime.run({"number": one(1)}, ["two.two"])
    assert calls == []


def test_parameters_of_stages_are_found():
    inner = ComputeGraph().add_node("w", "toy/weigh")
    graph = ComputeGraph().add_stage("stage", inner)
    assert [name for name, _ in graph.block("stage").named_parameters()] == ["w.weight"]


def test_wrong_names_at_stages_are_refused():
    graph = ComputeGraph("pipe").add_stage("base", diffusion())
    runtime = Runtime(graph)
    with pytest.raises(
        UnknownInputError, match=r"no input 'base.promt'. Did you mean 'base.prompt'"
    ):
        runtime.run({"base.promt": 1}, ["base.latents"])
    with pytest.raises(UnknownOutputError, match=r"'base.latent'. Did you mean 'base.latents'"):
        runtime.run({"prompt": "a"}, ["base.latent"])
    with pytest.raises(ConnectError, match="node 'base' of graph 'pipe' has no such output"):
        graph.connect("base.pictures", "base.init_image")


def test_exposed_inputs_of_the_outer_graph_lead_into_stages():
    graph = ComputeGraph("pipe").add_stage("one", stage(Add(), "a", number="x"))
    graph.expose_input("start", "one.number").expose_output("a", "one.a")
    assert Runtime(graph).run({"start": one(4)})["a"].item() == 5


def test_an_output_that_a_stage_no_longer_has_is_named():
    inner = chain(Add(), Double()).expose_output("out", "n1").expose_output("other", "n0")
    graph = ComputeGraph("outer").add_stage("stage", inner).expose_output("out", "stage.out")
    inner.remove_node("n1")
    with pytest.raises(ConnectError, match=r"Stage 'stage' has no output 'out' any more.*'other'"):
        Runtime(graph).run({"x": one(1)})


def test_nodes_of_a_stage_may_have_any_name():
    inner = ComputeGraph().add_node("double", Double()).add_node("train", Add())
    inner.add_node("config", "toy/weigh").connect("double", "train").connect("train", "config")
    graph = ComputeGraph().add_stage("stage", inner.expose_output("out", "config"))
    assert Runtime(graph).run({"x": one(1)}, ["stage.out"])["stage.out"].item() == 6
    assert len(list(graph.block("stage").parameters())) == 1


def test_a_stage_holds_the_weights_of_nodes_that_were_added_later():
    inner = ComputeGraph("inner")
    held = AbstractStage.of(inner)
    assert list(held.parameters()) == []
    inner.add_node("late", Weigh())
    assert len(list(held.parameters())) == len(list(Weigh().parameters())) > 0
    held.to(torch.float64)
    assert all(p.dtype == torch.float64 for p in inner.block("late").parameters())
    inner.remove_node("late")
    assert list(held.parameters()) == []


# -- tasks of stages -------------------------------------------------------------------------------


def tasked(**changes):
    """A graph with two tasks, one of which starts from a picture."""
    graph = diffusion()
    graph.tasks = {
        "make": {"takes": ["prompt", "generator"], "fixed": {"strength": 1.0}},
        "change": {
            "takes": ["prompt", "image", "strength", "generator"],
            "arguments": {"image": "init_image"},
            "defaults": {"strength": 0.5},
        },
        **changes,
    }
    return graph


def test_a_stage_takes_what_its_task_takes():
    graph = ComputeGraph("pipe").add_stage("draft", tasked(), task="make")
    graph.add_stage("polish", tasked(), task="change")
    graph.connect("draft.image", "polish.init_image").expose_output("image", "polish.image")
    picture = torch.tensor([9.0, 9.0, 9.0])
    given = {"prompt": "abc", "generator": seeded()}
    found = Runtime(graph).run(given)["image"]
    expected = seeded()
    first = Runtime(diffusion()).run({"prompt": "abc", "generator": expected})["image"]
    second = {"init_image": first, "strength": 0.5, "generator": expected}
    assert torch.equal(found, Runtime(diffusion()).run({"prompt": "abc", **second})["image"])
    # A picture of the call is none for the first stage, and an edge beats it at the second.
    again = {**given, "generator": seeded(), "init_image": picture}
    assert torch.equal(found, Runtime(graph).run(again)["image"])
    # What the call says of one stage alone goes before everything.
    said = {**given, "generator": seeded(), "polish.strength": 0.25}
    assert not torch.equal(found, Runtime(graph).run(said)["image"])


def test_defaults_of_a_stage_hold_inside_it():
    inner = stage(Mix(), "sum", x="a", y="b")
    inner.defaults = {"y": one(5)}
    graph = ComputeGraph("outer").add_stage("s", inner).expose_output("sum", "s.sum")
    alone = Runtime(inner).run({"x": one(1)})["sum"]
    assert torch.equal(Runtime(graph).run({"x": one(1)})["sum"], alone)
    other = Runtime(graph).run({"x": one(1), "y": one(7)})["sum"]
    assert torch.equal(other, Runtime(inner).run({"x": one(1), "y": one(7)})["sum"])


def test_a_stage_keeps_its_task_in_a_file():
    graph = ComputeGraph("pipe").add_stage("draft", tasked(), task="make")
    again = ComputeGraph.from_yaml(graph.to_yaml())
    assert again.nodes["draft"].task == "make"
    assert again.to_yaml() == graph.to_yaml()


def test_a_stage_is_for_a_task_that_its_graph_has():
    with pytest.raises(UnknownInputError, match=r"no task 'mke'\. Did you mean 'make'"):
        ComputeGraph().add_stage("s", tasked(), task="mke")


def test_what_a_stage_takes_for_granted_may_be_changed():
    inner = stage(Mix(), "sum", x="a", y="b")
    inner.defaults = {"y": one(5)}
    graph = ComputeGraph("outer").add_stage("s", inner).expose_output("sum", "s.sum")
    runtime = Runtime(graph)
    assert runtime.run({"x": one(1)})["sum"].item() == -9
    inner.defaults["y"] = one(7)
    assert runtime.run({"x": one(1)})["sum"].item() == -13
    inner.defaults["y"].fill_(8)
    assert runtime.run({"x": one(1)})["sum"].item() == -15
    inner.defaults["y"] = None  # as if it were not there
    assert runtime.run({"x": one(1)})["sum"].item() == 1


def test_the_task_of_a_stage_may_be_changed():
    inner = tasked()
    graph = ComputeGraph("pipe").add_stage("polish", inner, task="change")
    graph.expose_output("image", "polish.image")
    runtime = Runtime(graph)
    given = {"prompt": "abc", "init_image": torch.tensor([9.0, 9.0, 9.0])}
    half = runtime.run({**given, "generator": seeded()})["image"]
    inner.tasks["change"]["defaults"]["strength"] = 0.25
    assert not torch.equal(runtime.run({**given, "generator": seeded()})["image"], half)
    graph.replace_node("polish", AbstractStage.of(inner), task="make")
    assert graph.nodes["polish"].task == "make"
    with pytest.raises(UnknownInputError, match="no task 'make'"):
        graph.replace_node("polish", AbstractStage.of(diffusion()))
    del inner.tasks["make"]
    with pytest.raises(GraphError, match=r"Stage 'polish' is for a task that graph .* has no more"):
        runtime.plan(given)


def test_a_task_that_gives_parts_of_inputs_is_none_for_a_stage():
    inner = tasked(part={"takes": [], "fixed": {"options.scale": 1}})
    with pytest.raises(ConfigError, match=r"'options\.scale', a part of an input"):
        ComputeGraph().add_stage("s", inner, task="part")
