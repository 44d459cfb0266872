"""The ports of a Diffusers pipeline, read off its call and what the call gives back."""

from __future__ import annotations

import ast
import dataclasses
import functools
import importlib
import inspect
import re
import textwrap
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any, TypeGuard

import PIL.Image
from diffusers.utils import BaseOutput

from yggdrasil.core.errors import PortError
from yggdrasil.core.kinds import ANY, Kind
from yggdrasil.core.ports import OpSpec, Port

__all__ = ["HANDLED", "call_of", "ports_of", "takes_one"]

HANDLED = frozenset(
    {
        "return_dict",
        "callback",
        "callback_steps",
        "callback_on_step_end",
        "callback_on_step_end_tensor_inputs",
        "prior_callback_on_step_end",
        "prior_callback_on_step_end_tensor_inputs",
    }
)
"""Arguments of pipelines that are no values which could flow: the block sees to them."""

_KINDS: tuple[tuple[str, Kind], ...] = (
    ("generator", Kind("generator")),
    ("num_*", Kind("int")),
    ("*prompt", Kind("prompt")),
    ("*prompt_[0-9]", Kind("prompt")),
    ("*pooled_prompt_embeds", Kind("pooled_embeds", "b width")),
    ("*prompt_embeds_pooled", Kind("pooled_embeds", "b width")),
    ("*prompt_embeds", Kind("prompt_embeds", "b tokens width")),
    ("*image_embeds", Kind("image_embeds")),
    ("*image_embeddings", Kind("image_embeds")),
    # What the loop begins with; a stage's output of that name is what a loop ends with.
    ("latents", Kind("noise", "b c h w")),
    ("*_latents", Kind("latents", "b c h w")),
    ("image", Kind("pictures")),
    ("images", Kind("pictures")),
    ("*_image", Kind("pictures")),
    ("mask", Kind("pictures")),
    ("frames", Kind("frames")),
    ("video", Kind("frames")),
    ("*_video", Kind("frames")),
    ("*_frames", Kind("frames")),
    ("audio", Kind("audio")),
    ("audios", Kind("audio")),
    ("nsfw_content_detected", Kind("flags")),
)
"""What arguments and results of pipelines mean, by their names; the first that fits counts."""

_NUMBERS: Mapping[type, tuple[Kind, ...]] = {
    bool: (Kind("bool"),),
    int: (Kind("int"),),
    float: (Kind("float"), Kind("int")),
}
"""What annotations of numbers mean, whatever the names."""
_WORDS: Mapping[type, tuple[Kind, ...]] = {**_NUMBERS, str: (Kind("str"),)}
"""What annotations of plain data mean where the names say nothing; others could be anything."""


@functools.cache
def ports_of(cls: type, name: str) -> OpSpec:
    """Reads the op that a pipeline is.

    Args:
        cls: The pipeline's class.
        name: Of the op.

    Raises:
        PortError: Nothing tells what the call gives back.
    """
    call = call_of(cls)
    hints = _hints(call)
    inputs: dict[str, Port] = {}
    for parameter in list(inspect.signature(call).parameters.values())[1:]:
        variable = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        if variable or parameter.name in HANDLED:
            continue
        required = parameter.default is parameter.empty
        inputs[parameter.name] = Port(
            parameter.name,
            _kinds(parameter.name, hints.get(parameter.name)),
            required,
            None if required else parameter.default,
        )
    outputs = {each: Port(each, _kinds(each, None)) for each in _results(cls, call, hints)}
    return OpSpec(
        name,
        MappingProxyType(inputs),
        MappingProxyType(outputs),
        several=True,
        opaque=True,
        doc=(inspect.getdoc(cls) or "").partition("\n")[0],
    )


@functools.cache
def takes_one(cls: type) -> frozenset[str]:
    """Gives the arguments of a pipeline that are one picture, and never a list of them.

    Args:
        cls: The pipeline's class.
    """
    members = {name: _members(hint) for name, hint in _hints(call_of(cls)).items()}
    return frozenset(
        name
        for name, each in members.items()
        if PIL.Image.Image in each and not any(typing.get_origin(one) is list for one in each)
    )


def call_of(cls: type) -> Callable[..., Any]:
    """Gives a pipeline's call as it was written, without what is wrapped around it."""
    call: Callable[..., Any] = inspect.unwrap(cls.__call__)
    return call


def _kinds(name: str, hint: Any) -> tuple[Kind, ...]:
    named = tuple(kind for pattern, kind in _KINDS if fnmatchcase(name, pattern))[:1]
    return _plain(hint, _NUMBERS) or named or _plain(hint, _WORDS) or (ANY,)


def _plain(hint: Any, known: Mapping[type, tuple[Kind, ...]]) -> tuple[Kind, ...]:
    """Gives the kinds of an annotation, if all that it allows are known."""
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    members = [
        each for each in (typing.get_args(hint) if union else (hint,)) if each is not types.NoneType
    ]
    if not all(isinstance(each, type) and each in known for each in members):
        return ()
    return tuple(dict.fromkeys(kind for each in members for kind in known[each]))


def _members(hint: Any) -> tuple[Any, ...]:
    """Gives what an annotation allows."""
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    return typing.get_args(hint) if union else (hint,)


def _hints(call: Callable[..., Any]) -> Mapping[str, Any]:
    """Gives the annotations of a call; those that nothing resolves are left out."""
    try:
        return typing.get_type_hints(call)
    except (NameError, TypeError, AttributeError):  # names imported for type checkers alone
        found = inspect.signature(call).parameters
        return {name: each.annotation for name, each in found.items()}


def _results(cls: type, call: Callable[..., Any], hints: Mapping[str, Any]) -> list[str]:
    """Gives the fields of the class that a call gives back.

    What the call's own ``return`` lines make comes first, since it is what is made; then its
    annotation, its docstring, and the classes of results that its module knows.
    """
    ways = (
        _made(call),
        _annotated(hints.get("return")),
        _documented(call),
        _known_to(call),
    )
    for way in ways:
        found = list(dict.fromkeys(field for each in way for field in _fields(each)))
        if found:
            return found
    raise PortError(
        f"Nothing tells what {cls.__name__} gives back: its call returns no class of results by "
        "name, has no such annotation, and its documentation names none."
    )


def _fields(cls: type) -> list[str]:
    return [field.name for field in dataclasses.fields(cls)]


def _made(call: Callable[..., Any]) -> Iterator[type]:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(call)))
    except (OSError, SyntaxError):  # an installation without sources
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Return) and isinstance(node.value, ast.Call):
            yield from _resolved(call, ast.unparse(node.value.func))


def _annotated(hint: Any) -> Iterator[type]:
    for each in typing.get_args(hint) or (hint,):
        if _is_result(each):
            yield each


def _documented(call: Callable[..., Any]) -> Iterator[type]:
    _, _, told = (inspect.getdoc(call) or "").partition("Returns:")
    for name in re.findall(r"\[`~?([\w.]+)`\]", told):
        short = name.rpartition(".")[2]
        yield from _resolved(call, short)
        exported = getattr(importlib.import_module("diffusers"), short, None)
        if _is_result(exported):
            yield exported


def _known_to(call: Callable[..., Any]) -> Iterator[type]:
    yield from (each for each in _scope(call).values() if _is_result(each))


def _resolved(call: Callable[..., Any], name: str) -> Iterator[type]:
    found = _scope(call).get(name)
    if _is_result(found):
        yield found


def _scope(call: Callable[..., Any]) -> Mapping[str, Any]:
    scope: Mapping[str, Any] = getattr(call, "__globals__", {})
    return scope


def _is_result(value: Any) -> TypeGuard[type]:
    named: bool = isinstance(value, type) and issubclass(value, BaseOutput)
    return named and dataclasses.is_dataclass(value)
