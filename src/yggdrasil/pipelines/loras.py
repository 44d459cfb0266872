"""LoRAs by the names that Diffusers' pipelines have for them: each is a node of the graph."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from yggdrasil.core.errors import GraphError, InputError, YggdrasilError
from yggdrasil.core.patches import adapters_of
from yggdrasil.core.registry import make_block
from yggdrasil.hub.access import HubOptions
from yggdrasil.hub.single_files import HubFiles
from yggdrasil.pipelines.fused_loras import FusedLoras
from yggdrasil.pipelines.lora_nodes import TYPE, Names, check_options

__all__ = ["PipelineLoras"]

_log = logging.getLogger(__name__)

_ALWAYS: Mapping[str, tuple[Any, ...]] = {
    "use_safetensors": (True, None),
    "low_cpu_mem_usage": (True, False),
}
"""Options of Diffusers, and the values that ask for what is always done here."""


class PipelineLoras(FusedLoras):
    """What Diffusers' users look for; ``graph.add_node("style", type="adapter/lora")`` is the same.

    Stages have LoRAs of their own, in their graphs; these methods see those of the whole.
    """

    def load_lora_weights(
        self,
        weights: str | os.PathLike[str] | Mapping[str, Tensor],
        adapter_name: str | None = None,
        *,
        weight_name: str | None = None,
        subfolder: str | None = None,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
        hotswap: bool = False,
        scale: float | Mapping[str, Any] = 1.0,
        **options: Any,
    ) -> None:
        """Adds a LoRA, which acts in the place of those that acted on the same components.

        So it is in Diffusers; ``set_adapters`` has several act, and nodes that are added to the
        graph all do.

        Args:
            weights: A safetensors file, or a folder with one; the id of a model on the hub, or the
                address of a file there, of which that file alone is fetched; or the tensors of a
                LoRA by name, which are copied.
            adapter_name: What its node is called; ``default_0`` and so on unless given.
            weight_name: The file in the folder or model; chosen if one alone can be meant.
            subfolder: The part of the folder or model that the file is in.
            revision: A branch, tag or commit on the hub.
            token: Of an account of the hub; the one that is logged in or in ``HF_TOKEN`` unless
                given.
            cache_dir: Where files of the hub are kept; the hub's usual cache unless given.
            local_files_only: Whether to read that cache alone.
            hotswap: Whether it takes the place of the LoRA ``adapter_name``, which is there.
            scale: As for ``adapter/lora``.
            **options: Those of Diffusers that ask for what is always done:
                ``use_safetensors=True``, ``low_cpu_mem_usage``.

        Raises:
            GraphError: The name is taken; with ``hotswap``, there is no LoRA of that name.
            InputError: An argument is not known, or means nothing for what is loaded.
            ModelError: The file is missing, damaged, pickled, no LoRA, or one for another model; or
                the hub does not give it, or the model there has several.
        """
        _check_always(options)
        block: Any = make_block(TYPE, scale=scale)
        where = {"weight_name": weight_name, "subfolder": subfolder, "revision": revision}
        if isinstance(weights, Mapping):
            _refuse_where(where)
            block.give_tensors(weights)
        else:
            block.load_weights(weights, **where)
        access = HubOptions(token=token, cache_dir=cache_dir, local_files_only=local_files_only)
        block.find_files(HubFiles(access))
        if hotswap:
            self._swap(adapter_name, block)
        else:
            self._add(adapter_name or self._free_name(), block)

    def _free_name(self) -> str:
        """Gives the name that Diffusers gives to the next adapter."""
        numbers = (f"default_{number}" for number in itertools.count())
        return next(name for name in numbers if name not in self.graph.nodes)

    def _add(self, name: str, block: Any) -> None:
        others = list(self._loras())
        block.enabled = all(self._block(each).enabled for each in others)
        orders = [self.graph.nodes[each].order for each in others]
        self.graph.add_node(name, block, order=max(orders, default=-1) + 1)
        try:
            changed = self._checked(name)
        except YggdrasilError:
            self.graph.remove_node(name)
            raise
        for other in others:
            self._have_act(other, set(self._acting(other)) - set(changed))

    def _swap(self, name: str | None, block: Any) -> None:
        if name is None:
            raise InputError("hotswap=True puts a LoRA in the place of another: say adapter_name.")
        (name,) = self._loras_named(name)
        before = self._block(name)
        block.active, block.enabled = before.active, before.enabled
        self.graph.replace_node(name, block)
        try:
            self._checked(name)
        except YggdrasilError:
            self.graph.replace_node(name, before)
            raise

    def _checked(self, name: str) -> tuple[str, ...]:
        """Checks a LoRA against the models, and gives the components that it is for.

        Raises:
            YggdrasilError: It does not fit them.
        """
        self._fill()
        for patch in adapters_of(self._runtime.wiring()):
            if patch.node == name:
                patch.adapter.check(patch.among)
        return self._components()[name]

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
            block = self._block(name)
            block.active = name in given
            if name in given:
                block.scale = 1.0 if given[name] is None else given[name]
            if self.graph.nodes[name].order != place:
                self.graph.replace_node(name, block, order=place)

    def get_active_adapters(self) -> list[str]:
        """Gives the LoRAs that act, in order; while they are disabled, those that would."""
        return [name for name in self._loras() if self._acting(name)]

    def get_list_adapters(self) -> dict[str, list[str]]:
        """Gives all LoRAs by the component that they are for."""
        found: dict[str, list[str]] = {}
        for name, components in self._components().items():
            for component in components:
                found.setdefault(component, []).append(name)
        return found

    def disable_lora(self) -> None:
        """Has no LoRA act, until ``enable_lora`` has those act again that did."""
        for name in self._loras():
            self._block(name).enabled = False

    def enable_lora(self) -> None:
        """Has LoRAs act again after ``disable_lora``."""
        for name in self._loras():
            self._block(name).enabled = True

    def delete_adapters(self, adapter_names: Names) -> None:
        """Takes LoRAs away.

        Where none is left that acts on a component, the first by name does from then on, as PEFT
        has it.

        Args:
            adapter_names: Their nodes.

        Raises:
            GraphError: A node is no LoRA.
        """
        for name in self._loras_named(adapter_names):
            idle = [each for each in self._loras() if self._block(each).active is not True]
            lost = set(self._acting(name)) if idle else ()
            self.graph.remove_node(name)
            for component in lost:
                self._hand_on(component)

    def unload_lora_weights(self) -> None:
        """Takes all LoRAs away, those that are fused too, of which it warns."""
        fused = ", ".join(map(repr, sorted(self.fused_loras)))
        if fused:
            _log.warning(
                "%s: taken away though fused; those that Diffusers has fused stay in the weights. "
                "To go on with what is fused, leave unload_lora_weights out.", fused,
            )  # fmt: skip
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


def _check_always(options: Mapping[str, Any]) -> None:
    """Refuses options that ask for what is not done."""
    check_options(PipelineLoras.load_lora_weights, options, but=_ALWAYS)
    for name, value in options.items():
        if value not in _ALWAYS[name]:
            raise InputError(
                f"{name}={value!r}: weights are read from safetensors only. Leave it out."
            )


def _refuse_where(where: Mapping[str, str | None]) -> None:
    """Refuses to look for tensors that were given."""
    for name, value in where.items():
        if value is not None:
            raise InputError(
                f"A LoRA was given as tensors: {name}={value!r} means nothing there. Leave it out."
            )
