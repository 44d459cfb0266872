"""The nodes of a pipeline that are LoRAs: which there are, and what each acts on."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from yggdrasil.core.errors import GraphError, InputError, nearest
from yggdrasil.core.graph import ComputeGraph
from yggdrasil.core.patches import adapters_of
from yggdrasil.core.runtime import Runtime

__all__ = ["TYPE", "LoraNodes", "Names", "check_options"]

TYPE = "adapter/lora"

Names = str | Sequence[str]


class LoraNodes(ABC):
    """What is asked of a pipeline's LoRAs, and done with one, under no name of Diffusers."""

    graph: ComputeGraph
    _runtime: Runtime

    @abstractmethod
    def _fill(self) -> None:
        """Gives nodes their components and their place."""

    def _components(self) -> dict[str, tuple[str, ...]]:
        """Gives the components that each LoRA is for, in the order of adding."""
        self._fill()
        patches = {each.node: each for each in adapters_of(self._runtime.wiring())}
        return {
            name: self._block(name).components(patches[name].among)
            for name in self.graph.nodes
            if name in patches and name in self._loras()
        }

    def _acting(self, name: str) -> list[str]:
        """Gives the components that a LoRA acts on, but for scales and ``disable_lora``."""
        block = self._block(name)
        return [each for each in self._components().get(name, ()) if block.acts_on(each)]

    def _hand_on(self, component: str) -> None:
        """Has a LoRA act on a component where none does, if one is for it."""
        heirs = sorted(each for each, parts in self._components().items() if component in parts)
        if heirs and not any(component in self._acting(each) for each in heirs):
            self._have_act(heirs[0], {*self._acting(heirs[0]), component})

    def _have_act(self, name: str, acting: set[str]) -> None:
        """Has a LoRA act on some of the components that it is for."""
        if acting != set(self._acting(name)):
            whole = acting == set(self._components()[name])
            self._block(name).active = whole or sorted(acting) or False

    def _block(self, name: str) -> Any:
        return self.graph.block(name)

    def _loras(self) -> Iterable[str]:
        """Gives the nodes that are LoRAs, in order."""
        nodes = self.graph.nodes.values()
        found = [each for each in nodes if each.block and each.block.type_name == TYPE]
        return [each.name for each in sorted(found, key=lambda each: (each.order, each.name))]

    def _loras_named(self, names: Names) -> list[str]:
        several = [names] if isinstance(names, str) else list(names)
        known = list(self._loras())
        for name in several:
            if name not in known:
                raise GraphError(
                    f"{name!r} is no LoRA of graph {self.graph.name!r}; it has "
                    f"{', '.join(map(repr, known)) or 'none'}.{nearest(name, known)}"
                )
        return several


def check_options(
    method: Callable[..., Any], options: Mapping[str, Any], but: Collection[str] = ()
) -> None:
    """Refuses options that a method does not take.

    Args:
        method: Its last argument is ``**options``.
        options: What was given for that.
        but: Those that it takes there.

    Raises:
        InputError: One is not known.
    """
    for name in options:
        if name not in but:
            taken = [each for each in inspect.signature(method).parameters if each != "self"]
            raise InputError(f"{method.__name__} takes no {name!r}.{nearest(name, taken[:-1])}")
