"""LoRAs fused into the weights by the names that Diffusers' pipelines have for it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from yggdrasil.blocks.checks import check_finite
from yggdrasil.core.adapters import patched
from yggdrasil.core.errors import InputError, YggdrasilError, nearest
from yggdrasil.core.patches import adapters_of, patches_of
from yggdrasil.pipelines.lora_nodes import LoraNodes, Names, check_options

__all__ = ["FusedLoras"]

_log = logging.getLogger(__name__)

_SETTINGS = ("fuse", "fuse_order", "fuse_alone", "safe_fusing", "active")
"""What fusing changes of a LoRA's block."""


class FusedLoras(LoraNodes):
    """Fuses LoRAs as Diffusers does; the weights of before are kept, and come back to the bit."""

    def fuse_lora(
        self,
        components: Sequence[str] | None = None,
        lora_scale: float = 1.0,
        safe_fusing: bool = False,  # noqa: FBT001, FBT002 - the signature of Diffusers
        adapter_names: Names | None = None,
        **options: Any,
    ) -> None:
        """Has LoRAs added into the weights for each run; the weights of before are kept.

        Where one is, those that are not fused do not act on the same layers, as in Diffusers.
        What is fused already stays as it is.

        Args:
            components: Into which; unless given, those that Diffusers names for the family: the
                backbone and the text encoders, of FLUX.1 and FLUX.2 the backbone alone.
            lora_scale: What the scales of LoRAs are multiplied by there. One that did not act
                until now keeps its own, as in Diffusers.
            safe_fusing: Whether weights that would become NaN or infinite are refused: at once if
                the models are loaded, else in the first run.
            adapter_names: Their nodes, in the order in which they are added; those that act unless
                given. One that did not act does from then on.
            **options: None that is known.

        Raises:
            GraphError: A node is no LoRA.
            InputError: An argument is not known; ``lora_scale`` is no finite number; there is no
                such component, or none was named.
            ModelError: A weight would be NaN or infinite, and ``safe_fusing`` is asked for.
        """
        check_options(FusedLoras.fuse_lora, options)
        check_finite("lora_scale", lora_scale)
        self._check_components("fuse_lora", components)
        loras = list(self._loras())
        named = loras if adapter_names is None else self._loras_named(adapter_names)
        before = {name: self._settings(name) for name in loras}
        places = [self._block(name).fuse_order for name in loras if self._block(name).fuse]
        place = max(places, default=-1) + 1
        for number, name in enumerate(dict.fromkeys(named)):
            acting = self._acting(name)
            into = self._usual(name) if components is None else components
            new = {
                each: float(lora_scale) if each in acting else 1.0
                for each in self._components().get(name, ())
                if each in into and (each in acting or adapter_names is not None)
            }
            block = self._block(name)
            if new and not block.fuse:
                block.fuse_order = place if adapter_names is None else place + number
                block.fuse_alone, block.safe_fusing = True, safe_fusing
            elif new and safe_fusing:
                block.safe_fusing = True
            self._fuse(name, new)
            self._have_act(name, {*acting, *new})
        if safe_fusing:
            self._prove(before)

    def unfuse_lora(self, components: Sequence[str] | None = None, **options: Any) -> None:
        """Has LoRAs no more added into the weights; they act as they did before.

        In Diffusers their scales stay multiplied by ``lora_scale``; here they are their own again.

        Args:
            components: Out of which; all unless given.
            **options: None that is known.

        Raises:
            InputError: An argument is not known; there is no such component, or none was named.
        """
        check_options(FusedLoras.unfuse_lora, options)
        self._check_components("unfuse_lora", components)
        for name in self._loras():
            fused = self._fused(name)
            kept = {
                k: v for k, v in fused.items() if components is not None and k not in components
            }
            if kept != fused or (self._block(name).fuse and not kept):
                self._set_fused(name, kept)

    @property
    def fused_loras(self) -> set[str]:
        """The LoRAs that are fused."""
        return {name for name in self._loras() if self._block(name).fuse}

    @property
    def num_fused_loras(self) -> int:
        """How many LoRAs are fused."""
        return len(self.fused_loras)

    def _fuse(self, name: str, new: Mapping[str, float]) -> None:
        """Fuses a LoRA into some components beside those into which it is."""
        fused = self._fused(name)
        twice = [each for each in new if each in fused]
        if twice:
            _log.warning(
                "%s is fused into %s already and stays as it is there: unfuse_lora first.",
                name, ", ".join(twice),
            )  # fmt: skip
        if set(new) - set(fused):
            self._set_fused(name, {**new, **fused})

    def _fused(self, name: str) -> dict[str, float]:
        """Gives the components into which a LoRA is fused, with the factors of its scale."""
        block = self._block(name)
        held = {each: block.fuse_factor(each) for each in self._components().get(name, ())}
        return {each: factor for each, factor in held.items() if factor is not None}

    def _set_fused(self, name: str, fused: Mapping[str, float]) -> None:
        block = self._block(name)
        if not fused:
            block.fuse, block.fuse_order = False, 0
            block.fuse_alone = block.safe_fusing = False
        else:
            whole = dict.fromkeys(self._components()[name], 1.0)
            block.fuse = fused == whole or dict(fused)

    def _check_components(self, method: str, components: Sequence[str] | None) -> None:
        """Refuses what names no component that LoRAs of the pipeline may change."""
        if components is None:
            return
        if isinstance(components, str):
            raise InputError(
                f"{method} was given components={components!r}: give a list, such as ['unet']. "
                "LoRAs are named by adapter_names=[...]."
            )
        if not components:
            raise InputError(
                f"{method} was given no component: name some, such as components=['unet'], or "
                "leave the argument out."
            )
        patches = self._patches()
        known = {
            each for name, among in patches.items() for each in self._block(name).changeable(among)
        }
        for component in components:
            if patches and component not in known:
                raise InputError(
                    f"{method} was given the component {component!r}, which no LoRA here may "
                    f"change.{nearest(component, known)} LoRAs are named by adapter_names=[...]."
                )

    def _usual(self, name: str) -> tuple[str, ...]:
        """Gives the components into which a LoRA is fused unless told."""
        among = self._patches().get(name)
        if among is None:
            return ()
        usual: tuple[str, ...] = self._block(name).fused_unless_told(among)
        return usual

    def _patches(self) -> dict[str, Any]:
        """Gives the blocks that each LoRA changes."""
        self._fill()
        held = set(self._loras())
        return {
            each.node: each.among
            for each in adapters_of(self._runtime.wiring())
            if each.node in held
        }

    def _settings(self, name: str) -> dict[str, Any]:
        return {each: getattr(self._block(name), each) for each in _SETTINGS}

    def _prove(self, before: Mapping[str, Mapping[str, Any]]) -> None:
        """Fuses into models that are loaded, which the next run has done then.

        Raises:
            YggdrasilError: It cannot be; everything is set as before.
        """
        wiring = self._runtime.wiring()
        changed = {each for components in self._components().values() for each in components}
        try:
            for path in wiring.patches:
                block = wiring.nodes[path].block
                names = [name for name, slot in block.slots().items() if slot.folder in changed]
                held = vars(block)["_modules"]
                if all(held.get(name) is not None for name in names):
                    with patched([(block, patches_of(wiring, path))]):
                        pass
        except YggdrasilError:
            for name, settings in before.items():
                for setting, value in settings.items():
                    setattr(self._block(name), setting, value)
            raise
