"""LoRAs put on a model, in order, for as long as something runs."""

from __future__ import annotations

import contextlib
import copy
import logging
import warnings
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn
from transformers.utils import logging as transformers_logging

from yggdrasil.blocks.adapter.fusions import Added, Fusing, Fusion
from yggdrasil.blocks.adapter.grafts import Graft, check_bare
from yggdrasil.blocks.adapter.lora_formats import LoraPart
from yggdrasil.core.adapters import changing

__all__ = ["LayerCache", "LoraOnModel"]

_log = logging.getLogger(__name__)

_KEPT = 4
"""Sets of layers that an adapter keeps: for its models, and other adapters beside it."""


@dataclass(frozen=True, slots=True)
class LoraOnModel:
    """One LoRA, as a model that it changes sees it.

    Attributes:
        part: What fits the model.
        stamp: What changes when the part does.
        scale: As Diffusers' ``set_adapters`` takes it.
        fuse: How it is added into the weights; None if it is not.
        factors: In place of the part's tensors, by layer and factor: parameters of the adapter's
            own, which training changes.
    """

    part: LoraPart
    stamp: object
    scale: Any
    fuse: Fusing | None
    factors: dict[tuple[str, str], nn.Parameter]


class LayerCache:
    """The layers that were made for models, for the next run with the same."""

    def __init__(self) -> None:
        self._kept: dict[tuple[Any, ...], Graft | Fusion] = {}
        self._told: weakref.WeakSet[Graft] = weakref.WeakSet()

    @contextlib.contextmanager
    def put_on(self, model: nn.Module, loras: Sequence[LoraOnModel]) -> Iterator[None]:
        """Puts LoRAs on a model for as long as the context is open.

        Args:
            model: The model.
            loras: What changes it, in order; those that are fused come first.

        Raises:
            InputError: It carries adapters that somebody else put in.
            ModelError: A weight would be NaN or infinite with one that is fused safely.
        """
        check_bare(model, loras[0].part.component)
        fused = sorted((each for each in loras if each.fuse), key=_place)
        others = [each for each in loras if not each.fuse]
        closed: frozenset[nn.Module] = frozenset()
        with contextlib.ExitStack() as stack:
            stack.enter_context(changing(model))
            if fused:
                fusion = self._fusion(model, fused)
                closed = fusion.closed
                stack.enter_context(fusion.on())
            if others:
                graft = self.graft(model, others)
                self._tell_closed(graft, closed, others)
                stack.enter_context(graft.on(_names(others), _scales(others), but=closed))
            yield

    def graft(self, model: nn.Module, loras: Sequence[LoraOnModel]) -> Graft:
        """Gives the layers of some LoRAs for a model: made now, or for an earlier run."""
        key = ("graft", id(model), *(each.stamp for each in loras))
        graft = self._kept.pop(key, None)
        if not isinstance(graft, Graft) or not graft.holds():
            graft = Graft(model, lambda bare: _install(bare, loras))
        self._keep(key, graft)
        return graft

    def clear(self) -> None:
        """Forgets the layers."""
        self._kept.clear()

    def _fusion(self, model: nn.Module, loras: Sequence[LoraOnModel]) -> Fusion:
        key = ("fusion", id(model), *((each.stamp, repr(each.scale), each.fuse) for each in loras))
        fusion = self._kept.pop(key, None)
        # Of whole weights only the last are kept: those of other scales are as large again.
        for other in [each for each in self._kept if each[:2] == key[:2]]:
            del self._kept[other]
        if not isinstance(fusion, Fusion) or not fusion.holds():
            graft = Graft(model, lambda bare: _install(bare, loras))
            fusion = Fusion(graft, _added(loras))
        self._keep(key, fusion)
        return fusion

    def _tell_closed(
        self, graft: Graft, closed: frozenset[nn.Module], loras: Sequence[LoraOnModel]
    ) -> None:
        """Warns once of layers on which LoRAs do not act because others are fused there alone."""
        if graft not in self._told and graft.touches(closed):
            self._told.add(graft)
            _log.warning(
                "LoRAs that are not fused (%s) do not act on those layers of %r into which "
                "fuse_lora has another fused, as in Diffusers: fuse them too, or set "
                "fuse_alone=False of the other's block.",
                ", ".join(each.part.source for each in loras), loras[0].part.component,
            )  # fmt: skip

    def _keep(self, key: tuple[Any, ...], made: Graft | Fusion) -> None:
        self._kept[key] = made
        while len(self._kept) > _KEPT:
            del self._kept[next(iter(self._kept))]


def _names(loras: Sequence[LoraOnModel]) -> list[str]:
    return [f"adapter_{number}" for number, _ in enumerate(loras)]


def _scales(loras: Sequence[LoraOnModel]) -> list[Any]:
    return [copy.deepcopy(each.scale) for each in loras]


def _added(loras: Sequence[LoraOnModel]) -> list[Added]:
    both = zip(_names(loras), loras, _scales(loras), strict=True)
    return [
        Added(name, scale, lora.fuse, lora.part.source) for name, lora, scale in both if lora.fuse
    ]


def _place(lora: LoraOnModel) -> int:
    return lora.fuse.order if lora.fuse else 0


def _install(model: nn.Module, loras: Sequence[LoraOnModel]) -> None:
    """Puts LoRAs into a model as Diffusers' ``load_lora_weights`` does."""
    for name, lora in zip(_names(loras), loras, strict=True):
        with _quietly():
            lora.part.install(model, name)
        for (layer, factor), parameter in lora.factors.items():
            held: Any = getattr(model.get_submodule(layer), factor)
            held[name].weight = parameter


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Keeps back what the libraries say of a second adapter, and the bar for a dozen tensors."""
    bar = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Already found a `peft_config`")
            yield
    finally:
        if bar:
            transformers_logging.enable_progress_bar()
