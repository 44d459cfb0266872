"""What a checkpoint of one file is, told by the names and shapes in its header."""

from __future__ import annotations

import fnmatch
import functools
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import yaml

from yggdrasil.core.errors import ModelError
from yggdrasil.hub.header import Header

__all__ = [
    "CheckpointFamily",
    "contents",
    "is_never_in_a_file",
    "part_prefixes",
    "recognize",
    "says_prediction",
]

_FOLDER = Path(__file__).parent / "checkpoints"
# The words of github.com/Stability-AI/ModelSpec, and what Diffusers calls the same.
_PREDICTIONS = {"epsilon": "epsilon", "eps": "epsilon", "v": "v_prediction", "sample": "sample"}


_OFTEN_LEFT_OUT = "model.diffusion_model."
_STRICT = {"extra": "forbid"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointFamily:
    """A family of checkpoints.

    Attributes:
        name: For people.
        configs: Registered sets of configurations by what the model predicts, the usual one first.
        tensors: Tensors that all its checkpoints have, with their shapes.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    name: str
    configs: dict[str, str]
    tensors: dict[str, tuple[int, ...]]

    def config_set(self, prediction: str | None) -> str:
        """Gives the name of the registered set.

        Args:
            prediction: What the model predicts; the usual if None or known to no set.
        """
        usual = next(iter(self.configs.values()))
        return self.configs.get(prediction or "", usual)

    def differences(self, header: Header) -> list[str]:
        """Says what a file has or lacks that makes it none of the family."""
        found = {**header.tensors}
        for name in self.tensors.keys() - found.keys():
            bare = name.removeprefix(_OFTEN_LEFT_OUT)
            if bare in found:
                found[name] = found[bare]
        lacking = [f"lacks {name}" for name in self.tensors if name not in found]
        others = [
            f"has {name} of {list(found[name].shape)} in the place of {list(shape)}"
            for name, shape in self.tensors.items()
            if name in found and found[name].shape != shape
        ]
        return [*others, *lacking]

    def likeness(self, header: Header) -> tuple[float, int]:
        """Says how like the family a file is: by the share of its tensors, then by their shapes."""
        differences = self.differences(header)
        lacking = sum(each.startswith("lacks ") for each in differences)
        share = 1 - lacking / len(self.tensors)
        return share, -len(differences) if share else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Other:
    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    tensor: str
    what: str
    unless: str | None = None

    def fits(self, header: Header) -> bool:
        """Says whether a file is this."""
        if self.unless is not None and fnmatch.filter(header.tensors, self.unless):
            return False
        return bool(fnmatch.filter(header.tensors, self.tensor))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    schema: Literal[1]
    parts: dict[str, tuple[tuple[str, ...], ...]]
    families: tuple[CheckpointFamily, ...]
    others: tuple[_Other, ...]
    never: tuple[str, ...]


def recognize(header: Header, path: Path) -> CheckpointFamily:
    """Says which family a checkpoint is of.

    Args:
        header: Of the file.
        path: The file, for messages.

    Raises:
        ModelError: It is of none that is known; says what is in it.
    """
    known = _known()
    for other in known.others:
        if other.fits(header):
            raise ModelError(f"{path} is {other.what}. {contents(header)}")
    differences = {each.name: each.differences(header) for each in known.families}
    for family in known.families:
        if not differences[family.name]:
            return family
    near = max(known.families, key=lambda each: each.likeness(header)).name
    raise ModelError(
        f"{path} is of no family that is known ({', '.join(differences)}). {contents(header)} "
        f"Compared with {near}, it {' and '.join(differences[near])}. If it is a relative of one "
        "of them, say where its configurations are: from_single_file(..., config='a folder or a "
        "hub id')."
    )


def part_prefixes(component: str, header: Header) -> tuple[str, ...] | None:
    """Gives how the names of a component's tensors begin in a checkpoint.

    Args:
        component: Such as ``unet``.
        header: Of the file.

    Returns:
        Such as ``("model.diffusion_model.",)``; None where the file has no such component.
    """
    known = _known().parts.get(component, ())
    return next((p for p in known if any(n.startswith(p[0]) for n in header.tensors)), None)


def is_never_in_a_file(component: str) -> bool:
    """Says whether no checkpoint holds a component, such as a safety checker."""
    return component in _known().never


def says_prediction(header: Header) -> str | None:
    """Reads what a checkpoint's writer noted of what it predicts, as Diffusers calls it.

    Source:
        The key ``modelspec.prediction_type`` of github.com/Stability-AI/ModelSpec.
    """
    return _PREDICTIONS.get(header.metadata.get("modelspec.prediction_type", ""))


def contents(header: Header) -> str:
    """Says what a file holds, for messages: how many tensors, by the beginnings of their names."""
    counts = Counter(name.partition(".")[0] for name in header.tensors)
    shown = [f"{name} ({count})" for name, count in counts.most_common(5)]
    more = f" and {len(counts) - 5} more" if len(counts) > 5 else ""
    return f"It holds {len(header.tensors)} tensors: {', '.join(shown) or 'none'}{more}."


@functools.cache
def _known() -> _Known:
    # pydantic takes megabytes, and few models are read from one file.
    from pydantic import TypeAdapter  # noqa: PLC0415

    text = (_FOLDER / "families.yaml").read_text(encoding="utf-8")
    return TypeAdapter(_Known).validate_python(yaml.safe_load(text))
