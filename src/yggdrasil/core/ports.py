"""Ops and their ports, read from the signatures of methods.

Inputs are a method's parameters (no default = required), outputs its return annotation: one value,
or a ``NamedTuple`` for several. Nothing is declared twice.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, overload

from yggdrasil.core.errors import PortError
from yggdrasil.core.kinds import ANY, MANY, Kind

__all__ = ["OpSpec", "Port", "fits", "op", "read_ops"]

F = TypeVar("F", bound=Callable[..., Any])

_MARK = "__yggdrasil_op__"


@dataclass(frozen=True, slots=True)
class Port:
    """One input or output of an op.

    Attributes:
        name: The parameter's name, or the output's.
        kinds: The kinds it takes or gives; more than one for a union.
        required: Whether an input has no default.
        default: The input's default; None for outputs and required inputs.
        many: Whether an input takes every available source as a tuple.
    """

    name: str
    kinds: tuple[Kind, ...]
    required: bool = False
    default: Any = None
    many: bool = False

    def __str__(self) -> str:
        """Gives ``name: kind or kind``."""
        return f"{self.name}: {' or '.join(map(str, self.kinds))}"


@dataclass(frozen=True, slots=True)
class OpSpec:
    """One thing a block can do, as the graph sees it.

    Attributes:
        name: The op's name, also of the method that does it.
        inputs: Input ports by name, in the order of the signature.
        outputs: Output ports by name; a single value's port carries the noun of its kind.
        fact: Whether the op is a cheap function of configuration and scalars, computed when the
            plan is made, before weights load.
        several: Whether the method returns a named tuple, one field an output.
        doc: The first line of the method's docstring.
        opaque: Whether the op is more than the graph sees: it may run steps of its own, of which it
            tells (``core.inner_steps``), and draw random numbers even without a generator.
    """

    name: str
    inputs: Mapping[str, Port]
    outputs: Mapping[str, Port]
    fact: bool = False
    several: bool = False
    doc: str = ""
    opaque: bool = False

    @property
    def draws(self) -> bool:
        """Whether the op takes random numbers from a generator, or may have some elsewhere."""
        return self.opaque or "generator" in self.inputs


@dataclass(frozen=True, slots=True)
class _Mark:
    fact: bool


@overload
def op(method: F, /) -> F: ...
@overload
def op(*, fact: bool = ...) -> Callable[[F], F]: ...
def op(method: F | None = None, /, *, fact: bool = False) -> F | Callable[[F], F]:
    """Marks a method of a block as an op of the graph.

    Args:
        method: The method, when used without parentheses.
        fact: The op needs no weights and is cheap: it is computed while planning, and what depends
            on it is cached by its value instead of by where it came from.
    """

    def mark(function: F) -> F:
        setattr(function, _MARK, _Mark(fact=fact))
        return function

    return mark if method is None else mark(method)


def read_ops(owner: type) -> Mapping[str, OpSpec]:
    """Reads the ops of a class from its marked methods, its bases' included.

    Args:
        owner: A block class. A subclass overrides an op by overriding its method; the mark is
            inherited.

    Returns:
        The ops by name, base classes' first.

    Raises:
        PortError: An annotation is missing or cannot be resolved.
    """
    marks: dict[str, _Mark] = {}
    for base in reversed(owner.__mro__):
        for name, member in vars(base).items():
            mark = getattr(member, _MARK, None)
            if isinstance(mark, _Mark):
                marks[name] = mark
    ops = {name: _read_op(owner, name, mark) for name, mark in marks.items()}
    return MappingProxyType(ops)


def fits(source: Port, target: Port) -> bool:
    """Says whether a value from one port may flow into another: they share a kind."""
    if ANY in source.kinds or ANY in target.kinds:
        return True
    return not set(source.kinds).isdisjoint(target.kinds)


def _read_op(owner: type, name: str, mark: _Mark) -> OpSpec:
    method = getattr(owner, name)
    where = f"{owner.__module__}.{owner.__qualname__}.{name}"
    try:
        hints = typing.get_type_hints(method, include_extras=True, localns=dict(vars(owner)))
    except NameError as error:
        raise PortError(
            f"The annotations of {where} cannot be resolved: {error}. Ports are read when the "
            "program runs: import the name at module level, not under TYPE_CHECKING."
        ) from error
    inputs: dict[str, Port] = {}
    for parameter in list(inspect.signature(method).parameters.values())[1:]:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise PortError(f"{where} takes *{parameter.name}: name each input, or use Many[...].")
        if parameter.name not in hints:
            raise PortError(f"{where}: annotate {parameter.name!r} with its type or kind.")
        required = parameter.default is parameter.empty
        kinds, many = _read_kinds(hints[parameter.name])
        default = None if required else parameter.default
        inputs[parameter.name] = Port(
            parameter.name, kinds, required and not many, () if many and required else default, many
        )
    if "return" not in hints:
        raise PortError(f"{where}: annotate what it returns; a NamedTuple for several outputs.")
    outputs, several = _read_outputs(hints["return"], name)
    doc = (inspect.getdoc(method) or "").partition("\n")[0]
    return OpSpec(
        name, MappingProxyType(inputs), MappingProxyType(outputs), mark.fact, several, doc
    )


def _read_outputs(hint: Any, op_name: str) -> tuple[dict[str, Port], bool]:
    if isinstance(hint, type) and issubclass(hint, tuple) and hasattr(hint, "_fields"):
        fields = typing.get_type_hints(hint, include_extras=True)
        return {name: Port(name, _read_kinds(kind)[0]) for name, kind in fields.items()}, True
    kinds, _ = _read_kinds(hint)
    # A plain type is a poor name for a value ("int"); the op's own name says more.
    name = kinds[0].name if get_origin(hint) is Annotated else op_name
    return {name: Port(name, kinds)}, False


def _read_kinds(hint: Any) -> tuple[tuple[Kind, ...], bool]:
    """Gives the kinds that an annotation stands for and whether it takes many."""
    if get_origin(hint) is Annotated:
        inner, *marks = get_args(hint)
        if MANY in marks:
            return _read_kinds(get_args(inner)[0])[0], True
        kinds = tuple(mark for mark in marks if isinstance(mark, Kind))
        return (kinds, False) if kinds else _read_kinds(inner)
    if get_origin(hint) in (Union, types.UnionType):
        members = [member for member in get_args(hint) if member is not types.NoneType]
        found = dict.fromkeys(kind for member in members for kind in _read_kinds(member)[0])
        return tuple(found), any(_read_kinds(member)[1] for member in members)
    if hint is Any or hint is object or isinstance(hint, TypeVar):
        return (ANY,), False
    origin = get_origin(hint) or hint
    return (Kind(getattr(origin, "__name__", str(origin))),), False
