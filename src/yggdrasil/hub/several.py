"""Models that hold several components of one kind as one, such as two ControlNets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["join_index", "split_components", "split_index"]

_SEVERAL: Mapping[str, str] = {
    "MultiControlNetModel": "ControlNetModel",
    "MultiControlNetUnionModel": "ControlNetUnionModel",
    "SD3MultiControlNetModel": "SD3ControlNetModel",
    "FluxMultiControlNetModel": "FluxControlNetModel",
}
"""By Diffusers' class that holds several: the class of each. Their folders are ``controlnet``,
``controlnet_1``, ..., and the index names the first."""


def split_components(components: Mapping[str, Any]) -> dict[str, Any]:
    """Names each of several components that are held as one, or given as a list.

    Args:
        components: By name.

    Returns:
        The same with ``name``, ``name_1``, ... in the place of several.
    """
    found: dict[str, Any] = {}
    for name, value in components.items():
        several = value if isinstance(value, list | tuple) else None
        if type(value).__name__ in _SEVERAL:
            several = list(value.nets)
        if several is None:
            found[name] = value
        else:
            found.update({_numbered(name, n): each for n, each in enumerate(several)})
    return found


def split_index(index: Mapping[str, Any], has_folder: Callable[[str], bool]) -> dict[str, Any]:
    """Names each of several components of a saved pipeline.

    Args:
        index: As ``model_index.json`` has it.
        has_folder: Says whether the model has a folder of a name.

    Returns:
        The same with ``name``, ``name_1``, ... in the place of several.
    """
    found: dict[str, Any] = {}
    for name, entry in index.items():
        single = _SEVERAL.get(_class_in(entry))
        if single is None:
            found[name] = entry
            continue
        number = 0
        while number == 0 or has_folder(_numbered(name, number)):
            found[_numbered(name, number)] = [entry[0], single]
            number += 1
    return found


def join_index(index: Mapping[str, Any]) -> dict[str, Any]:
    """Does the opposite of ``split_index``, for Diffusers to load a folder that is saved.

    Args:
        index: With an entry for each component.
    """
    joined = dict(index)
    holders = {each: several for several, each in _SEVERAL.items()}
    for name, entry in index.items():
        holder = holders.get(_class_in(entry))
        number = 1
        # A neighbour of another class is nothing that the first one's holder could hold.
        while holder is not None and _class_in(index.get(_numbered(name, number))) == _class_in(
            entry
        ):
            del joined[_numbered(name, number)]
            joined[name] = [entry[0], holder]
            number += 1
    return joined


def _class_in(entry: object) -> str:
    """Gives the class that an entry of an index names, or "" where it names none."""
    named = isinstance(entry, list) and len(entry) == 2 and isinstance(entry[1], str)
    return entry[1] if named else ""  # type: ignore[index] # looked at above


def _numbered(name: str, number: int) -> str:
    return f"{name}_{number}" if number else name
