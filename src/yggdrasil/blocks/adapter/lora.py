"""LoRA: low-rank changes to the weights of a backbone and its text encoders."""

from __future__ import annotations

import contextlib
import copy
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn
from transformers.utils import logging as transformers_logging

from yggdrasil.blocks.adapter.grafts import Graft, check_bare
from yggdrasil.blocks.adapter.lora_file import (
    FileStamp,
    check_form,
    find_file,
    looks_like,
    read_shapes,
    shown,
    stamp_of,
)
from yggdrasil.blocks.adapter.lora_fit import fitting
from yggdrasil.blocks.adapter.lora_formats import LoraPart, family_of, read_parts
from yggdrasil.blocks.checks import check_finite
from yggdrasil.core.adapters import AbstractAdapter, Patch
from yggdrasil.core.block import AbstractBaseBlock
from yggdrasil.core.errors import ConfigError, InputError, ModelError, nearest
from yggdrasil.core.fingerprint import digest
from yggdrasil.core.registry import register_block

__all__ = ["LoraAdapter"]

_log = logging.getLogger(__name__)

_GRAFTS_KEPT = 4
"""For combinations of adapters on a model that were used last."""

Scale = float | Mapping[str, Any]


@register_block("adapter/lora")
class LoraAdapter(AbstractAdapter):
    """LoRA: adds a product of two narrow matrices to weights, times a scale.

    ``scale`` and ``weights`` may be set between calls: ``graph.block("style").scale = 0.5``.

    Args:
        weights: A safetensors file, or a folder with one, in the layout of Diffusers, kohya or
            PEFT.
        scale: How much of it is added: a number, or by component a number or what Diffusers'
            ``set_adapters`` takes by block, such as
            ``{"unet": {"down": 1.0, "up": {"block_0": 0.5}}}``.
        targets: The nodes that it changes; the backbone and the text encoders unless given.

    Source:
        Hu et al. 2021 (arXiv:2106.09685), section 4.1; layers of the peft library, put in by
        Diffusers' loaders.
    """

    def __init__(
        self,
        weights: str | None = None,
        scale: Scale = 1.0,
        targets: Sequence[str] | None = None,
    ) -> None:
        _check_scale("scale", scale)
        if weights is None:
            raise ConfigError("adapter/lora has no weights: give weights='style.safetensors'.")
        del targets  # read off the configuration
        self._parts: tuple[FileStamp, int, dict[str, LoraPart]] | None = None
        self._grafts: dict[tuple[Any, ...], Graft] = {}

    @property
    def scale(self) -> Scale:
        """How much of it is added."""
        value: Scale = self.config["scale"]
        return value

    @scale.setter
    def scale(self, value: Scale) -> None:
        _check_scale("scale", value)
        self._set("scale", copy.deepcopy(value))

    @property
    def weights(self) -> str | None:
        """Where it is loaded from."""
        value: str | None = self.config["weights"]
        return value

    @weights.setter
    def weights(self, value: str) -> None:
        self._set("weights", str(value))

    def _set(self, name: str, value: Any) -> None:
        self._config[name] = value
        self.components_version += 1  # what was derived from the configuration is derived anew

    # -- what the engine asks --------------------------------------------------------------------

    def check(self, among: Sequence[AbstractBaseBlock]) -> None:
        """Refuses a file that is no LoRA, or fits no layer of models that are loaded.

        Args:
            among: The blocks that it changes.

        Raises:
            ModelError: The file is missing, damaged, of another form or for another model.
            ConfigError: No backbone that LoRAs are read for is among the blocks.
            InputError: A scale names a component that it does not change.
        """
        parts = self._read(among)
        if isinstance(self.scale, Mapping):
            for name in self.scale:
                if name not in parts:
                    raise InputError(
                        f"scale names {name!r}, which the LoRA {self.weights!r} does not change."
                        f"{nearest(name, parts)}"
                    )
        models = dict(_models(among))
        for component, model in models.items():
            if model is not None and component in parts:
                self._fitting(parts[component], model)

    def mark(self, block: AbstractBaseBlock, among: Sequence[AbstractBaseBlock]) -> bytes | None:
        """Gives file and scale, as far as they concern a block.

        Args:
            block: One of those that it may change.
            among: All of them.
        """
        parts = self._read(among)
        concerned = [slot.folder for slot in block.slots().values() if slot.folder in parts]
        if not concerned:
            return None
        told = [(name, self._scale_for(name)) for name in concerned]
        return digest(repr((self._stamp(), told)).encode())

    @classmethod
    @contextlib.contextmanager
    def applied(cls, block: AbstractBaseBlock, patches: Sequence[Patch]) -> Iterator[None]:
        """Puts LoRAs on a block for as long as the context is open.

        Args:
            block: The block.
            patches: The LoRAs, in order.

        Raises:
            InputError: Its model carries adapters that somebody else put in.
            ModelError: One fits no layer.
        """
        with contextlib.ExitStack() as stack:
            for name, slot in block.slots().items():
                own = [
                    (patch.adapter, part)
                    for patch in patches
                    if isinstance(patch.adapter, cls)
                    and (part := patch.adapter._read(patch.among).get(slot.folder)) is not None
                ]
                model = getattr(block, name) if own else None
                if isinstance(model, nn.Module):
                    stack.enter_context(_put_on(model, slot.folder, own))
            yield

    # -- inside ----------------------------------------------------------------------------------

    def _stamp(self) -> FileStamp:
        return stamp_of(find_file(self.config["weights"]))

    def _read(self, among: Sequence[AbstractBaseBlock]) -> dict[str, LoraPart]:
        """Reads the file, or gives what was read before if it is the same."""
        stamp = self._stamp()
        family, backbone = family_of(among)
        known = self._parts
        if known is not None and known[:2] == (stamp, id(backbone)):
            return known[2]
        path = Path(stamp.path)
        shapes = read_shapes(path)
        check_form(path, shapes)
        parts = read_parts(path, among)
        usable = {name: part for name, part in parts.items() if name in family.components}
        if not usable:
            like = looks_like(shapes)
            raise ModelError(
                f"{path} changes nothing here: its names are {shown(shapes)}"
                f"{f', which look like those of a LoRA for {like}' if like else ''}, and this "
                f"model has {', '.join(family.components)}."
            )
        self._warn_of_left_over(path, parts, among)
        self._parts = (stamp, id(backbone), usable)
        self._grafts.clear()
        return usable

    def _warn_of_left_over(
        self, path: Path, parts: Mapping[str, LoraPart], among: Sequence[AbstractBaseBlock]
    ) -> None:
        here = {slot.folder for block in among for slot in block.slots().values()}
        for name in sorted(set(parts) - here):
            _log.warning(
                "%s also changes %r, which is not among what the adapter changes here: %s are "
                "left over.", path, name, shown(parts[name].state),
            )  # fmt: skip

    def _fitting(self, part: LoraPart, model: nn.Module) -> LoraPart:
        return fitting(part, model, str(self.weights), read_shapes(Path(self._stamp().path)))

    def _scale_for(self, component: str) -> Any:
        """Gives the scale for a component, as Diffusers' ``set_adapters`` takes it."""
        scale = self.scale
        return scale.get(component, 1.0) if isinstance(scale, Mapping) else scale


def _models(among: Sequence[AbstractBaseBlock]) -> Iterator[tuple[str, nn.Module | None]]:
    """Gives the models of some blocks by component, as far as they are loaded."""
    for block in among:
        for name, slot in block.slots().items():
            yield slot.folder, vars(block)["_modules"].get(name)


Own = Sequence[tuple["LoraAdapter", LoraPart]]


@contextlib.contextmanager
def _put_on(model: nn.Module, component: str, own: Own) -> Iterator[None]:
    """Puts LoRAs on one model, in order, for as long as the context is open."""
    check_bare(model, component)
    graft = _graft_of(model, component, own)
    names = [f"adapter_{number}" for number, _ in enumerate(own)]
    scales = [copy.deepcopy(adapter._scale_for(component)) for adapter, _ in own]  # noqa: SLF001
    with graft.on(names, scales):
        yield


def _graft_of(model: nn.Module, component: str, own: Own) -> Graft:
    """Gives the layers of some LoRAs for a model: made now, or for an earlier run."""
    first = own[0][0]
    key = (id(model), component, *((id(adapter), adapter._stamp()) for adapter, _ in own))  # noqa: SLF001
    kept = first._grafts  # noqa: SLF001 - of its own class
    graft = kept.pop(key, None)
    if graft is None or not graft.holds():
        graft = Graft(model, lambda bare: _install(bare, component, own))
    kept[key] = graft
    while len(kept) > _GRAFTS_KEPT:
        del kept[next(iter(kept))]
    return graft


def _install(model: Any, component: str, own: Own) -> None:
    """Puts LoRAs into a model as Diffusers' ``load_lora_weights`` does."""
    for number, (adapter, whole) in enumerate(own):
        part = adapter._fitting(whole, model)  # noqa: SLF001 - of its own class
        given = {
            "network_alphas": part.alphas,
            "adapter_name": f"adapter_{number}",
            "metadata": part.metadata,
            "low_cpu_mem_usage": True,
        }
        with _quietly():
            part.install(model, given)


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


def _check_scale(name: str, value: object) -> None:
    """Refuses what is no scale, at any depth."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            _check_scale(f"{name}[{key!r}]", each)
    elif isinstance(value, list | tuple):
        for number, each in enumerate(value):
            _check_scale(f"{name}[{number}]", each)
    else:
        check_finite(name, value)
