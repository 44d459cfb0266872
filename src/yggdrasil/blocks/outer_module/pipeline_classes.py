"""The classes of Diffusers' pipelines and of their components, found by name."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import typing
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from yggdrasil.core.errors import ConfigError, ModelError, nearest

__all__ = ["Parts", "component_class", "parts_of", "pipeline_class", "pipeline_names"]

_LIBRARIES = ("diffusers", "transformers")

# Of the optional packages, by Diffusers' names for them, those that are called otherwise.
_MODULES = {"opencv": "cv2"}
_PACKAGES = {"opencv": "opencv-python", "note_seq": "note-seq"}


class Parts(NamedTuple):
    """What a pipeline is made of, as its constructor says.

    Attributes:
        components: Models, tokenizers, schedulers, ...; by name whether it does without.
        settings: By name the defaults of what is plain data.
    """

    components: Mapping[str, bool]
    settings: Mapping[str, Any]


def pipeline_names() -> tuple[str, ...]:
    """Gives the names of the pipeline classes that Diffusers exports, those of modular ones too."""
    diffusers = importlib.import_module("diffusers")
    return tuple(sorted(name for name in dir(diffusers) if name.endswith("Pipeline")))


def pipeline_class(name: str) -> type:
    """Gives a pipeline class that Diffusers exports.

    Args:
        name: Of the class, such as ``PixArtSigmaPipeline``.

    Raises:
        ConfigError: Diffusers has no such class, or it is not called as a whole.
        ModelError: It needs a package that is not installed.
    """
    diffusers: Any = importlib.import_module("diffusers")
    cls = getattr(diffusers, name, None) if name in pipeline_names() else None
    if not isinstance(cls, type):
        raise ConfigError(
            f"Diffusers {diffusers.__version__} has no pipeline class {name!r}."
            f"{nearest(name, pipeline_names(), list_others=False)} A class of your own is given "
            "as an object: InferencePipeline.from_diffusers(pipe)."
        )
    # In the place of what cannot be imported Diffusers puts classes that say what they would need.
    lacking = getattr(cls, "_backends", None)
    if lacking is not None:
        missing = [
            each for each in lacking if importlib.util.find_spec(_MODULES.get(each, each)) is None
        ]
        raise ModelError(
            f"{name} needs {', '.join(missing or lacking)}, which is not installed: pip install "
            f"{' '.join(_PACKAGES.get(each, each) for each in missing or lacking)}."
        )
    base: type = diffusers.DiffusionPipeline
    if not issubclass(cls, base):
        plain = name.replace("Modular", "")
        raise ConfigError(
            f"{name} is modular, a definition of blocks and no pipeline that is called as a whole. "
            f"{f'Take {plain}.' if plain in pipeline_names() else 'Diffusers has it as no other.'}"
        )
    if cls is base or not any("__call__" in vars(each) for each in cls.__mro__):
        others = [each for each in pipeline_names() if each != name and "Modular" not in each]
        raise ConfigError(
            f"{name} has no __call__, so it cannot run as a block.{nearest(name, others)}"
        )
    return cls


def parts_of(cls: type) -> Parts:
    """Reads off a pipeline's constructor which components and settings it has.

    As Diffusers does: what has a default is a setting, unless the class lists it among its optional
    components.

    Args:
        cls: The pipeline's class.
    """
    optional = set(getattr(cls, "_optional_components", ()))
    components: dict[str, bool] = {}
    settings: dict[str, Any] = {}
    for name, parameter in inspect.signature(cls).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.default is parameter.empty or name in optional:
            components[name] = name in optional
        else:
            settings[name] = parameter.default
    return Parts(components, settings)


def component_class(cls: type, name: str, class_name: str | None) -> type:
    """Finds the class of a pipeline's component.

    Args:
        cls: The pipeline's class.
        name: Of the component.
        class_name: Of its class, as the model's index says it; None takes the one that the
            pipeline's constructor names.

    Raises:
        ModelError: There is no such class in Diffusers or transformers.
    """
    named = [each for each in _annotated(cls, name) if class_name in (None, each.__name__)]
    if named:
        return named[0]
    if class_name is not None:
        places = [vars(importlib.import_module(cls.__module__))]
        places += [vars(importlib.import_module(cls.__module__.rpartition(".")[0]))]
        found: Any = next((place[class_name] for place in places if class_name in place), None)
        for library in _LIBRARIES:
            found = found or getattr(importlib.import_module(library), class_name, None)
        if isinstance(found, type) and hasattr(found, "from_pretrained"):
            return found
    raise ModelError(
        f"{name!r} of {cls.__name__} is a {class_name or 'class that its constructor leaves open'}:"
        f" {' and '.join(_LIBRARIES)} as they are installed have no such class that is loaded from "
        "files. Give an object in its place."
    )


def _annotated(cls: type, name: str) -> Iterator[type]:
    """Gives the classes that a constructor names for a component."""
    constructor = getattr(cls, "__init__")  # noqa: B009 - for mypy
    try:
        hint = typing.get_type_hints(constructor).get(name)
    except (NameError, TypeError):  # a name that is imported for type checkers alone
        return
    for each in typing.get_args(hint) or (hint,):
        if isinstance(each, type) and hasattr(each, "from_pretrained"):
            yield each
