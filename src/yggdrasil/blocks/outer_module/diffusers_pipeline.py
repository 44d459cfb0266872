"""A whole pipeline of Diffusers as one block."""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Self

from diffusers import DiffusionPipeline

from yggdrasil.blocks.codec.setting import alone_with
from yggdrasil.blocks.outer_module.pipeline_classes import (
    component_class,
    parts_of,
    pipeline_class,
)
from yggdrasil.blocks.outer_module.pipeline_ports import ports_of, takes_one
from yggdrasil.blocks.outer_module.pipeline_steps import callback_values, told_steps
from yggdrasil.core.component import Component, Given
from yggdrasil.core.errors import ConfigError, ExecutionError, nearest
from yggdrasil.core.fingerprint import fingerprint
from yggdrasil.core.inner_steps import watcher
from yggdrasil.core.ports import OpSpec
from yggdrasil.core.registry import register_block
from yggdrasil.core.roles import AbstractOuterModule

__all__ = ["DiffusersPipeline", "HandedPipeline"]


@dataclass(frozen=True, slots=True)
class Nothing:
    """The value None, given on purpose where the default is another."""

    def __repr__(self) -> str:
        """Says what the pipeline is given."""
        return "None"


@register_block("outer_module/diffusers_pipeline")
class DiffusersPipeline(AbstractOuterModule):
    """A whole pipeline of Diffusers, which the graph runs and does not see into.

    It has one op, ``run``, whose inputs are the arguments of the pipeline's call and whose outputs
    are the fields of what the call gives back; and a slot for each of the pipeline's components. So
    a pipeline for which there is no template stands beside blocks and stages.

    Args:
        pipeline: Name of the pipeline's class, as Diffusers exports it.
        settings: Arguments of the class's constructor that are plain data.

    Raises:
        ConfigError: Diffusers has no such class, or it has no such setting.
        ModelError: The class needs a package that is not installed.
    """

    NOTHING: ClassVar = Nothing()
    """Given to ``run`` it stands for None, which of a graph's inputs says that none is given."""

    def __init__(self, pipeline: str, settings: Mapping[str, Any] | None = None) -> None:
        self.pipeline = pipeline
        self.settings = dict(settings or {})
        self._set_up(pipeline_class(pipeline))

    def _set_up(self, cls: type) -> None:
        parts = parts_of(cls)
        for name in self.settings:
            if name not in parts.settings:
                raise ConfigError(
                    f"{self.pipeline} has no setting {name!r}.{nearest(name, parts.settings)}"
                )
        self._cls = cls
        self._slots = {
            name: self._slot(name, optional=optional) for name, optional in parts.components.items()
        }
        self._pipe: Any = None
        self._parts: dict[str, Any] = {}

    def adopt(self, pipe: Any) -> Self:
        """Takes the components of a pipeline object, and its state: hooks, tiling, offload.

        Args:
            pipe: Of this block's class. Its models are shared; the object is left as it is.
        """
        held = {name: value for name, value in pipe.components.items() if value is not None}
        self.give(**held)
        self._pipe = _apart(pipe)
        self._parts = {name: held.get(name) for name in self._slots}
        return self

    # -- what the graph asks ---------------------------------------------------------------------

    @property
    def label(self) -> str:
        """What drawings and plans call the block."""
        return f"{self.pipeline} (opaque)"

    def ops(self) -> Mapping[str, OpSpec]:
        """Gives ``run``, with the ports of this pipeline."""
        return MappingProxyType({"run": ports_of(self._cls, "run")})

    def slots(self) -> Mapping[str, Component[Any]]:
        """Gives a slot for each component of this pipeline."""
        return MappingProxyType(self._slots)

    def step_values(self) -> tuple[str, ...] | None:
        """Names what the pipeline shows to a step callback; None where it takes none."""
        return callback_values(self._cls)

    def settled_by(self) -> tuple[Any, ...]:
        """Gives the configurations of the components, which those that are no modules follow."""
        told = {
            name: fingerprint(str(dict(getattr(value, "config", None) or {})))
            for name in self._slots
            if (value := vars(self).get(name)) is not None
        }
        return tuple(sorted(told.items()))

    def __getattr__(self, name: str) -> Any:
        """Gives a component, loading it on the first touch."""
        slot = self.__dict__.get("_slots", {}).get(name)
        return super().__getattr__(name) if slot is None else slot.__get__(self, type(self))

    # -- what it does ----------------------------------------------------------------------------

    def run(self, **arguments: Any) -> tuple[Any, ...]:
        """Calls the pipeline.

        Args:
            **arguments: Those of the pipeline's call; the others have the pipeline's own defaults.

        Returns:
            The fields of what it gives back, in order.

        Raises:
            ExecutionError: It gives back something else than it says.
        """
        given = {key: None if each is self.NOTHING else each for key, each in arguments.items()}
        for name in takes_one(self._cls) & given.keys():
            # Stages give pictures in lists.
            value = given[name]
            given[name] = value[0] if isinstance(value, list) and len(value) == 1 else value
        pipe = self.assembled()
        # Its scheduler and its own attributes are written to from step to step.
        with alone_with(self), told_steps(pipe, watcher()) as further:
            result = pipe(**given, **further)
        names = tuple(self.ops()["run"].outputs)
        missing = [name for name in names if not hasattr(result, name)]
        if missing:
            raise ExecutionError(
                f"{self.pipeline} gave back a {type(result).__name__} without {missing[0]!r}, "
                f"where it says that it gives {', '.join(names)}."
            )
        return tuple(getattr(result, name) for name in names)

    def assembled(self) -> Any:
        """Gives the pipeline, made of what the slots hold now."""
        parts = {name: getattr(self, name) for name in self._slots}
        same = all(self._parts.get(name) is value for name, value in parts.items())
        if self._pipe is None or not same:
            self._pipe = self._cls(**parts, **self.settings)
            # Some put a model of their own in the place of the one that they are given.
            parts = {name: getattr(self._pipe, name, part) for name, part in parts.items()}
            for name, part in parts.items():
                if getattr(self, name) is not part:
                    setattr(self, name, part)
            self._parts = parts
        return self._pipe

    def index(self) -> dict[str, Any]:
        """Gives what Diffusers writes into ``model_index.json`` of components and settings."""
        told = dict(self.assembled().config).items()
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in sorted(told)
            if not name.startswith("_")
        }

    # -- inside ----------------------------------------------------------------------------------

    def _slot(self, name: str, *, optional: bool) -> Component[Any]:
        slot = Component[Any](
            functools.partial(self._class_of, name), optional=optional, folder=name
        )
        slot.name = name
        return slot

    def _class_of(self, name: str) -> type:
        """Gives the class of a component: of what is handed in, or as its model's index says it."""
        source = self.sources.get(name)
        if isinstance(source, Given):
            return type(source.value)
        return component_class(self._cls, name, getattr(source, "class_name", None))


class HandedPipeline(DiffusersPipeline):
    """A pipeline of a class of the caller's own, which no graph file can name.

    Args:
        pipe: The object.
    """

    def __init__(self, pipe: Any) -> None:
        self.pipeline = type(pipe).__name__
        names = parts_of(type(pipe)).settings
        self.settings = {name: pipe.config[name] for name in names if name in pipe.config}
        self._set_up(type(pipe))
        self.adopt(pipe)

    def extra_repr(self) -> str:
        """Shows the class in ``repr``."""
        return f"pipeline={self.pipeline!r}"


def _apart(pipe: Any) -> Any:
    """Gives a pipeline with the same components whose own state can be changed."""
    own = copy.copy(pipe)
    for name, value in vars(pipe).items():
        if isinstance(value, DiffusionPipeline):  # a combined pipeline holds others
            setattr(own, name, _apart(value))
    return own
