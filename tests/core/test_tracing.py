from __future__ import annotations

import time

import torch

from tests.core.graphs import diffusion, seeded
from yggdrasil.core.cache import ValueCache
from yggdrasil.core.runtime import Runtime


class Tracer:
    """Writes down what it stands around, and what the cache held."""

    def __init__(self):
        self.ran = []
        self.kept = []

    def trace(self, call, run):
        self.ran.append(str(call.vertex))
        return run(call)

    def on_kept(self, item):
        self.kept.append(str(item.vertex))


def run(runtime, tracer, **more):
    given = {"prompt": "a", "generator": seeded()}
    return runtime.execute(runtime.plan(given, ["image"]), given, tracer=tracer, **more)["image"]


def test_a_tracer_stands_around_every_op_and_changes_nothing():
    runtime, tracer = Runtime(diffusion()), Tracer()
    traced = run(runtime, tracer)
    assert torch.equal(traced, run(runtime, None))
    plan = runtime.plan({"prompt": "a", "generator": seeded()}, ["image"])
    assert set(tracer.ran) == {str(call.vertex) for call in plan.calls()} | {"solver.done"}
    assert tracer.ran.count("net.predict") == tracer.ran.count("solver.done") - 1 > 1
    assert tracer.kept == []


def test_a_tracer_is_told_what_the_cache_held():
    runtime, first, second = Runtime(diffusion(), ValueCache()), Tracer(), Tracer()
    run(runtime, first)
    run(runtime, second)
    assert "vae.decode" in second.kept
    assert "net.predict" not in second.ran


def test_a_step_says_when_its_loop_began():
    began = time.perf_counter()
    seen = []

    class Watcher:
        def on_call(self, call):
            pass

        def on_step(self, event):
            seen.append(event.since)

    run(Runtime(diffusion()), None, observers=[Watcher()])
    assert len(set(seen)) == 1 < len(seen)
    assert began <= seen[0] <= time.perf_counter()
