"""The runtime of a graph: keeps what was derived from it and runs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from yggdrasil.core.availability import fill_defaults
from yggdrasil.core.cache import ValueCache
from yggdrasil.core.errors import UnknownOutputError
from yggdrasil.core.executor import Mover, Observer, Tracer, execute
from yggdrasil.core.graph import ComputeGraph
from yggdrasil.core.plan import Plan
from yggdrasil.core.planner import make_plan
from yggdrasil.core.rules import Mode
from yggdrasil.core.wiring import Wiring, wire

__all__ = ["Runtime"]

_PLANS_KEPT = 64


class Runtime:
    """Wires, plans and runs one graph, and keeps wirings, plans and values between calls.

    Args:
        graph: The graph; edits to it are noticed.
        cache: Where values are kept between calls; None keeps none.

    Attributes:
        mover: Brings models to where they compute in every run, if somebody does.
    """

    def __init__(self, graph: ComputeGraph, cache: ValueCache | None = None) -> None:
        self.graph = graph
        self.cache = cache
        self.mover: Mover | None = None
        self._stamp: tuple[object, ...] = ()
        self._wirings: dict[Mode, Wiring] = {}
        self._plans: dict[tuple[Mode, frozenset[str], tuple[str, ...]], list[Plan]] = {}

    def wiring(self, mode: Mode = "denoise") -> Wiring:
        """Gives the wiring of the graph as it is now."""
        self._notice_edits()
        if mode not in self._wirings:
            self._wirings[mode] = wire(self.graph, mode)
        return self._wirings[mode]

    def plan(
        self,
        values: Mapping[str, Any],
        outputs: Sequence[str] | None = None,
        *,
        mode: Mode = "denoise",
    ) -> Plan:
        """Plans a run, or gives the plan of an earlier one that asked for the same.

        Args:
            values: The inputs given; None means not given.
            outputs: What is wanted; every exposed output unless said.
            mode: ``denoise`` generates, ``corrupt`` trains.

        Raises:
            YggdrasilError: As ``make_plan``; and what blocks refuse about the values.
        """
        self._notice_edits()
        wanted = self._wanted(outputs)
        given = fill_defaults(self.wiring(mode), self.graph.defaults, values)
        key = (mode, frozenset(given), wanted)
        kept = self._plans.setdefault(key, [])
        for plan in kept:
            for guard in plan.guards:
                guard.check(given)
            if all(guard.holds(given) for guard in plan.guards):
                return plan
        plan = make_plan(self.wiring(mode), given, wanted)
        if len(self._plans) > _PLANS_KEPT:
            self._plans.clear()
            kept = self._plans.setdefault(key, [])
        kept.append(plan)
        return plan

    def run(
        self,
        values: Mapping[str, Any],
        outputs: Sequence[str] | None = None,
        *,
        mode: Mode = "denoise",
        gradients: bool = False,
        observers: Sequence[Observer] = (),
        changes_values: bool = False,
        cancelled: Callable[[], bool] | None = None,
        tracer: Tracer | None = None,
    ) -> dict[str, Any]:
        """Plans and runs; arguments as for ``plan`` and ``execute``."""
        plan = self.plan(values, outputs, mode=mode)
        return self.execute(
            plan,
            values,
            mode=mode,
            gradients=gradients,
            observers=observers,
            changes_values=changes_values,
            cancelled=cancelled,
            tracer=tracer,
        )

    def execute(
        self,
        plan: Plan,
        values: Mapping[str, Any],
        *,
        mode: Mode = "denoise",
        gradients: bool = False,
        observers: Sequence[Observer] = (),
        changes_values: bool = False,
        cancelled: Callable[[], bool] | None = None,
        tracer: Tracer | None = None,
    ) -> dict[str, Any]:
        """Runs a plan that ``plan`` gave for these values; arguments as for ``execute``."""
        given = fill_defaults(self.wiring(mode), self.graph.defaults, values)
        return execute(
            plan,
            given,
            cache=self.cache,
            gradients=gradients,
            observers=observers,
            changes_values=changes_values,
            cancelled=cancelled,
            tracer=tracer,
            mover=self.mover,
        )

    def _wanted(self, outputs: Sequence[str] | None) -> tuple[str, ...]:
        wanted = tuple(self.graph.outputs) if outputs is None else tuple(outputs)
        if not wanted:
            raise UnknownOutputError(
                f"Graph {self.graph.name!r} exposes no output: name what you want, such as "
                "outputs=['node.op'], or graph.expose_output(name, 'node.op')."
            )
        return wanted

    def _notice_edits(self) -> None:
        """Forgets what was derived once the graph, a graph inside it or a component changed."""
        stamp: list[object] = []
        waiting = [self.graph]
        while waiting:
            graph = waiting.pop()
            stamp += [id(graph), graph.version, hash((graph.rules, graph.draws))]
            if graph is not self.graph:  # what a stage takes for granted is part of its wiring
                stamp += [repr(graph.tasks)]
                stamp += [_mark(name, value) for name, value in graph.defaults.items()]
            for node in graph.nodes.values():
                if node.block is not None:
                    stamp.append(node.block.components_version)
                    if node.block.inner_graph is not None:
                        waiting.append(node.block.inner_graph)
        if tuple(stamp) != self._stamp:
            self._stamp = tuple(stamp)
            self._wirings.clear()
            self._plans.clear()


def _mark(name: str, value: object) -> tuple[object, ...]:
    """Gives something small that differs once a default is another one, or was written to.

    The wiring that is compared holds the values themselves, so no identity is used twice.
    """
    if isinstance(value, torch.Tensor):
        return (name, id(value), value._version)  # noqa: SLF001 - PyTorch's counter of writes
    return (name, id(value), repr(value))
