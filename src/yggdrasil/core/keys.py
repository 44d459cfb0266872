"""Provenance keys: which computation a value came from, known before it is computed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from yggdrasil.core.adapters import Patch
from yggdrasil.core.fingerprint import digest, fingerprint, generator_fingerprint
from yggdrasil.core.identity import block_identity, surroundings
from yggdrasil.core.plan import Call, Loop, Plan, Slot

__all__ = ["KeyTable"]


class KeyTable:
    """The keys of a run's values.

    The key of a value is the hash of the block's identity, the op and the keys of its inputs. A
    generator is a value that every draw changes: its key is that of its state at first, and of the
    draw that left it behind from then on.

    Args:
        plan: What runs.
        values: The inputs given.
    """

    def __init__(self, plan: Plan, values: dict[str, Any]) -> None:
        self._keys: list[bytes | None] = [None] * plan.slots
        self._labels = plan.labels
        self._blocks: dict[int | tuple[int, tuple[Patch, ...]], bytes] = {}
        self._around = surroundings()
        for slot, value in plan.constants.items():
            self._keys[slot] = fingerprint(value)
        for name, slot in plan.inputs.items():
            value = values[name]
            is_generator = isinstance(value, torch.Generator) or (
                isinstance(value, Sequence)
                and bool(value)
                and all(isinstance(each, torch.Generator) for each in value)
            )
            self._keys[slot] = generator_fingerprint(value) if is_generator else fingerprint(value)

    def __getitem__(self, slot: Slot) -> bytes | None:
        """Gives the key of a slot; None where its value cannot be told from others."""
        return self._keys[slot]

    def set_fact(self, call: Call, values: Sequence[Any]) -> None:
        """Keys the results of a fact by their content, so that equal facts are one."""
        for slot, value in zip(call.keeps, values, strict=True):
            self._keys[slot] = fingerprint(value)

    def of_call(self, call: Call, *, known: bool = True) -> bytes | None:
        """Gives the key of a call, and keys its results and the generator it leaves behind.

        Args:
            call: The call.
            known: Whether what it does is told by its block and its inputs; without that it has no
                key.
        """
        keys = self._keys
        read = [keys[slot] for slot in call.reads()]
        key = None
        if known and not call.unforeseen:
            key = _hashed(self._block_key(call), call.signature, read)
        if len(call.keeps) == 1:
            keys[call.keeps[0]] = key
        else:
            for number, slot in enumerate(call.keeps):
                keys[slot] = None if key is None else digest(key, number.to_bytes(2, "little"))
        self._pass_generators(call, key)
        return key

    def of_loop(self, loop: Loop, *, exits: bool) -> bytes | None:
        """Gives the key of a loop.

        Args:
            loop: The loop.
            exits: Whether something after the loop reads more of it than its last state; then it
                has no key.
        """
        inside = loop.writes()
        parts: list[bytes] = []
        unknown = exits or any(call.unforeseen for call in loop.body)
        for call in (*loop.body, loop.until):
            parts += [self._block_key(call), call.signature]
            for slot in call.reads():
                if slot in inside:
                    parts.append(self._labels[slot].encode())
                else:
                    key = self._keys[slot]
                    unknown = unknown or key is None
                    parts.append(key or b"")
        initial = self._keys[loop.initial]
        key = None if unknown or initial is None else digest(b"loop", initial, *parts)
        for slot in inside:
            self._keys[slot] = None
        self._keys[loop.carried] = key
        self._pass_generators(loop, key)
        return key

    def _pass_generators(self, item: Call | Loop, key: bytes | None) -> None:
        for slot in item.generators:
            self._keys[slot] = None if key is None else digest(key, b"generator")

    def _block_key(self, call: Call) -> bytes:
        which = (id(call.block), call.patches) if call.patches else id(call.block)
        known = self._blocks.get(which)
        if known is None:
            known = block_identity(call.block, self._around)
            for patch in call.patches:
                mark = patch.adapter.mark(call.block, patch.among)
                if mark is not None:  # what it leaves as it is keeps its key
                    known = digest(known, mark)
            self._blocks[which] = known
        return known


def _hashed(block: bytes, signature: bytes, read: Sequence[bytes | None]) -> bytes | None:
    """Gives the key of a call, or None where one of its inputs has none.

    All parts are of one length, and the signature says how many of them an argument has, so they
    need no marks between them.
    """
    if None in read:
        return None
    return digest(b"".join((block, signature, *read)))  # type: ignore[arg-type] # none is None
