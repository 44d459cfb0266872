"""The executor: walks a plan and owns everything that blocks know nothing of.

Caching, gradients, cancellation, progress and step callbacks live here; blocks only compute.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from yggdrasil.core.adapters import CHANGED, check_unchanged, patched
from yggdrasil.core.binding import arguments_of, bind
from yggdrasil.core.cache import Entry, ValueCache, copied
from yggdrasil.core.errors import Cancelled, ExecutionError, YggdrasilError
from yggdrasil.core.inner_steps import InnerStep, told_of_by, watching
from yggdrasil.core.keys import KeyTable
from yggdrasil.core.plan import Call, Loop, Plan, Slot

__all__ = ["Mover", "Observer", "StepEvent", "Tracer", "execute"]


class Observer(Protocol):
    """Someone who is told how a run goes.

    One that has a true attribute ``harmless`` promises that a run with it gives what it gives
    without it, unless the result says otherwise itself; of others files that keep a run make a
    note, since nobody knows what they change.
    """

    def on_call(self, call: Call) -> None:
        """Is told that a call outside loops is about to run."""

    def on_step(self, event: StepEvent) -> None:
        """Is told that one iteration of a loop is done."""


class Tracer(Protocol):
    """Someone who stands around every op, to measure it."""

    def trace(self, call: Call, run: Callable[[Call], Any]) -> Any:
        """Runs a call, inside or outside a loop, and gives back what ``run(call)`` gives."""

    def on_kept(self, item: Call | Loop) -> None:
        """Is told that the cache holds what an item would have given."""


class Mover(Protocol):
    """Someone who brings models to where they compute, and away again."""

    def running(self) -> AbstractContextManager[object]:
        """Stands around a run."""

    def before(self, item: Call | Loop) -> None:
        """Is told that a call outside loops, or a loop, is about to run."""


@dataclass(slots=True)
class StepEvent:
    """One iteration of a loop that was just done.

    Attributes:
        plan: What runs.
        loop: The loop.
        index: How many iterations are done.
        count: How many there are in all, where the state tells; else None.
        values: The run's values by slot; an observer may replace those that are fixed in the loop,
            and the state in ``loop.carried``. A run with such an observer, or with one that may
            stop, is told so by ``changes_values``.
        since: When the loop began, as ``time.perf_counter`` tells it.
        stop: Set by an observer that wants the loop to end here and the run to go on.
    """

    plan: Plan
    loop: Loop
    index: int
    count: int | None
    values: list[Any]
    since: float
    stop: bool = False


def execute(
    plan: Plan,
    values: Mapping[str, Any],
    *,
    cache: ValueCache | None = None,
    gradients: bool = False,
    observers: Sequence[Observer] = (),
    changes_values: bool = False,
    cancelled: Callable[[], bool] | None = None,
    tracer: Tracer | None = None,
    mover: Mover | None = None,
) -> dict[str, Any]:
    """Runs a plan.

    Args:
        plan: What to run.
        values: The inputs given, by name; at least those that the plan reads.
        cache: Values of earlier runs; not used with gradients.
        gradients: Whether PyTorch records what is needed for a backward pass.
        observers: Who is told of calls and steps.
        changes_values: Whether an observer may replace values or stop a loop, so that loops
            cannot be cached.
        cancelled: Asked between calls and steps; true ends the run.
        tracer: Stands around every op; without one nothing is spent on it.
        mover: Brings models to where they compute.

    Returns:
        The wanted outputs by name.

    Raises:
        ExecutionError: An op failed; the message says which, with the shapes of its inputs.
        Cancelled: ``cancelled`` said so.
    """
    given = (plan, values, observers, cancelled or _never, mover)
    run = _Run(*given) if tracer is None else _TracedRun(*given, tracer)
    # Tensors made in inference mode could not be kept: they count no writes.
    with (
        torch.inference_mode(mode=False),
        torch.set_grad_enabled(gradients),
        watching(run),
        nullcontext() if mover is None else mover.running(),
    ):
        if cache is None or gradients:
            run.plainly()
            return {name: run.values[slot] for name, slot in plan.outputs.items()}
        run.cached(cache, loops=not changes_values)
        return {name: copied(run.values[slot]) for name, slot in plan.outputs.items()}


def _never() -> bool:
    return False


_Prepared = tuple[Call, Callable[[], Any], Slot | slice | None, Sequence[Slot]]
"""A call of a loop, what runs it, where its results are kept, and what is freed after it."""


class _Run:
    """The state of one execution."""

    __slots__ = (
        "_cancelled",
        "_inner",
        "_mover",
        "_observers",
        "_plan",
        "_stopped",
        "step_values",
        "values",
    )

    def __init__(
        self,
        plan: Plan,
        values: Mapping[str, Any],
        observers: Sequence[Observer],
        cancelled: Callable[[], bool],
        mover: Mover | None,
    ) -> None:
        self._plan = plan
        self._mover = mover
        self._observers = observers
        self._cancelled = cancelled
        self._inner = told_of_by(observers)
        self.step_values = tuple(
            dict.fromkeys(name for each in self._inner for name in getattr(each, "step_values", ()))
        )
        # After an observer ended a loop, values are no longer what their keys say.
        self._stopped = False
        self.values: list[Any] = [None] * plan.slots
        for slot, value in plan.constants.items():
            self.values[slot] = value
        for name, slot in plan.inputs.items():
            self.values[slot] = values[name]

    def plainly(self) -> None:
        """Runs every item."""
        for item in self._plan.items:
            self._run(item)
            for slot in item.frees:
                self.values[slot] = None

    def cached(self, cache: ValueCache, *, loops: bool) -> None:
        """Runs only what no earlier run left behind.

        Keys are known before anything runs, so the walk back from the outputs stops at what the
        cache holds. Draws are always taken or made up for, since the caller's generator must stand
        where it would have stood.
        """
        keys = self._keys(loops=loops)
        items = self._plan.items
        found: dict[int, Entry] = {}
        needed = set(self._plan.outputs.values())
        run: set[int] = set()
        for place in range(len(items) - 1, -1, -1):
            item = items[place]
            if needed.isdisjoint(item.writes()) and not item.draws:
                continue
            key = keys[place]
            entry = cache.get(key) if key is not None else None
            if entry is not None:
                found[place] = entry
            else:
                run.add(place)
                needed.update(item.reads())
        for place, item in enumerate(items):
            if place in run:
                self._run(item)
                key = keys[place]
                if key is not None and not self._stopped:
                    cache.put(key, self._entry(item))
            elif place in found:
                self._restore(item, found[place])
            for slot in item.frees:
                self.values[slot] = None

    def on_inner_step(self, step: InnerStep) -> None:
        """Tells of a step that a block took by itself."""
        if self._cancelled():
            raise Cancelled(
                f"The run of {self._plan.graph_name!r} was cancelled after {step.index} steps."
            )
        for observer in self._inner:
            observer.on_inner_step(step)
        self._stopped = self._stopped or step.stop

    def _keys(self, *, loops: bool) -> list[bytes | None]:
        """Gives the key of each item, computing facts on the way."""
        plan = self._plan
        table = KeyTable(plan, {name: self.values[slot] for name, slot in plan.inputs.items()})
        ready = {*plan.constants, *plan.inputs.values()}
        keys: list[bytes | None] = []
        for item, lasting in zip(plan.items, plan.lasting, strict=True):
            if isinstance(item, Loop):
                exits = not lasting <= {item.carried, item.state}
                keys.append(table.of_loop(item, exits=exits or not loops))
            elif item.spec.fact and ready.issuperset(item.reads()):
                self._call(item)
                table.set_fact(item, [self.values[slot] for slot in item.keeps])
                ready.update(item.keeps)
                keys.append(None)
            else:
                # An opaque op has a loop inside.
                keys.append(table.of_call(item, known=loops or not item.spec.opaque))
        return keys

    def _restore(self, item: Call | Loop, entry: Entry) -> None:
        for slot, value in zip(item.keeps, entry.values, strict=True):
            self.values[slot] = value
        if item.draws:
            for generator, state in zip(self._generators(item), entry.generators, strict=True):
                generator.set_state(state)

    def _entry(self, item: Call | Loop) -> Entry:
        states: tuple[Tensor, ...] = ()
        if item.draws:
            states = tuple(generator.get_state() for generator in self._generators(item))
        return Entry.of(tuple([self.values[slot] for slot in item.keeps]), states)

    def _generators(self, item: Call | Loop) -> list[torch.Generator]:
        held = [self.values[slot] for slot in item.generators]
        return [g for each in held for g in ([each] if isinstance(each, torch.Generator) else each)]

    def _run(self, item: Call | Loop) -> None:
        if self._cancelled():
            raise Cancelled(f"The run of {self._plan.graph_name!r} was cancelled.")
        if self._mover is not None:
            self._mover.before(item)
        if CHANGED:
            calls = item.body if isinstance(item, Loop) else (item,)
            check_unchanged(dict.fromkeys(call.block for call in calls))
        if item.patched:
            with patched(item.patched):
                self._do(item)
        else:
            self._do(item)

    def _do(self, item: Call | Loop) -> None:
        if isinstance(item, Loop):
            self._loop(item)
            return
        for observer in self._observers:
            observer.on_call(item)
        self._call(item)

    def _loop(self, loop: Loop) -> None:
        values = self.values
        values[loop.carried] = values[loop.initial]
        done = self._prepared([loop.until])
        body = self._prepared(loop.body)
        index = 0
        since = time.perf_counter()
        while True:
            state = values[loop.state] = values[loop.carried]
            if self._each(done):
                return
            if index and self._cancelled():
                raise Cancelled(
                    f"The run of {self._plan.graph_name!r} was cancelled after {index} steps of "
                    f"{loop.vertex}."
                )
            self._each(body)
            index += 1
            if self._observers:
                count = getattr(state, "count", None)
                event = StepEvent(self._plan, loop, index, count, values, since)
                for observer in self._observers:
                    observer.on_step(event)
                if event.stop:
                    self._stopped = True
                    return

    def _ready(self, call: Call) -> Callable[[], Any]:
        """Makes a call of a loop ready to be run many times."""
        return bind(call, self.values)

    def _prepared(self, calls: Sequence[Call]) -> list[_Prepared]:
        """Works out what is the same in every iteration of a loop."""
        return [(call, self._ready(call), _place_of(call), call.frees) for call in calls]

    def _each(self, calls: Sequence[_Prepared]) -> Any:
        """Runs calls of a loop that were prepared; gives the result of the last one."""
        values = self.values
        call, result = calls[0][0], None
        try:
            for call, run, kept, frees in calls:
                result = run()
                if type(kept) is int or (
                    type(kept) is slice
                    and isinstance(result, tuple)
                    and len(result) == len(call.results)
                ):
                    values[kept] = result
                elif call.spec.several:
                    self._spread(call, result)
                for slot in frees:
                    values[slot] = None
        except YggdrasilError as error:
            error.add_note(f"At {call.vertex} of {self._plan.graph_name!r}.")
            raise
        except Exception as error:
            raise ExecutionError(self._explain(call, error)) from error
        return result

    def _call(self, call: Call) -> None:
        result = self._invoke(call)
        if call.spec.several:
            self._spread(call, result)
        else:
            self.values[call.keeps[0]] = result

    def _spread(self, call: Call, result: Any) -> None:
        """Puts the several results of a call where they belong."""
        if not isinstance(result, tuple) or len(result) != len(call.results):
            wanted = ", ".join(port for port, _ in call.results)
            raise ExecutionError(
                f"{call.vertex} ({type(call.block).__name__}) of {self._plan.graph_name!r} should "
                f"return a tuple ({wanted}) and returned {_show(result)}."
            )
        for slot, value in zip(call.keeps, result, strict=True):
            self.values[slot] = value

    def _invoke(self, call: Call) -> Any:
        try:
            return getattr(call.block, call.spec.name)(**arguments_of(call, self.values))
        except YggdrasilError as error:
            error.add_note(f"At {call.vertex} of {self._plan.graph_name!r}.")
            raise
        except Exception as error:
            raise ExecutionError(self._explain(call, error)) from error

    def _explain(self, call: Call, error: Exception) -> str:
        arguments = arguments_of(call, self.values)
        shown = ", ".join(f"{name}={_show(value)}" for name, value in arguments.items())
        return (
            f"{call.vertex} ({type(call.block).__name__}) of {self._plan.graph_name!r} failed: "
            f"{type(error).__name__}: {error}. Its inputs: {shown or 'none'}."
        )


class _TracedRun(_Run):
    """A run with someone around every op; a class of its own, so that others pay nothing."""

    __slots__ = ("_tracer",)

    def __init__(
        self,
        plan: Plan,
        values: Mapping[str, Any],
        observers: Sequence[Observer],
        cancelled: Callable[[], bool],
        mover: Mover | None,
        tracer: Tracer,
    ) -> None:
        super().__init__(plan, values, observers, cancelled, mover)
        self._tracer = tracer

    def _invoke(self, call: Call) -> Any:
        return self._tracer.trace(call, super()._invoke)

    def _ready(self, call: Call) -> Callable[[], Any]:
        run = super()._ready(call)
        return lambda: self._tracer.trace(call, lambda _: run())

    def _restore(self, item: Call | Loop, entry: Entry) -> None:
        super()._restore(item, entry)
        self._tracer.on_kept(item)


def _place_of(call: Call) -> Slot | slice | None:
    """Gives where a call's results are kept: one, or several side by side."""
    keeps = call.keeps
    if not call.spec.several:
        return keeps[0] if keeps else None
    return slice(keeps[0], keeps[-1] + 1) if keeps == (*range(keeps[0], keeps[-1] + 1),) else None


def _show(value: Any) -> str:
    if isinstance(value, Tensor):
        dtype = str(value.dtype).removeprefix("torch.")
        return f"{dtype}{list(value.shape)} {value.device}"
    text = repr(value)
    return text if len(text) <= 60 else f"{type(value).__name__} {text[:50]}..."
