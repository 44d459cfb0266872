"""LoRAs by the names that Diffusers' pipelines have for them: each is a node of the graph."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from yggdrasil.core.errors import GraphError, InputError, YggdrasilError, nearest
from yggdrasil.core.graph import ComputeGraph
from yggdrasil.core.patches import adapters_of
from yggdrasil.core.runtime import Runtime

__all__ = ["PipelineLoras"]

_TYPE = "adapter/lora"

Names = str | Sequence[str]


class PipelineLoras(ABC):
    """What Diffusers' users look for; ``graph.add_node("style", type="adapter/lora")`` is the same.

    Stages have LoRAs of their own, in their graphs; these methods see those of the whole.
    """

    graph: ComputeGraph
    _runtime: Runtime

    @abstractmethod
    def _fill(self) -> None:
        """Gives nodes their components and their place."""

    def load_lora_weights(
        self,
        weights: str | os.PathLike[str],
        *,
        weight_name: str | None = None,
        adapter_name: str | None = None,
        scale: float | Mapping[str, Any] = 1.0,
    ) -> None:
        """Adds a LoRA, after those that are there.

        Args:
            weights: A safetensors file, or a folder with one.
            weight_name: The file in the folder.
            adapter_name: What its node is called; ``default_0`` and so on unless given.
            scale: As for ``adapter/lora``.

        Raises:
            GraphError: The name is taken.
            ModelError: The file is missing, damaged, no LoRA, or one for another model.
        """
        path = Path(weights) if weight_name is None else Path(weights) / weight_name
        number = 0
        while adapter_name is None:
            adapter_name = None if f"default_{number}" in self.graph.nodes else f"default_{number}"
            number += 1
        orders = [self.graph.nodes[name].order for name in self._loras()]
        self.graph.add_node(
            adapter_name, _TYPE, order=max(orders, default=-1) + 1, weights=str(path), scale=scale
        )
        try:
            self._fill()
            for patch in adapters_of(self._runtime.wiring()):
                if patch.node == adapter_name:
                    patch.adapter.check(patch.among)
        except YggdrasilError:
            self.graph.remove_node(adapter_name)
            raise

    def set_adapters(
        self,
        adapter_names: Names,
        adapter_weights: float | Mapping[str, Any] | Sequence[Any] | None = None,
    ) -> None:
        """Has some LoRAs act, in this order, and all others not.

        Args:
            adapter_names: Their nodes.
            adapter_weights: One scale for all, or one for each; 1 unless given.

        Raises:
            GraphError: A node is no LoRA.
            InputError: There are not as many weights as names.
        """
        names = self._loras_named(adapter_names)
        several = isinstance(adapter_weights, Sequence)
        scales: list[Any] = list(adapter_weights) if several else [adapter_weights] * len(names)  # type: ignore[arg-type] # asked just now
        if len(scales) != len(names):
            raise InputError(
                f"set_adapters was given {len(names)} names and {len(scales)} weights: give one "
                "weight for each, or one for all."
            )
        given = dict(zip(names, scales, strict=True))
        others = [name for name in self._loras() if name not in names]
        for place, name in enumerate([*names, *others]):
            block: Any = self.graph.block(name)
            scale = given.get(name, 0.0)
            block.scale = 1.0 if scale is None else scale
            if self.graph.nodes[name].order != place:
                self.graph.replace_node(name, block, order=place)

    def fuse_lora(self, adapter_names: Names | None = None) -> None:
        """Has LoRAs added into the weights for each run; the weights of before are kept.

        Args:
            adapter_names: Their nodes; all unless given.
        """
        self._fuse(adapter_names, fuse=True)

    def unfuse_lora(self, adapter_names: Names | None = None) -> None:
        """Has LoRAs no more added into the weights.

        Args:
            adapter_names: Their nodes; all unless given.
        """
        self._fuse(adapter_names, fuse=False)

    def delete_adapters(self, adapter_names: Names) -> None:
        """Takes LoRAs away.

        Args:
            adapter_names: Their nodes.
        """
        for name in self._loras_named(adapter_names):
            self.graph.remove_node(name)

    def unload_lora_weights(self) -> None:
        """Takes all LoRAs away."""
        for name in list(self._loras()):
            self.graph.remove_node(name)

    def save_lora_weights(
        self, save_directory: str | os.PathLike[str], adapter_name: str | None = None
    ) -> Path:
        """Saves a LoRA that was trained, as Diffusers' ``load_lora_weights`` reads it.

        Args:
            save_directory: Made if it does not exist.
            adapter_name: Its node; the only one unless given.

        Returns:
            The file.

        Raises:
            GraphError: There is not exactly one, or the node is no LoRA.
        """
        names = list(self._loras()) if adapter_name is None else self._loras_named(adapter_name)
        if len(names) != 1:
            raise GraphError(
                f"The graph has {len(names)} LoRAs: say which, adapter_name='...'."
                if names
                else "The graph has no LoRA."
            )
        among = {each.node: each.among for each in adapters_of(self._runtime.wiring())}
        block: Any = self.graph.block(names[0])
        path: Path = block.save_weights(Path(save_directory), among.get(names[0], ()))
        return path

    def _fuse(self, names: Names | None, *, fuse: bool) -> None:
        for name in self._loras() if names is None else self._loras_named(names):
            block: Any = self.graph.block(name)
            block.fuse = fuse

    def _loras(self) -> Iterable[str]:
        """Gives the nodes that are LoRAs, in order."""
        nodes = self.graph.nodes.values()
        found = [each for each in nodes if each.block and each.block.type_name == _TYPE]
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
