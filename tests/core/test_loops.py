from __future__ import annotations

import pytest
import torch

from tests.core.graphs import RULES as FAMILY
from tests.core.graphs import diffusion, one, seeded
from tests.core.toys import (
    Backbone,
    Broken,
    BrokenEnd,
    Control,
    PassOn,
    Solver,
    StateValue,
    calls,
    ran,
)
from yggdrasil.core.errors import Cancelled, ExecutionError, LoopError
from yggdrasil.core.graph import ComputeGraph
from yggdrasil.core.plan import Loop
from yggdrasil.core.rules import Rule
from yggdrasil.core.runtime import Runtime

RULES = (*FAMILY, Rule("backbone.predict.conditioning", ("$conditioning",)))
NOISE = torch.tensor([1.0, 2.0, 3.0])


def loop_graph(**nodes):
    graph = ComputeGraph("loop", rules=RULES)
    graph.add_node("net", "toy_backbone/linear").add_node("solver", "toy_solver/halving")
    for name, options in nodes.items():
        graph.add_node(name, **options)
    return graph.expose_output("latents", "solver.finish")


def given(**more):
    return {"latents": NOISE, "conditioning": one(2), **more}


def by_hand(steps, change=lambda latents: latents):
    solver, net = Solver(), Backbone()
    state = StateValue(NOISE, 0, steps)
    while not solver.done(state):
        _, sample, timestep = solver.tick(state)
        state = solver.step(state, net.predict(sample, timestep, one(2)))
        state = StateValue(change(state.latents), state.index, state.count)
    return solver.finish(state)


@pytest.mark.parametrize("steps", [0, 1, 2, 7])
def test_a_loop_is_a_fold(steps):
    found = Runtime(loop_graph()).run(given(num_inference_steps=steps))
    with torch.no_grad():
        assert torch.equal(found["latents"], by_hand(steps))


def test_a_loop_of_no_steps_gives_its_start():
    found = Runtime(loop_graph()).run(given(num_inference_steps=0))
    assert torch.equal(found["latents"], NOISE)
    assert ran("predict") == 0


def test_stepping_twice_from_one_state_gives_equal_bits():
    solver = Solver()
    state = StateValue(NOISE, 0, 3)
    first, second = solver.step(state, NOISE * 2), solver.step(state, NOISE * 2)
    assert torch.equal(first.latents, second.latents)
    assert torch.equal(state.latents, NOISE)


def test_a_run_resumes_from_a_state():
    runtime = Runtime(loop_graph())
    whole = runtime.run(given(num_inference_steps=6))["latents"]
    state = runtime.run(
        {"conditioning": one(2), "solver.tick.state": StateValue(NOISE, 0, 6)}, ["solver.finish"]
    )
    assert torch.equal(state["solver.finish"], whole)


def test_what_does_not_depend_on_the_state_runs_once():
    graph = loop_graph(control={"type": "toy_control/net"})
    Runtime(graph).run(given(control_image=one(1), num_inference_steps=5))
    assert ran("look") == 5
    calls.clear()
    Runtime(diffusion()).run({"prompt": "a", "num_inference_steps": 5, "generator": seeded()})
    assert (ran("encode_text"), ran("predict"), ran("decode")) == (1, 5, 1)


def test_splices_stand_in_order_on_the_carried_edge():
    graph = loop_graph(
        a={"type": "toy_processor/shift", "order": 2, "factor": 2.0},
        b={"type": "toy_processor/shift", "order": 1, "factor": 1.0, "offset": 1.0},
    )
    found = Runtime(graph).run(given(num_inference_steps=3))["latents"]
    with torch.no_grad():
        assert torch.equal(found, by_hand(3, lambda latents: (latents + 1) * 2))
    plan = Runtime(graph).plan(given())
    loop = next(item for item in plan.items if isinstance(item, Loop))
    assert [str(call.vertex) for call in loop.body[-3:]] == ["solver.step", "b.change", "a.change"]
    graph.remove_node("b")
    found = Runtime(graph).run(given(num_inference_steps=3))["latents"]
    with torch.no_grad():
        assert torch.equal(found, by_hand(3, lambda latents: latents * 2))


def test_a_cycle_without_a_state_is_no_loop():
    graph = ComputeGraph("ring").add_node("a", "toy/mix").add_node("b", "toy/mix")
    graph.connect("a", "b.b").connect("b", "a.b")
    with pytest.raises(
        LoopError, match=r"cycle that no solver's state closes: a.run, b.run.*disco"
    ):
        Runtime(graph).plan({"a": one(1)}, ["a.run"])


def test_a_loop_that_is_opened_twice_is_refused():
    graph = ComputeGraph("twice", rules=RULES)
    for name in ("one", "two"):
        graph.add_node(f"{name}_net", "toy_backbone/linear")
        graph.add_node(f"{name}_solver", "toy_solver/halving")
    for name, other in (("one", "two"), ("two", "one")):
        graph.connect(f"{name}_net.predict", f"{name}_solver.step.model_output")
        graph.connect(f"{other}_solver.tick.sample", f"{name}_net.predict.sample")
        graph.connect(f"{name}_solver.tick.timestep", f"{name}_net.predict.timestep")
    graph.expose_output("latents", "one_solver.finish")
    with pytest.raises(LoopError, match=r"opened twice, by one_solver.tick, two_solver.tick"):
        Runtime(graph).plan(given())


def test_a_cycle_within_a_loop_is_refused():
    rules = (*RULES, Rule("toy/mix.run.a", ("solver.tick.sample",)))
    graph = ComputeGraph("inner", rules=rules).add_node("net", "toy_backbone/linear")
    graph.add_node("solver", "toy_solver/halving")
    graph.add_node("a", "toy/mix").add_node("b", "toy/mix")
    graph.connect("a", "b.b").connect("b", "a.b")
    graph.add_node("any", PassOn()).connect("a.run", "any.x").connect("any.run", "net.sample")
    graph.expose_output("latents", "solver.finish")
    with pytest.raises(LoopError, match=r"cycle inside the loop of solver.tick"):
        Runtime(graph).plan(given())


def test_a_loop_that_nothing_ends_is_refused():
    rule = Rule("solver.tick.state", ("self.start",), carried="self.step")
    graph = loop_graph()
    graph.rules = (rule, *RULES)
    message = "opened by solver.tick that nothing ends.*must say `until`"
    with pytest.raises(LoopError, match=message):
        Runtime(graph).plan(given())


def test_cancelling_stops_between_steps():
    seen = []

    def cancelled():
        seen.append(ran("predict"))
        return ran("predict") >= 2

    with pytest.raises(Cancelled, match=r"'loop' was cancelled after 2 steps of solver"):
        Runtime(loop_graph()).run(given(num_inference_steps=9), cancelled=cancelled)
    assert ran("predict") == 2
    with pytest.raises(Cancelled, match="was cancelled"):
        Runtime(loop_graph()).run(given(), cancelled=lambda: True)


class Watcher:
    def __init__(self, act=lambda event: None):
        self.act = act
        self.calls = []
        self.steps = []

    def on_call(self, call):
        self.calls.append(str(call.vertex))

    def on_step(self, event):
        self.steps.append((event.index, event.count))
        self.act(event)


def test_observers_are_told_of_calls_and_steps():
    watcher = Watcher()
    Runtime(loop_graph()).run(given(num_inference_steps=3), observers=[watcher])
    assert watcher.calls == ["solver.start", "solver.finish"]
    assert watcher.steps == [(1, 3), (2, 3), (3, 3)]


def test_an_observer_may_end_the_loop_and_the_run_goes_on():
    def stop(event):
        event.stop = event.index == 2

    watcher = Watcher(stop)
    found = Runtime(loop_graph()).run(
        given(num_inference_steps=8), observers=[watcher], changes_values=True
    )
    whole = StateValue(NOISE, 0, 8)
    solver, net = Solver(), Backbone()
    with torch.no_grad():
        for _ in range(2):
            _, sample, timestep = solver.tick(whole)
            whole = solver.step(whole, net.predict(sample, timestep, one(2)))
    assert torch.equal(found["latents"], whole.latents)
    assert len(watcher.steps) == 2


def test_an_observer_may_replace_the_state_and_what_is_fixed_in_the_loop():
    def replace(event):
        if event.index == 1:
            state = event.values[event.loop.carried]
            event.values[event.loop.carried] = StateValue(state.latents * 0, 1, state.count)
            event.values[event.plan.inputs["conditioning"]] = one(0)

    runtime = Runtime(loop_graph())
    found = runtime.run(
        given(num_inference_steps=3), observers=[Watcher(replace)], changes_values=True
    )
    assert torch.equal(found["latents"], torch.zeros(3))


def test_a_failing_op_is_named_with_the_shapes_of_its_inputs():
    graph = loop_graph().replace_node("net", Broken())
    message = r"net.predict \(Broken\) of 'loop' failed: RuntimeError: no.*sample=float32\[3\] cpu"
    with pytest.raises(ExecutionError, match=message) as caught:
        Runtime(graph).run(given())
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_a_failing_end_is_named_too():
    graph = loop_graph().replace_node("solver", BrokenEnd())
    with pytest.raises(ExecutionError, match=r"solver.done \(BrokenEnd\).*ZeroDivisionError"):
        Runtime(graph).run(given())


def test_gradients_flow_through_the_loop_only_when_asked_for():
    graph = loop_graph()
    assert not Runtime(graph).run(given())["latents"].requires_grad
    result = Runtime(graph).run(given(), gradients=True)["latents"]
    result.sum().backward()
    assert graph.block("net").weight.grad is not None


def test_a_control_runs_each_step_and_adds_to_the_backbone():
    graph = loop_graph(control={"type": "toy_control/net", "factor": 2.0})
    found = Runtime(graph).run(given(control_image=one(1), num_inference_steps=1))["latents"]
    net, control = Backbone(), Control(2.0)
    with torch.no_grad():
        residual = control.look(NOISE, one(1))
        prediction = net.predict(NOISE, torch.tensor(1.0), one(2), (residual,))
        assert torch.equal(found, NOISE + (prediction - NOISE) / 2)


def test_an_ungrouped_splice_serves_an_ungrouped_solver_only():
    graph = loop_graph(shift={"type": "toy_processor/shift", "group": "other"})
    found = Runtime(graph).run(given(num_inference_steps=2))["latents"]
    with torch.no_grad():
        assert torch.equal(found, by_hand(2))
