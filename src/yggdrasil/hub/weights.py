"""Which files hold a component's weights, told by their names alone.

Names are those that Diffusers and transformers write: ``model.safetensors``, the variant as in
``model.fp16.safetensors``, shards as in ``model.fp16-00001-of-00002.safetensors`` (older:
``model-00001-of-00002.fp16.safetensors``), and beside shards an index.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from yggdrasil.core.errors import ModelError, nearest

__all__ = ["WeightFiles", "choose_weights", "stem_of", "weight_files"]

_PICKLED = (".bin", ".ckpt", ".pt", ".pth")
_SHARD = r"-\d+-of-\d+"
_WEIGHTS = re.compile(
    rf"(?P<stem>[^.]+?)({_SHARD})?(\.(?P<variant>.+?))?({_SHARD})?\.safetensors", re.ASCII
)
_INDEX = re.compile(
    r"(?P<stem>[^.]+)\.safetensors(\.(?P<early>[^.]+))?\.index(\.(?P<late>[^.]+))?\.json", re.ASCII
)


class WeightFiles(NamedTuple):
    """The files of one variant of a component's weights.

    Attributes:
        tensors: Names of the safetensors files, more than one where they are sharded.
        indexes: Names of the files that say which tensor is in which shard.
    """

    tensors: tuple[str, ...]
    indexes: tuple[str, ...]


def stem_of(cls: type) -> str:
    """Gives how the files of a class's weights begin.

    Args:
        cls: A model of Diffusers or of transformers.
    """
    return "diffusion_pytorch_model" if hasattr(cls, "load_config") else "model"


def weight_files(names: Iterable[str], stem: str | None = None) -> Mapping[str | None, WeightFiles]:
    """Sorts the files of a component's folder by the variant of the weights that they hold.

    Args:
        names: The files' names.
        stem: How the files must begin, as ``stem_of`` gives it; any beginning if None.

    Returns:
        The files by variant; the plain weights are under None.
    """
    tensors: dict[str | None, list[str]] = {}
    indexes: dict[str | None, list[str]] = {}
    for name in sorted(names):
        found = _WEIGHTS.fullmatch(name)
        if found and stem in (None, found["stem"]):
            tensors.setdefault(found["variant"], []).append(name)
        found = _INDEX.fullmatch(name)
        if found and stem in (None, found["stem"]):
            indexes.setdefault(found["early"] or found["late"], []).append(name)
    return {
        variant: WeightFiles(tuple(tensors.get(variant, ())), tuple(indexes.get(variant, ())))
        for variant in {**tensors, **indexes}
    }


def choose_weights(
    names: Collection[str],
    variant: str | None,
    where: str,
    advice: str,
    *,
    stem: str | None = None,
) -> WeightFiles:
    """Chooses the files that hold a model's weights.

    Args:
        names: Of the files in the model's folder.
        variant: Of the weights; the plain ones if None.
        where: The folder, for messages.
        advice: What to do where there are none, for messages.
        stem: How the names begin; any beginning if None.

    Raises:
        ModelError: There are none in safetensors, or only those of other variants.
    """
    found = weight_files(names, stem)
    if variant in found:
        return found[variant]
    if found:
        raise ModelError(f"{where} {_no_such_variant(variant, found)}")
    pickled = sorted(name for name in names if name.endswith(_PICKLED))
    if pickled:
        raise ModelError(
            f"{where} holds only {', '.join(pickled)}, which can run code when it is read. Convert "
            "it to safetensors first."
        )
    raise ModelError(f"{where} holds no weights ({stem or '*'}.safetensors). {advice}")


def _no_such_variant(variant: str | None, present: Collection[str | None]) -> str:
    """Says that a variant is not there, and which are, as the end of a sentence."""
    others = sorted(name for name in present if name is not None)
    if variant is None:
        named = " or ".join(f"variant={name!r}" for name in others)
        return f"holds weights of a variant only. Give {named}."
    plain = " Leave variant out for the plain ones." if None in present else ""
    return f"holds no weights of the variant {variant!r}.{nearest(variant, others)}{plain}"
