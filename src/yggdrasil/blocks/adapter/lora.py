"""LoRA: low-rank changes to the weights of a backbone and its text encoders."""

from __future__ import annotations

import contextlib
import logging
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from yggdrasil.blocks.adapter.factors import FactorStore, LayerNames
from yggdrasil.blocks.adapter.lora_families import family_of
from yggdrasil.blocks.adapter.lora_file import shown
from yggdrasil.blocks.adapter.lora_formats import read_parts
from yggdrasil.blocks.adapter.lora_layers import LayerCache, LoraOnModel
from yggdrasil.blocks.adapter.lora_part import LoraPart
from yggdrasil.blocks.adapter.lora_settings import Fuse, LoraSettings, Scale
from yggdrasil.blocks.checks import check_count, check_finite
from yggdrasil.core.adapters import Patch
from yggdrasil.core.block import AbstractBaseBlock
from yggdrasil.core.errors import ConfigError, InputError, nearest
from yggdrasil.core.fingerprint import digest
from yggdrasil.core.registry import register_block
from yggdrasil.core.serials import serial_of

__all__ = ["LoraAdapter"]

_log = logging.getLogger(__name__)


@register_block("adapter/lora")
class LoraAdapter(LoraSettings, FactorStore):
    """LoRA: adds a product of two narrow matrices to weights, times a scale.

    ``scale``, ``weights``, ``active``, ``enabled`` and what is said of fusing may be set between
    calls: ``graph.block("style").scale = 0.5``.

    Args:
        weights: A safetensors file, or a folder with one, in the layout of Diffusers, kohya or
            PEFT; where there is neither, the id of a model on the hub (``organisation/name``), or
            the address of a file there. Without it the LoRA is a fresh one, which does nothing
            until it is trained.
        scale: How much of it is added: a number, or by component a number or what Diffusers'
            ``set_adapters`` takes by block, such as
            ``{"unet": {"down": 1.0, "up": {"block_0": 0.5}}}``. At 0 it is as if not there.
        fuse: Whether it is added into the weights for a run, which then costs no more than without
            it; the weights of before are kept beside them. Or by component a factor of its scale
            there, such as ``{"unet": 0.5}``: it is added into the weights of these alone.
        targets: The nodes that it changes; the backbone and the text encoders unless given.
        rank: Of a fresh one: how narrow the matrices are.
        alpha: Of a fresh one: what it is scaled by, times the rank; the rank unless given.
        layers: Of a fresh one: the ends of the names of the layers that it changes, a list for the
            backbone or lists by component; what Diffusers' training scripts change unless given.
        init: Of a fresh one: how its first matrices are drawn, ``kaiming`` or ``gaussian``; the
            second are zero.
        seed: Of that draw.
        weight_name: The file in the folder or model; chosen if one alone can be meant.
        revision: Of a model on the hub: a branch, tag or commit.
        subfolder: The part of the folder or model that the file is in.
        active: Whether it acts, or on which components alone; else it is as if not there.
        enabled: Whether it may act at all: what ``disable_lora`` turns off, for all of a graph.
        fuse_order: Its place among those that are fused, which changes the last bits; where equal,
            the order of the nodes counts.
        fuse_alone: Whether LoRAs that are not fused do not act on the layers into which it is, as
            PEFT has it; else they act on top.
        safe_fusing: Whether it is refused where weights would become NaN or infinite by fusing it.

    Source:
        Hu et al. 2021 (arXiv:2106.09685), section 4.1; layers of the peft library, put in by
        Diffusers' loaders.
    """

    def __init__(
        self,
        weights: str | None = None,
        scale: Scale = 1.0,
        fuse: Fuse = False,  # noqa: FBT002 - configuration, given by name
        targets: Sequence[str] | None = None,
        rank: int = 4,
        alpha: float | None = None,
        layers: LayerNames = None,
        init: str = "kaiming",
        seed: int = 0,
        weight_name: str | None = None,
        revision: str | None = None,
        subfolder: str | None = None,
        active: bool | Sequence[str] = True,  # noqa: FBT001, FBT002 - configuration
        enabled: bool = True,  # noqa: FBT001, FBT002 - configuration
        fuse_order: int = 0,
        fuse_alone: bool = False,  # noqa: FBT001, FBT002 - configuration
        safe_fusing: bool = False,  # noqa: FBT001, FBT002 - configuration
    ) -> None:
        del weights, weight_name, revision, subfolder, targets  # these and others are read off
        del scale, fuse, active, enabled, fuse_order, fuse_alone, safe_fusing  # the configuration
        self._use_source()
        self._use_settings()
        check_count("rank", rank)
        check_count("seed", seed, least=0)
        check_finite("alpha", rank if alpha is None else alpha)
        self._use_factors(rank=rank, alpha=alpha, layers=layers, init=init, seed=seed)
        self._read_last: tuple[object, ...] = ()
        self._parts: dict[str, LoraPart] = {}
        self._fitting: dict[str, tuple[weakref.ref[nn.Module], LoraPart]] = {}
        self._layers = LayerCache()

    def components(self, among: Sequence[AbstractBaseBlock]) -> tuple[str, ...]:
        """Gives the components that it is for, whether it acts or not.

        Args:
            among: The blocks that it changes.
        """
        parts = self._read(among)
        here = [slot.folder for block in among for slot in block.slots().values()]
        return tuple(name for name in here if name in parts)

    def changeable(self, among: Sequence[AbstractBaseBlock]) -> tuple[str, ...]:
        """Gives the components here that LoRAs of its family may change.

        Args:
            among: The blocks that it changes.
        """
        here = {slot.folder for block in among for slot in block.slots().values()}
        return tuple(name for name in family_of(among)[0].components if name in here)

    def fused_unless_told(self, among: Sequence[AbstractBaseBlock]) -> tuple[str, ...]:
        """Gives those of its components into which Diffusers fuses such LoRAs unless told.

        Args:
            among: The blocks that it changes.
        """
        usual = family_of(among)[0].fused
        return tuple(name for name in self.components(among) if name in usual)

    def _let_go(self) -> None:
        self.forget_factors()
        super()._let_go()

    # -- what the engine asks --------------------------------------------------------------------

    def check(self, among: Sequence[AbstractBaseBlock]) -> None:
        """Refuses a file that is no LoRA, or fits no layer of models that are loaded.

        Args:
            among: The blocks that it changes.

        Raises:
            ModelError: The file is missing, damaged, of another form or for another model.
            ConfigError: No backbone that LoRAs are read for is among the blocks.
            InputError: A setting names a component that it does not change.
        """
        parts = self._read(among)
        for argument, name in self._names_of_components():
            if parts and name not in parts:
                whose = "given as tensors" if self.weights is None else repr(self.weights)
                raise InputError(
                    f"{argument} names {name!r}, which the LoRA {whose} does not change."
                    f"{nearest(name, parts)}"
                )
        for component, model in loaded_models(among):
            if component in parts:
                self._fit(component, model, among)

    def mark(self, block: AbstractBaseBlock, among: Sequence[AbstractBaseBlock]) -> bytes | None:
        """Gives file, scale and own weights, as far as they concern a block.

        Args:
            block: One of those that it may change.
            among: All of them.
        """
        told = [
            (name, self._scale_for(name), self._fusing(name))
            for name in self._changes(block, among)
        ]
        if not told:
            return None
        return digest(repr((self._stamp(), told, self.weights_version())).encode())

    @classmethod
    @contextlib.contextmanager
    def applied(cls, block: AbstractBaseBlock, patches: Sequence[Patch]) -> Iterator[None]:
        """Puts LoRAs on a block for as long as the context is open.

        Args:
            block: The block.
            patches: The LoRAs, in order.

        Raises:
            InputError: Its model carries adapters that somebody else put in.
            ModelError: One fits no layer, or is not fused because the sums would be no numbers.
        """
        with contextlib.ExitStack() as stack:
            for name, slot in block.slots().items():
                own = [
                    (patch.adapter, patch.among)
                    for patch in patches
                    if isinstance(patch.adapter, cls)
                    and slot.folder in patch.adapter._changes(block, patch.among)  # noqa: SLF001
                ]
                if own:
                    model = getattr(block, name)
                    loras = [each._on(slot.folder, model, among) for each, among in own]  # noqa: SLF001
                    stack.enter_context(own[0][0]._layers.put_on(model, loras))  # noqa: SLF001
            yield

    def grow(self, among: Sequence[AbstractBaseBlock]) -> None:
        """Makes its matrices parameters of its own, which training changes.

        Args:
            among: The blocks that it changes; their models are loaded.

        Raises:
            ConfigError: It is fused, or no layer is called as ``layers`` says.
        """
        if self.fuse:
            raise ConfigError(
                "A LoRA that is fused cannot be trained, since nothing tells its weights from "
                "those of the model: set fuse=False."
            )
        parts = self._read(among)
        family, _ = family_of(among)
        for component, model in loaded_models(among):
            if component in family.components and not self.factors_of(component):
                part = self._fit(component, model, among) if component in parts else None
                if part is not None or self._stamp() is None:
                    self.add_factors(component, model, part, family)
        self._read_last = ()

    def save_weights(self, folder: Path | str, among: Sequence[AbstractBaseBlock]) -> Path:
        """Writes it as Diffusers' ``save_lora_weights`` does; its ``load_lora_weights`` reads it.

        Args:
            folder: Made if it does not exist.
            among: The blocks that it changes.

        Returns:
            The file.

        Raises:
            ConfigError: It is fresh and was never trained.
        """
        parts = self._read(among)
        return self.write_factors(Path(folder), parts, self._held(), family_of(among)[0])

    def held_tensors(self) -> dict[str, Tensor]:
        """Gives the tensors that it read from its file, for digests; none before it ran."""
        return {k: v for part in self._parts.values() for k, v in part.state.items()}

    def save_files(self, folder: Path, among: Sequence[AbstractBaseBlock]) -> Mapping[str, Any]:
        """Saves the LoRA as a file; a fresh one that was never trained has none.

        Args:
            folder: Where.
            among: The blocks that it changes.
        """
        if not self._read(among):
            return {}
        elsewhere = dict.fromkeys(("weight_name", "revision", "subfolder"))
        return {**elsewhere, "weights": self.save_weights(folder, among).name}

    # -- inside ----------------------------------------------------------------------------------

    def _read(self, among: Sequence[AbstractBaseBlock]) -> dict[str, LoraPart]:
        """Gives its parts by component: read anew if the file is another one."""
        stamp = self._stamp()
        family, backbone = family_of(among)
        now = (stamp, serial_of(backbone), backbone.components_version, len(self.factors()))
        if self._read_last != now:
            held = self._held()
            parts = self.parts_of_factors(family) if held is None else read_parts(held, among)
            here = {slot.folder for block in among for slot in block.slots().values()}
            self._parts = {k: part for k, part in parts.items() if k in family.components}
            used = here.intersection(self._parts)
            _tell_left_over({k: part for k, part in parts.items() if k not in used})
            self._fitting.clear()
            self._layers.clear()
            self._read_last = now
        return self._parts

    def _fit(
        self, component: str, model: nn.Module, among: Sequence[AbstractBaseBlock]
    ) -> LoraPart:
        """Gives what of a part fits a model; looked at once."""
        part = self._read(among)[component]
        known = self._fitting.get(component)
        if known is None or known[0]() is not model:
            known = self._fitting[component] = (weakref.ref(model), part.fitting(model))
        return known[1]

    def _on(
        self, component: str, model: nn.Module, among: Sequence[AbstractBaseBlock]
    ) -> LoraOnModel:
        return LoraOnModel(
            part=self._fit(component, model, among),
            stamp=(serial_of(self), *self._read_last),
            scale=self._scale_for(component),
            fuse=self._fusing(component),
            factors=self.factors_of(component),
        )

    def _changes(self, block: AbstractBaseBlock, among: Sequence[AbstractBaseBlock]) -> list[str]:
        """Gives the components of a block that it changes."""
        parts = self._read(among)
        acting = [name for name in parts if self.acts_on(name) and self._scale_for(name) != 0]
        folders = [slot.folder for slot in block.slots().values()]
        return [name for name in folders if name in acting] if self.enabled else []


def loaded_models(among: Sequence[AbstractBaseBlock]) -> Iterator[tuple[str, nn.Module]]:
    """Gives the models of some blocks that are loaded, by component."""
    for block in among:
        for name, slot in block.slots().items():
            model = vars(block)["_modules"].get(name)
            if model is not None:
                yield slot.folder, model


def _tell_left_over(parts: Mapping[str, LoraPart]) -> None:
    for name, part in sorted(parts.items()):
        _log.warning(
            "%s also changes %r, which is not among what the adapter changes here: %s are left "
            "over.", part.source, name, shown(part.state),
        )  # fmt: skip
