"""The form of a wiring rule: one line of data.

A *target* is ``role.op.port``, or ``role/name.op.port`` for one block type and the classes derived
from it. A *source* is

* ``role.op`` or ``role.op.port``, or the same of one type: an output of another node;
* ``self.op``: an output of the same node;
* ``role.*.port``: that output of any op (for inputs that take many);
* ``self.op+splices``: the same after every op that is spliced in behind it;
* ``$name``: a graph input.

A rule without sources keeps an input from being taken by its name: nothing feeds it. One of the
graph's own holds against the general ones too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Mode", "PatchRule", "Rule", "Splice"]

Mode = Literal["denoise", "corrupt"]


@dataclass(frozen=True, slots=True)
class Rule:
    """For one input: the candidate sources, in order; the first available one is taken.

    Attributes:
        target: The input, by role or by type.
        sources: Candidates in order; a graph input is ``$name``.
        mode: The wiring that the rule belongs to; None for every wiring.
        carried: The source from the second iteration on: this input closes a loop.
        until: For a carried input: the op of the same node that says when the loop ends.
        required: Whether the op is there only where one of the sources is, though its signature has
            a default for the input.
    """

    target: str
    sources: tuple[str, ...]
    mode: Mode | None = None
    carried: str | None = None
    until: str | None = None
    required: bool = False


@dataclass(frozen=True, slots=True)
class Splice:
    """Ops from a kind to the same kind go between two ops, on the edge that a loop carries.

    Attributes:
        kind: The kind of the value, such as ``solver_state``.
        after: The op whose output of that kind they follow, by role.
    """

    kind: str
    after: str


@dataclass(frozen=True, slots=True)
class PatchRule:
    """What adapters change: the nodes of some roles, in the adapter's own group if there are any.

    Attributes:
        adapter: The adapters that it is for, by role or by type.
        targets: What they change, by role or by type.
    """

    adapter: str
    targets: tuple[str, ...]
