"""The base of every block."""

from __future__ import annotations

import functools
import inspect
from abc import ABC
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Self

import torch
from torch import nn

from yggdrasil.core.component import Component, ComponentSource, Given
from yggdrasil.core.errors import ConfigError, nearest
from yggdrasil.core.module_watch import forget_modules, watch_of
from yggdrasil.core.ports import OpSpec, read_ops

__all__ = ["AbstractBaseBlock"]


class AbstractBaseBlock(nn.Module, ABC):
    """One part of a diffusion system: ops with typed ports over weights and parameters.

    A block is an ``nn.Module``, so its weights are found by everything that knows PyTorch: device
    moves, optimizers, accelerate, peft, safetensors. It initialises in two moments:

    * ``__new__`` runs ``nn.Module.__init__`` and records the constructor's arguments as ``config``.
      So a subclass writes a plain ``__init__`` that only keeps its parameters, with no call to
      ``super().__init__()`` to forget, and every block can be written to a graph file.
    * Weights come later. A slot declared with ``Component`` is filled by ``give`` (an object) or
      ``load_from`` (a source) and loaded on the first touch, so a graph can be built, wired,
      checked and drawn for a model that is not on this machine.

    Constructor arguments must be plain data (numbers, strings, lists, mappings).

    Attributes:
        role: What the block is in a diffusion graph; rules are written against roles.
        inner_graph: The graph that a stage wraps; None for every other block.
        type_name: The registered name, ``role/name``; set by ``register_block``.
        pipeline_settings: By argument of the constructor: the setting of a whole pipeline in
            Diffusers' layout that says it.
        call_inputs: Graph inputs that a call may give for the block whatever its task, each with
            whether it must; added to those of the base classes. Nodes that share one take a list,
            an item for each.
        version: Raised whenever the same inputs give other numbers; part of cache keys.
        sources: Where each filled slot's component comes from.
        placement: Device and dtype that components have, or get when they are loaded.
        components_version: Grows whenever a slot is filled anew, since facts may then change.
    """

    role: ClassVar[str] = "block"
    inner_graph: Any = None
    type_name: ClassVar[str] = ""
    pipeline_settings: ClassVar[Mapping[str, str]] = MappingProxyType({})
    call_inputs: ClassVar[Mapping[str, bool]] = MappingProxyType({})
    version: ClassVar[int] = 1

    _config: dict[str, Any]
    components_version: int
    _moved_slots: dict[str, Component[Any]]
    _lacking: set[str]
    sources: dict[str, ComponentSource]
    placement: tuple[torch.device | None, torch.dtype | None] | None

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Makes the module ready and records the constructor's arguments."""
        self = super().__new__(cls)
        nn.Module.__init__(self)
        self._config = _bind(cls, args, kwargs)
        self.sources = {}
        self.placement = None
        self.components_version = 0
        self._moved_slots = {}
        self._lacking = set()
        return self

    @property
    def config(self) -> Mapping[str, Any]:
        """The constructor's arguments, defaults included."""
        return self._config

    def ops(self) -> Mapping[str, OpSpec]:
        """Gives the ops of this instance, read from the class's signatures."""
        return _class_ops(type(self))

    @property
    def label(self) -> str:
        """What drawings and plans call the block."""
        return self.type_name or type(self).__name__

    # -- components ------------------------------------------------------------------------------

    @classmethod
    def declared_slots(cls) -> Mapping[str, Component[Any]]:
        """Gives the component slots that the class declares, by name."""
        return _class_slots(cls)

    def slots(self) -> Mapping[str, Component[Any]]:
        """Gives the component slots of this block, by name."""
        return {**self.declared_slots(), **self._moved_slots}

    def move_slot(self, name: str, *, folder: str | None = None, cls: type | None = None) -> None:
        """Says in a constructor that a slot is another one in this block.

        Args:
            name: The slot.
            folder: The subfolder of a saved pipeline that holds the component.
            cls: The class to load.
        """
        self._moved_slots[name] = self.declared_slots()[name].at(folder=folder, cls=cls)

    def lacks(self, name: str) -> bool:
        """Says whether the model that fills the block is known to have no such component.

        Args:
            name: An optional slot.
        """
        return name in self._lacking and name not in self.sources

    def leave_empty(self, name: str) -> None:
        """Notes that the model which fills the block has no such component.

        Args:
            name: An optional slot.
        """
        if name not in self._lacking:
            self._lacking.add(name)
            self.components_version += 1

    def empty(self, name: str) -> None:
        """Takes a component away, for good.

        Args:
            name: An optional slot.

        Raises:
            ConfigError: The block has no such slot, or cannot do without it.
        """
        self._check_slot(name)
        if not self.slots()[name].optional:
            raise ConfigError(f"{type(self).__name__} cannot do without its {name!r}.")
        self.sources.pop(name, None)
        self._modules.pop(name, None)
        self.__dict__.pop(name, None)
        self._lacking.add(name)
        forget_modules(self)
        self.components_version += 1

    def give(self, **components: object) -> Self:
        """Fills slots with objects; they are shared, not copied.

        Args:
            components: Objects by slot name.

        Raises:
            ConfigError: The block has no such slot.
        """
        for name, value in components.items():
            self._check_slot(name)
            self.sources[name] = Given(value)
            setattr(self, name, value)
        forget_modules(self)
        self.components_version += 1
        return self

    def load_from(self, **sources: ComponentSource) -> Self:
        """Says where slots are loaded from on their first touch.

        Args:
            sources: Sources by slot name.

        Raises:
            ConfigError: The block has no such slot.
        """
        for name, source in sources.items():
            self._check_slot(name)
            self._modules.pop(name, None)
            self.__dict__.pop(name, None)
            self.sources[name] = source
        forget_modules(self)
        self.components_version += 1
        return self

    def component_config(self, name: str) -> Mapping[str, Any]:
        """Gives a component's configuration without loading its weights.

        Raises:
            NotLoadedError: The slot has no source.
        """
        slot = self.slots()[name]
        source = self.sources.get(name)
        if source is None:
            return Given(getattr(self, name)).config(slot)
        return source.config(slot)

    def load(self) -> None:
        """Loads every component now instead of on the first touch."""
        for name in self.slots():
            getattr(self, name)

    def place(self, device: torch.device | None, dtype: torch.dtype | None) -> None:
        """Moves the loaded components, and has those still to be loaded follow."""
        self.placement = (device, dtype)
        self.to(device=device, dtype=dtype)

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Self:  # noqa: FBT001, FBT002 - PyTorch's signature
        """Moves or casts what the block holds; what knows of its old memory lets go of it."""
        forget_modules(self)
        moved: Self = super()._apply(fn, recurse)  # type: ignore[no-untyped-call] # PyTorch's
        return moved

    def _check_slot(self, name: str) -> None:
        if name not in self.slots():
            raise ConfigError(
                f"{type(self).__name__} has no component {name!r}.{nearest(name, self.slots())}"
            )

    # -- what the planner asks -------------------------------------------------------------------

    def check_inputs(self, op: str, known: Mapping[str, Any]) -> None:
        """Looks at values that are known before anything runs, and refuses what cannot be right.

        Args:
            op: The op that will be run.
            known: Values of its inputs by port name: scalars of the call and facts, no tensors of
                the run.

        Raises:
            InputError: A value cannot be right.
        """

    def step_values(self) -> tuple[str, ...] | None:
        """Names what a step of a loop inside this block shows of itself; None without such a loop.

        Only a block with an opaque op has one (``core.inner_steps``).
        """
        return None

    def unused_inputs(self, op: str, known: Mapping[str, Any]) -> frozenset[str]:
        """Says which optional inputs an op will not read, given the values known when planning.

        What nothing else needs is then not computed at all: at guidance scale 1 the negative
        prompt is not encoded. Who says so of its generator draws nothing, so that what it gives is
        kept even where no generator is wired.

        Args:
            op: The op that will be run.
            known: Values of its inputs by port name, as for ``check_inputs``.
        """
        del op, known
        return frozenset()

    def declines(self, op: str, facts: Mapping[str, Any]) -> bool:
        """Says whether an op does not apply to the models in the graph.

        A declined op is not available, as if its node were not there: pasting back what a mask
        keeps is not for a UNet that reads the mask itself.

        Args:
            op: The op.
            facts: Values of its inputs that are known from configuration, by port name.
        """
        del op, facts
        return False

    # -- identity --------------------------------------------------------------------------------

    def weights_version(self) -> bytes:
        """Gives a value that changes when weights are replaced or written to."""
        return watch_of(self).weights()

    def settled_by(self) -> tuple[Any, ...]:
        """Gives what the block's numbers depend on that is no argument, attribute or model."""
        return ()

    def extra_repr(self) -> str:
        """Shows the configuration in ``repr``."""
        return ", ".join(f"{name}={value!r}" for name, value in self.config.items())


@functools.cache
def _class_ops(cls: type[AbstractBaseBlock]) -> Mapping[str, OpSpec]:
    return read_ops(cls)


@functools.cache
def _class_slots(cls: type[AbstractBaseBlock]) -> Mapping[str, Component[Any]]:
    found: dict[str, Component[Any]] = {}
    for base in reversed(cls.__mro__):
        found.update({k: v for k, v in vars(base).items() if isinstance(v, Component)})
    return MappingProxyType(found)


def _bind(cls: type, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Binds constructor arguments to names.

    Raises:
        ConfigError: An argument is unknown or a required one is missing.
    """
    constructor: Callable[..., None] = getattr(cls, "__init__")  # noqa: B009 - for mypy
    if constructor is nn.Module.__init__:
        signature = inspect.Signature()
    else:
        signature = inspect.signature(constructor)
        signature = signature.replace(parameters=list(signature.parameters.values())[1:])
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as error:
        unknown = [name for name in kwargs if name not in signature.parameters]
        hint = nearest(unknown[0], signature.parameters) if unknown else ""
        name = getattr(cls, "type_name", "") or cls.__qualname__
        raise ConfigError(f"{name}: {error}.{hint}") from error
    bound.apply_defaults()
    config: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        if signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
            config.update(value)
        else:
            config[name] = value
    return config
