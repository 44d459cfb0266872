"""The exceptions of YggDrasil, in one tree.

YggdrasilError
├── RegistryError       a block type, template or name that nobody registered
├── ConfigError         a block's constructor arguments do not fit
├── PortError           a port cannot be read from a signature
├── GraphError          a graph edit or a reference that cannot be
│   ├── ConnectError    an edge whose ends do not exist or do not fit
│   ├── AmbiguousError  two sources where one is wanted
│   └── LoopError       a cycle that is no loop
├── MissingInputError   a required input that nothing gives
├── UnknownInputError   a call argument that no node takes
├── UnknownOutputError  an output that no graph has
├── InputError          a value that cannot be right (NaN guidance, zero steps)
├── GraphFileError      a graph file that cannot be read
├── ModelError          a model folder or file that is missing or damaged
├── NotLoadedError      a component that was never given weights
├── ExecutionError      an op failed while it ran
└── Cancelled           the caller asked to stop

A message says what is wrong with the values seen, where, and how to mend it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "AmbiguousError",
    "Cancelled",
    "ConfigError",
    "ConnectError",
    "ExecutionError",
    "GraphError",
    "GraphFileError",
    "InputError",
    "LoopError",
    "MissingInputError",
    "ModelError",
    "NotLoadedError",
    "PortError",
    "RegistryError",
    "UnknownInputError",
    "UnknownOutputError",
    "YggdrasilError",
    "nearest",
]


class YggdrasilError(Exception):
    """Base of every error that YggDrasil raises on purpose."""


class RegistryError(YggdrasilError):
    """A name was looked up that nobody registered, or registered twice."""


class ConfigError(YggdrasilError):
    """The arguments given for a block do not fit its constructor."""


class PortError(YggdrasilError):
    """The ports of an op cannot be read from its signature."""


class GraphError(YggdrasilError):
    """A graph edit or reference cannot be carried out; the graph is unchanged."""


class ConnectError(GraphError):
    """An edge's ends do not exist or their kinds do not fit."""


class AmbiguousError(GraphError):
    """Two nodes could both be the one source that an input wants."""


class LoopError(GraphError):
    """A cycle of nodes is not a loop that can be run."""


class MissingInputError(YggdrasilError):
    """An output needs an input that was not given, named at its root."""


class UnknownInputError(YggdrasilError):
    """A call argument is taken by no node."""


class UnknownOutputError(YggdrasilError):
    """An output was asked for that the graph does not have."""


class InputError(YggdrasilError):
    """A value given for an input cannot be right."""


class GraphFileError(YggdrasilError):
    """A graph file is broken, of another schema version, or unsafe."""


class ModelError(YggdrasilError):
    """A model's folder or file is missing, damaged, or of another family."""


class NotLoadedError(YggdrasilError):
    """A block's component has neither weights nor a source to load them from."""


class ExecutionError(YggdrasilError):
    """An op failed while it ran; the cause is chained."""


class Cancelled(YggdrasilError):  # noqa: N818 - an outcome that the caller chose, not a fault
    """The run was stopped between two steps because the caller asked for it."""


def nearest(name: str, names: Iterable[str], *, limit: int = 5, list_others: bool = True) -> str:
    """Says which known names are like an unknown one, as the tail of a message.

    Args:
        name: The name that was not found.
        names: The names that exist.
        limit: How many to list at most.
        list_others: Whether to list what exists when nothing is near.

    Returns:
        `` Did you mean 'a' or 'b'?``, or a list of what exists when nothing is near, or nothing.
    """
    known = sorted(set(names))
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    if close:
        return f" Did you mean {' or '.join(repr(each) for each in close)}?"
    if not known or not list_others:
        return ""
    shown = ", ".join(repr(each) for each in known[:limit])
    more = f" and {len(known) - limit} more" if len(known) > limit else ""
    return f" Known: {shown}{more}."
