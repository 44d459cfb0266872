"""The plan: what will run, in which order, and when each value is no longer needed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from html import escape
from typing import Any

from yggdrasil.core.adapters import Patch, PatchedBlock
from yggdrasil.core.block import AbstractBaseBlock
from yggdrasil.core.errors import InputError
from yggdrasil.core.fingerprint import digest
from yggdrasil.core.ports import OpSpec
from yggdrasil.core.wiring import Vertex

__all__ = ["Call", "Guard", "Loop", "Plan", "note_frees"]

Slot = int
"""A numbered place for a value while the plan runs."""


def _worked_out() -> Any:
    """Declares a field that is worked out once, when the object is made: each run asks for it."""
    return field(init=False, repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One op to be run.

    Attributes:
        vertex: Which.
        block: What runs it.
        spec: Its ports.
        arguments: For each input that is given: its name and its slot, or slots if it takes many.
        results: For each output: its name and the slot.
        frees: Slots that nothing needs after this call.
        patches: The adapters that change the block, in order.
        still: Whether the block said that it draws nothing, whatever generator there is.
        keeps: The slots of the results, whose values a cache keeps for the call.
        generators: The slots of its generators.
        draws: Whether it is given a generator.
        unforeseen: Whether it may draw random numbers from elsewhere; nobody can say which.
        patched: The block with its patches, if it has any.
        signature: A hash of the op's name, and of its arguments' names and how many slots each has.
    """

    vertex: Vertex
    block: AbstractBaseBlock
    spec: OpSpec
    arguments: tuple[tuple[str, Slot | tuple[Slot, ...]], ...]
    results: tuple[tuple[str, Slot], ...]
    frees: tuple[Slot, ...] = ()
    patches: tuple[Patch, ...] = ()
    still: bool = False
    keeps: tuple[Slot, ...] = _worked_out()
    generators: tuple[Slot, ...] = _worked_out()
    draws: bool = _worked_out()
    unforeseen: bool = _worked_out()
    patched: tuple[PatchedBlock, ...] = _worked_out()
    signature: bytes = _worked_out()
    _reads: tuple[Slot, ...] = _worked_out()
    _writes: frozenset[Slot] = _worked_out()

    def __post_init__(self) -> None:
        """Works out what follows from arguments and results."""
        reads: list[Slot] = []
        counts: list[tuple[str, int]] = []
        generators: list[Slot] = []
        draws = False
        for port, slots in self.arguments:
            if isinstance(slots, tuple):
                reads += slots
                counts.append((port, len(slots)))
            else:
                reads.append(slots)
                counts.append((port, -1))
            if port == "generator":
                draws = True
                generators += [slots] if isinstance(slots, int) else []
        keeps = tuple([slot for _, slot in self.results])
        _keep(
            self,
            keeps=keeps,
            generators=tuple(generators),
            draws=draws,
            unforeseen=self.spec.draws and not generators and not self.still,
            patched=((self.block, self.patches),) if self.patches else (),
            signature=_signature(self.spec.name, tuple(counts)),
            _reads=tuple(reads),
            _writes=frozenset(keeps),
        )

    def reads(self) -> tuple[Slot, ...]:
        """Gives every slot that the call reads, in the order of its arguments."""
        return self._reads

    def writes(self) -> frozenset[Slot]:
        """Gives the slots that the call fills."""
        return self._writes


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """A fold over a state: the body runs until the state says that it is done.

    Attributes:
        body: The calls of one iteration, in order.
        until: Reads the state and tells whether the loop is over.
        initial: Slot of the first state.
        state: Slot that the body reads the state from.
        carried: Slot that the body leaves the next state in; after the loop, the last one.
        frees: Slots that nothing needs after the loop.
        keeps: The slot whose value a cache keeps for the loop: the last state's.
        generators: The slots of the body's generators, each once.
        draws: Whether a call of the body is given a generator.
        patched: The blocks of the body that adapters change, each once.
    """

    body: tuple[Call, ...]
    until: Call
    initial: Slot
    state: Slot
    carried: Slot
    frees: tuple[Slot, ...] = ()
    keeps: tuple[Slot, ...] = _worked_out()
    generators: tuple[Slot, ...] = _worked_out()
    draws: bool = _worked_out()
    patched: tuple[PatchedBlock, ...] = _worked_out()
    _reads: tuple[Slot, ...] = _worked_out()
    _writes: frozenset[Slot] = _worked_out()

    def __post_init__(self) -> None:
        """Works out what follows from the body."""
        inside = frozenset({slot for call in self.body for slot in call.keeps} | {self.state})
        outside = [slot for call in self.body for slot in call.reads() if slot not in inside]
        _keep(
            self,
            keeps=(self.carried,),
            generators=tuple(dict.fromkeys(s for call in self.body for s in call.generators)),
            draws=any(call.draws for call in self.body),
            patched=tuple(dict.fromkeys(each for call in self.body for each in call.patched)),
            _reads=(self.initial, *outside),
            _writes=inside,
        )

    @property
    def vertex(self) -> Vertex:
        """The vertex that opens an iteration, by which the loop is known."""
        return Vertex(self.until.vertex.node, "loop")

    def reads(self) -> tuple[Slot, ...]:
        """Gives the slots that the loop reads from outside."""
        return self._reads

    def writes(self) -> frozenset[Slot]:
        """Gives the slots that the body fills, and that of the state."""
        return self._writes


def note_frees(call: Call, slots: tuple[Slot, ...]) -> Call:
    """Notes what a call frees, in a call that was just made and that nobody has seen yet."""
    _keep(call, frees=slots)
    return call


def _keep(frozen: object, **fields: object) -> None:
    for name, value in fields.items():
        object.__setattr__(frozen, name, value)


@lru_cache(4096)
def _signature(op: str, counts: tuple[tuple[str, int], ...]) -> bytes:
    return digest(repr((op, counts)).encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """What a block is asked about known values before a run.

    Attributes:
        vertex: The op.
        block: The block that is asked.
        names: For each port, the graph input whose value it gets.
        facts: For each port, the value that is known from configuration.
        unused: The answer that the plan was made for.
    """

    vertex: Vertex
    block: AbstractBaseBlock
    names: Mapping[str, str]
    facts: Mapping[str, Any]
    unused: frozenset[str]

    def known(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Gives the values of the op's ports that are known before the run."""
        return {**self.facts, **{port: values[name] for port, name in self.names.items()}}

    def check(self, values: Mapping[str, Any]) -> None:
        """Has the block refuse values that cannot be right.

        Args:
            values: Of the graph inputs.

        Raises:
            InputError: One cannot; with the graph input's name where the port has another.
        """
        try:
            self.block.check_inputs(self.vertex.op, self.known(values))
        except InputError as error:
            said = re.findall(r"\w+", str(error))
            told = [
                f"{port} of {self.vertex} is the input {name!r}"
                for port, name in self.names.items()
                if port in said and name not in said
            ]
            if not told:
                raise
            raise InputError(f"{error} ({', '.join(told)}.)") from error

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Says whether the plan is right for these values."""
        return self.block.unused_inputs(self.vertex.op, self.known(values)) == self.unused


@dataclass(frozen=True, kw_only=True)
class Plan:
    """An immutable order of calls and loops from given inputs to wanted outputs.

    Attributes:
        graph_name: For messages.
        items: Calls and loops, in order.
        inputs: For each graph input that is read, its slot.
        constants: Slots whose values are known: facts and nodes' defaults.
        outputs: For each wanted output, its slot.
        guards: What blocks are asked before the run.
        labels: For each slot, the port or input that it holds.
        unread: Inputs that were given but that no call reads; those that a block chose not to read
            (a negative prompt without guidance) are not among them.
        slots: How many slots there are.
    """

    graph_name: str
    items: tuple[Call | Loop, ...]
    inputs: Mapping[str, Slot]
    constants: Mapping[Slot, Any] = field(repr=False)
    outputs: Mapping[str, Slot]
    guards: tuple[Guard, ...] = field(repr=False)
    labels: tuple[str, ...] = field(repr=False)
    unread: frozenset[str]
    slots: int

    def calls(self) -> Iterator[Call]:
        """Gives every call, those inside loops in their place."""
        for item in self.items:
            if isinstance(item, Loop):
                yield from item.body
            else:
                yield item

    @cached_property
    def lasting(self) -> tuple[frozenset[Slot], ...]:
        """For each item the slots that it fills and that are read after it, as outputs too."""
        needed = set(self.outputs.values())
        found: list[frozenset[Slot]] = []
        for item in reversed(self.items):
            found.append(item.writes() & needed)
            needed.update(item.reads())
        return tuple(reversed(found))

    def describe(self) -> str:
        """Prints the order of calls, loops indented, with where each input comes from."""
        lines = [f"plan of {self.graph_name!r}: {', '.join(self.inputs) or 'no inputs'}"]
        for item in self.items:
            if isinstance(item, Loop):
                lines.append(f"  loop over {self.labels[item.initial]}, until {item.until.vertex}:")
                lines.extend(f"    {self._line(call)}" for call in item.body)
            else:
                lines.append(f"  {self._line(item)}")
        gives = ", ".join(f"{name} = {self.labels[slot]}" for name, slot in self.outputs.items())
        return "\n".join([*lines, f"  gives {gives}"])

    def __str__(self) -> str:
        """Gives the description."""
        return self.describe()

    def _repr_html_(self) -> str:
        """Shows the description in a notebook."""
        return f"<pre>{escape(self.describe())}</pre>"

    def _line(self, call: Call) -> str:
        def show(slot: Slot | tuple[Slot, ...]) -> str:
            if isinstance(slot, tuple):
                return f"[{', '.join(self.labels[each] for each in slot)}]"
            return self.labels[slot]

        arguments = ", ".join(f"{name}={show(slot)}" for name, slot in call.arguments)
        frees = ", ".join(self.labels[slot] for slot in call.frees)
        notes = [call.block.label] if call.spec.opaque else []
        notes += [f"frees {frees}"] if frees else []
        return f"{call.vertex}({arguments})" + (f"  # {'; '.join(notes)}" if notes else "")
