"""What the engine takes for each vertex, beyond what the blocks do themselves."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Annotated, Any

import torch
from torch import Tensor

from benchmarks.clock import collector_at_rest
from yggdrasil import AbstractBaseBlock, ComputeGraph, op
from yggdrasil.core.cache import ValueCache
from yggdrasil.core.kinds import Kind
from yggdrasil.core.runtime import Runtime

__all__ = ["SIZES", "chain", "measure_engine", "tree"]

SIZES = (10, 100, 1000, 5000)
_ENOUGH = 5000  # vertices to run for one figure, at least

Number = Annotated[Tensor, Kind("number", "n")]


class Increase(AbstractBaseBlock):
    """Adds one: as little as a block can do."""

    @op
    def run(self, x: Number) -> Number:
        """Gives x + 1."""
        return x + 1


class Sum(AbstractBaseBlock):
    """Adds two numbers."""

    @op
    def run(self, x: Number, y: Number) -> Number:
        """Gives x + y."""
        return x + y


def chain(size: int) -> tuple[ComputeGraph, str]:
    """Makes a graph of blocks one behind the other.

    Args:
        size: How many.

    Returns:
        The graph, whose input is ``x``, and its output.
    """
    graph = ComputeGraph("chain").add_node("n0", Increase())
    for number in range(1, size):
        graph.add_node(f"n{number}", Increase())
        graph.connect(f"n{number - 1}.run", f"n{number}.run.x")
    return graph.expose_input("x", "n0.run.x"), f"n{size - 1}.run"


def tree(size: int) -> tuple[ComputeGraph, str]:
    """Makes a graph that sums pairwise what many blocks give.

    Args:
        size: How many blocks, or one less: a tree has an odd number.

    Returns:
        The graph, whose input is ``x``, and its output.
    """
    leaves = (size + 1) // 2
    graph = ComputeGraph("tree")
    level = [f"leaf{number}" for number in range(leaves)]
    for name in level:
        graph.add_node(name, Increase())
    graph.expose_input("x", *(f"{name}.run.x" for name in level))
    made = 0
    while len(level) > 1:
        above: list[str] = []
        for left, right in zip(level[::2], level[1::2], strict=False):
            name = f"sum{made}"
            made += 1
            graph.add_node(name, Sum())
            graph.connect(f"{left}.run", f"{name}.run.x")
            graph.connect(f"{right}.run", f"{name}.run.y")
            above.append(name)
        level = [*above, *level[2 * len(above) :]]
    return graph, f"{level[0]}.run"


def measure_engine(
    sizes: tuple[int, ...] = SIZES, tell: Callable[[str], None] = lambda _: None
) -> list[dict[str, Any]]:
    """Measures chains and trees of trivial blocks; processor time, medians of repetitions.

    Args:
        sizes: How many blocks.
        tell: Is told what is measured now.

    Returns:
        For each graph its shape and size, and in microseconds a vertex: ``build``, adding and
        connecting nodes; ``plan``, wiring and planning; ``plain``, a run without a cache;
        ``first``, a run that finds the cache empty; ``cached``, one that finds everything in it,
        which has no blocks to run. From runs, what the blocks take themselves is taken away.
    """
    torch.set_num_threads(1)
    rows = []
    for shape in (chain, tree):
        for size in sizes:
            tell(f"{shape.__name__} of {size}")
            with collector_at_rest():
                rows.append(_measure(shape, size))
    return rows


def _measure(shape: Callable[[int], tuple[ComputeGraph, str]], size: int) -> dict[str, Any]:
    times = max(11, _ENOUGH // size)
    build, (graph, output) = _clock(lambda: shape(size))
    count = len(graph.nodes)
    plan = statistics.median(
        _clock(lambda: Runtime(graph).plan({"x": torch.ones(1)}, [output]))[0]
        for _ in range(max(3, times // 10))
    )
    plain, cached = Runtime(graph), Runtime(graph, ValueCache())
    for runtime in (plain, cached):
        runtime.run({"x": torch.zeros(1)}, [output])
    alone = _without_engine(plain, output)
    taken: dict[str, list[float]] = {"blocks": [], "plain": [], "first": [], "cached": []}
    for number in range(times):
        x = torch.full((1,), float(number + 1))
        taken["blocks"].append(_clock(lambda: alone(x))[0])  # noqa: B023 - called at once
        for name, runtime in (("plain", plain), ("first", cached), ("cached", cached)):
            taken[name].append(_clock(lambda: runtime.run({"x": x}, [output]))[0])  # noqa: B023 - the same
    blocks, *runs = (statistics.median(taken[name]) for name in taken)
    beyond = [runs[0] - blocks, runs[1] - blocks, runs[2]]
    figures = zip(
        ("build", "plan", "plain", "first", "cached"), (build, plan, *beyond), strict=True
    )
    return {
        "shape": shape.__name__,
        "vertices": count,
        "cached_seconds": runs[2],
        "microseconds": {name: 1e6 * seconds / count for name, seconds in figures},
    }


def _without_engine(runtime: Runtime, output: str) -> Callable[[Tensor], Tensor]:
    """Gives the same calculation as a program of its blocks would do it."""
    plan = runtime.plan({"x": torch.ones(1)}, [output])
    steps = [(call.block.run, call.reads(), call.keeps[0]) for call in plan.calls()]
    (first,) = plan.inputs.values()

    def alone(x: Tensor) -> Tensor:
        values: list[Any] = [None] * plan.slots
        values[first] = x
        for run, reads, made in steps:
            values[made] = run(*[values[slot] for slot in reads])
        return values[plan.outputs[output]]

    return alone


def _clock(function: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    result = function()
    return time.process_time() - start, result
