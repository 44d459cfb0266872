from __future__ import annotations

import weakref

import numpy as np
import pytest
import torch
from PIL import Image as Picture

from tests.core.graphs import chain, diffusion, one, seeded
from tests.core.test_loops import Watcher
from tests.core.toys import Add, Double, Number, Weigh, calls, ran
from yggdrasil.core.block import AbstractBaseBlock
from yggdrasil.core.cache import Entry, ValueCache
from yggdrasil.core.fingerprint import digest, fingerprint, generator_fingerprint
from yggdrasil.core.graph import ComputeGraph
from yggdrasil.core.kinds import Generator
from yggdrasil.core.ports import op
from yggdrasil.core.registry import register_block
from yggdrasil.core.runtime import Runtime

IMAGE = torch.tensor([1.0, 2.0, 3.0])


def cached(graph, **options):
    return Runtime(graph, ValueCache(**options))


def call(seed=0, **more):
    return {"prompt": "abc", "generator": seeded(seed), **more}


def test_a_second_call_runs_nothing():
    runtime = cached(diffusion())
    first = runtime.run(call())
    calls.clear()
    second = runtime.run(call())
    assert calls == []
    assert torch.equal(first["image"], second["image"])
    assert runtime.cache.info().hits > 0


def test_another_seed_does_not_encode_the_prompt_again():
    runtime = cached(diffusion())
    runtime.run(call(0))
    calls.clear()
    runtime.run(call(1))
    assert ran("encode_text", "encode_negative") == 0
    assert ran("predict") == 4
    assert ran("decode") == 1


def test_another_prompt_does_not_encode_the_picture_again():
    runtime = cached(diffusion())
    runtime.run(call(init_image=IMAGE))
    calls.clear()
    runtime.run(call(init_image=IMAGE.clone(), prompt="other"))
    assert ran("encode_image") == 0
    assert ran("encode_text") == 1


@pytest.mark.parametrize("more", [{}, {"init_image": IMAGE}])
def test_the_generator_stands_where_it_would_have_stood(more):
    plain, runtime = Runtime(diffusion()), cached(diffusion())
    expected = seeded(3)
    plain.run(call(**more) | {"generator": expected})
    for _ in range(3):
        generator = seeded(3)
        runtime.run(call(**more) | {"generator": generator})
        assert torch.equal(generator.get_state(), expected.get_state())
    # Also where only a part is asked for.
    expected, generator = seeded(4), seeded(4)
    plain.run(call(**more) | {"generator": expected}, ["latents"])
    runtime.run(call(**more) | {"generator": generator}, ["latents"])
    assert torch.equal(generator.get_state(), expected.get_state())


def test_two_runs_with_one_generator_draw_on():
    graph = diffusion(solver={"type": "toy_solver/drawing"})
    expected, found = seeded(), seeded()
    plain, runtime = Runtime(graph), cached(graph)
    runtime.run(call() | {"generator": seeded()})
    for _ in range(3):
        a = plain.run(call() | {"generator": expected})["latents"]
        b = runtime.run(call() | {"generator": found})["latents"]
        assert torch.equal(a, b)
        assert torch.equal(expected.get_state(), found.get_state())


def test_several_generators_are_one_input():
    @register_block("toy_source/several")
    class Several(AbstractBaseBlock):
        @op
        def sample(self, generator: list[torch.Generator] | None = None) -> Number:
            calls.append("several")
            return torch.cat([torch.randn(1, generator=each) for each in generator])

    graph = ComputeGraph().add_node("several", Several()).expose_output("x", "several")
    runtime = cached(graph)
    first = runtime.run({"generator": [seeded(1), seeded(2)]})["x"]
    again = [seeded(1), seeded(2)]
    assert torch.equal(runtime.run({"generator": again})["x"], first)
    assert ran("several") == 1
    after = seeded(1)
    torch.randn(1, generator=after)
    assert torch.equal(again[0].get_state(), after.get_state())


def test_without_a_generator_a_draw_is_made_each_time():
    runtime = cached(diffusion())
    first = runtime.run({"prompt": "a"})["latents"]
    assert not torch.equal(first, runtime.run({"prompt": "a"})["latents"])


def test_weights_that_change_in_place_are_noticed():
    graph = chain(Weigh(), Add())
    runtime = cached(graph)
    assert runtime.run({"x": one(3)}, ["n1.run"])["n1.run"].item() == 7
    with torch.no_grad():
        graph.block("n0").weight.fill_(5)
    assert runtime.run({"x": one(3)}, ["n1.run"])["n1.run"].item() == 16
    graph.block("n0").load_state_dict({"weight": torch.tensor(1.0)})
    assert runtime.run({"x": one(3)}, ["n1.run"])["n1.run"].item() == 4


def test_weights_that_are_replaced_are_noticed_even_at_the_same_address():
    graph = chain(Weigh())
    runtime = cached(graph)
    for value in range(20):
        del graph.block("n0").weight
        graph.block("n0").weight = torch.nn.Parameter(torch.tensor(float(value)))
        assert runtime.run({"x": one(1)}, ["n0.run"])["n0.run"].item() == value


class Table(torch.nn.Module):
    """Holds what is neither a parameter nor a buffer."""

    def __init__(self, values):
        super().__init__()
        self.values = values

    def forward(self, x):
        return x + float(self.values[0])


class LooksUp(AbstractBaseBlock):
    def __init__(self):
        self.table = Table(torch.zeros(2))

    @op
    def run(self, x: Number) -> Number:
        return self.table(x)


@pytest.mark.parametrize("zeros", [torch.zeros, np.zeros, lambda n: [0.0] * n])
def test_plain_attributes_of_modules_that_are_written_to_are_noticed(zeros):
    graph = chain(LooksUp())
    graph.block("n0").table.values = zeros(2)
    runtime = cached(graph)
    assert runtime.run({"x": one(1)}, ["n0.run"])["n0.run"].item() == 1
    graph.block("n0").table.values[0] = 5
    assert runtime.run({"x": one(1)}, ["n0.run"])["n0.run"].item() == 6


def test_another_configuration_is_another_key():
    graph = chain(Add(1.0), Double())
    runtime = cached(graph)
    runtime.run({"x": one(3)}, ["n1.run"])
    graph.replace_node("n0", Add(2.0))
    assert runtime.run({"x": one(3)}, ["n1.run"])["n1.run"].item() == 10


def test_a_raised_version_is_another_key():
    graph = chain(Add())
    runtime = cached(graph)
    runtime.run({"x": one(1)}, ["n0.run"])
    Add.version = 2
    try:
        runtime.run({"x": one(1)}, ["n0.run"])
    finally:
        Add.version = 1
    assert ran("add") == 2


def test_equal_blocks_of_two_nodes_share_what_they_computed():
    graph = chain(Add(1.0), Double()).add_node("m0", Add(1.0))
    runtime = cached(graph)
    runtime.run({"x": one(3)}, ["n0.run"])
    runtime.run({"x": one(3)}, ["m0.run"])
    assert ran("add") == 1


def test_writing_into_a_result_does_not_change_the_next_one():
    runtime = cached(chain(Add(), Double()))
    runtime.run({"x": one(1)}, ["n1.run"])["n1.run"].mul_(100)
    assert runtime.run({"x": one(1)}, ["n1.run"])["n1.run"].item() == 4


@register_block("toy/pictures")
class Pictures(AbstractBaseBlock):
    @op
    def run(self, size: int = 4) -> list[Picture.Image]:
        return [Picture.new("RGB", (size, size), (1, 2, 3))]

    @op
    def array(self, size: int = 4) -> np.ndarray:
        return np.zeros((size, size))


def test_writing_into_pictures_arrays_and_lists_does_not_either():
    runtime = cached(ComputeGraph().add_node("p", Pictures()))
    pictures = runtime.run({}, ["p.run"])["p.run"]
    again = runtime.run({}, ["p.run"])["p.run"]
    assert again is not pictures
    assert again[0] is not pictures[0]
    pictures[0].putpixel((0, 0), (9, 9, 9))
    pictures = runtime.run({}, ["p.run"])["p.run"]
    assert pictures[0].getpixel((0, 0)) == (1, 2, 3)
    pictures.clear()
    assert len(runtime.run({}, ["p.run"])["p.run"]) == 1
    runtime.run({}, ["p.array"])["p.array"][0] = 7
    assert runtime.run({}, ["p.array"])["p.array"].sum() == 0


def test_the_cache_is_bounded_by_bytes():
    cache = ValueCache(limit=100)
    for number in range(5):
        cache.put(digest(bytes([number])), Entry.of((torch.zeros(10),)))
    info = cache.info()
    assert (info.entries, info.size, info.limit) == (2, 80, 100)
    assert cache.get(digest(bytes([0]))) is None
    assert cache.get(digest(bytes([4]))) is not None
    cache.put(digest(b"large"), Entry.of((torch.zeros(1000),)))
    assert cache.get(digest(b"large")) is None
    cache.put(digest(bytes([4])), Entry.of((torch.zeros(5),)))
    assert cache.info().size == 60
    cache.clear()
    assert cache.info().size == cache.info().entries == 0


def test_pictures_and_arrays_count_too():
    assert Entry.of((np.zeros(10),)).size == 80
    assert Entry.of(([Picture.new("RGB", (5, 5))],)).size == 100
    assert Entry.of(({"a": torch.zeros(3)}, "text")).size == 12


def test_the_least_recently_used_goes_first():
    cache = ValueCache(limit=80)
    keys = [digest(bytes([number])) for number in range(3)]
    cache.put(keys[0], Entry.of((torch.zeros(10),)))
    cache.put(keys[1], Entry.of((torch.zeros(10),)))
    cache.get(keys[0])
    cache.put(keys[2], Entry.of((torch.zeros(10),)))
    assert cache.get(keys[1]) is None
    assert cache.get(keys[0]) is not None


class Opaque:
    pass


@register_block("toy/any")
class Anything(AbstractBaseBlock):
    @op
    def run(self, x: object) -> int:
        calls.append("any")
        return 1


def test_inputs_without_content_are_not_cached():
    runtime = cached(ComputeGraph().add_node("a", Anything()))
    thing = Opaque()
    for value in (thing, thing, [thing], {"x": thing}):
        assert runtime.run({"x": value}, ["a.run"]) == {"a.run": 1}
    assert ran("any") == 4
    runtime.run({"x": [1, "a", None]}, ["a.run"])
    runtime.run({"x": [1, "a", None]}, ["a.run"])
    assert ran("any") == 5


def test_facts_cut_off_keys():
    graph = diffusion()
    runtime = cached(graph)
    runtime.run(call(init_image=IMAGE))
    calls.clear()
    # Another picture of the same size: the noise depends on its size alone.
    runtime.run(call(init_image=IMAGE + 1, **{"noise.sample.generator": seeded(5)}), ["latents"])
    runtime.run(call(init_image=IMAGE + 2, **{"noise.sample.generator": seeded(5)}), ["latents"])
    assert ran("noise") == 1


def test_values_in_a_loop_that_are_read_outside_are_right():
    runtime = cached(diffusion())
    wanted = ["latents", "net.predict"]
    expected = Runtime(diffusion()).run(call(), wanted)
    for _ in range(2):
        found = runtime.run(call(), wanted)
        for name, value in expected.items():
            assert torch.equal(found[name], value)


def test_gradients_are_never_cached():
    runtime = cached(chain(Weigh()))
    for _ in range(2):
        runtime.run({"x": one(1)}, ["n0.run"], gradients=True)["n0.run"].backward()
    assert ran("weigh") == 2
    assert runtime.cache.info().entries == 0


def test_what_an_observer_changed_is_not_kept():
    def stop(event):
        event.stop = True

    runtime = cached(diffusion())
    whole = Runtime(diffusion()).run(call())["image"]
    for declared in (True, False):
        runtime.run(call(), observers=[Watcher(stop)], changes_values=declared)
        assert torch.equal(runtime.run(call())["image"], whole)
        runtime.cache.clear()


def test_values_are_freed_after_their_last_use():
    alive: list[weakref.ref] = []
    most = 0

    class Watch(AbstractBaseBlock):
        @op
        def run(self, x: Number) -> Number:
            nonlocal most
            result = x + 1
            alive.append(weakref.ref(result))
            most = max(most, sum(ref() is not None for ref in alive))
            return result

    graph = chain(*(Watch() for _ in range(20)))
    Runtime(graph).run({"x": one(1)}, ["n19.run"])
    assert most <= 2


def test_values_in_a_loop_are_freed_within_each_step():
    alive: list[weakref.ref] = []
    counts = []
    graph = diffusion()
    net = graph.block("net")
    inner = net.predict

    def predict(**arguments):
        counts.append(sum(ref() is not None for ref in alive))
        result = inner(**arguments)
        alive.append(weakref.ref(result))
        return result

    net.predict = predict
    Runtime(graph).run(call(num_inference_steps=6))
    assert max(counts) == 0


def test_the_caller_keeps_his_inputs():
    values = call()
    Runtime(diffusion()).run(values)
    assert set(values) == {"prompt", "generator"}


@pytest.mark.parametrize(
    ("one_", "other"),
    [
        (1, 1.0),
        (1, True),
        ("1", 1),
        ([1], (1,)),
        ([1, 2], [[1], 2]),
        (torch.zeros(2), torch.zeros(2, 1)),
        (torch.zeros(2), torch.zeros(2, dtype=torch.float64)),
        (torch.zeros(2), np.zeros(2, dtype=np.float32)),
        ({"a": 1}, {"a": 2}),
        ({"a": 1}, {"b": 1}),
        (b"a", "a"),
        (torch.float32, "torch.float32"),
    ],
)
def test_different_values_have_different_fingerprints(one_, other):
    assert fingerprint(one_) != fingerprint(other)


@pytest.mark.parametrize(
    "value",
    [
        torch.zeros(0),
        torch.ones(3, dtype=torch.bool),
        torch.ones(3, dtype=torch.bfloat16),
        torch.arange(6).reshape(2, 3).T,
        np.arange(6).reshape(2, 3).T,
        torch.tensor(1.0),
        Picture.new("L", (2, 2)),
        {"a": [1, (2.0, None)]},
    ],
)
def test_equal_values_have_equal_fingerprints(value):
    assert fingerprint(value) is not None
    copy = value.copy() if not isinstance(value, torch.Tensor) else value.clone()
    assert fingerprint(value) == fingerprint(copy)


def test_generators_are_known_by_their_state():
    a, b = seeded(1), seeded(1)
    assert generator_fingerprint(a) == generator_fingerprint(b)
    torch.randn(1, generator=a)
    assert generator_fingerprint(a) != generator_fingerprint(b)
    assert generator_fingerprint([a]) == generator_fingerprint(a)


def test_a_draw_that_its_block_says_it_will_not_make_is_kept_without_a_generator():
    @register_block("toy_source/at_times")
    class AtTimes(AbstractBaseBlock):
        @op
        def sample(self, scale: float = 0.0, generator: Generator | None = None) -> Number:
            calls.append("at_times")
            return torch.randn(1, generator=generator) if scale else torch.zeros(1)

        def unused_inputs(self, op, known):
            return frozenset(() if known["scale"] else {"generator"})

    runtime = cached(ComputeGraph().add_node("n", AtTimes()).expose_output("x", "n"))
    for scale, runs in ((0.0, 1), (0.0, 1), (1.0, 2), (1.0, 3), (0.0, 3)):
        runtime.run({"scale": scale})
        assert ran("at_times") == runs
