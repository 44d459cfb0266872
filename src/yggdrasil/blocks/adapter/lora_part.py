"""What a LoRA changes in one component, and whether it fits the model there."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from diffusers.utils import (
    convert_state_dict_to_diffusers,
    convert_state_dict_to_peft,
    convert_unet_state_dict_to_peft,
)
from torch import Tensor, nn

from yggdrasil.blocks.adapter.lora_families import Family
from yggdrasil.blocks.adapter.lora_file import shown
from yggdrasil.core.errors import ModelError

__all__ = ["LoraPart"]

_log = logging.getLogger(__name__)

_TEXT = "text_encoder"

_REFUSALS = (KeyError, NotImplementedError, RuntimeError, TypeError, ValueError)
"""What Diffusers and PEFT raise at factors and configurations that they cannot use."""


@dataclass(frozen=True)
class LoraPart:
    """What a LoRA changes in one component.

    Attributes:
        component: The component's folder, such as ``unet``.
        state: The factors, named as Diffusers' loaders take them, the component's name first.
        alphas: What the factors are scaled by, where the file says it apart.
        metadata: The configuration that the file was saved with, if it was.
        source: The file, for messages.
        like: The family that it looks like, for messages.
        family: Whose loader reads it.
    """

    component: str
    state: Mapping[str, Tensor]
    alphas: Mapping[str, Any] | None
    metadata: Mapping[str, Any] | None
    source: str
    like: str
    family: Family

    @cached_property
    def layers(self) -> Mapping[str, Mapping[str, str]]:
        """For each layer, as PEFT names it: its factors' names there, and in ``state``."""
        found: dict[str, dict[str, str]] = {}
        for name, key in zip(self._as_peft(), self.state, strict=True):
            layer, _, rest = name.partition(".lora_")
            found.setdefault(layer, {})[f"lora_{rest}"] = key
        return found

    def _as_peft(self) -> list[str]:
        """Gives the factors' names as PEFT has them, in their order.

        Raises:
            ModelError: Diffusers' loader does not know the names.
        """
        bare = {key.removeprefix(f"{self.component}."): value for key, value in self.state.items()}
        if not self.component.startswith(_TEXT):
            # Told as Diffusers tells it, by the first.
            told = "lora_A" in next(iter(bare))
            return list(bare if told else convert_unet_state_dict_to_peft(bare))
        try:
            return list(convert_state_dict_to_peft(convert_state_dict_to_diffusers(bare)))
        except ValueError as error:
            raise ModelError(
                f"{self.source} names factors of {self.component!r} in a way that Diffusers does "
                f"not read, such as {next(iter(bare))}: {error}. Of kohya's layout it reads those "
                "that change out_proj too."
            ) from error

    def install(self, model: Any, name: str) -> None:
        """Puts the layers into a model by Diffusers' loaders.

        Args:
            model: Of the component.
            name: What the adapter is called there.

        Raises:
            ModelError: PEFT cannot make such layers.
        """
        try:
            self._install(model, name)
        except _REFUSALS as error:
            told = ", ".join(sorted(self.metadata or {}))
            raise ModelError(
                f"{self.source} cannot be put on {self.component!r} ({type(model).__name__}): "
                f"{type(error).__name__}: {str(error.__cause__ or error).strip()[:300]}. "
                + (f"Its own configuration says {told}: " if told else "")
                + "save it anew with the PEFT that is installed here, or use another LoRA."
            ) from error

    def _install(self, model: Any, name: str) -> None:
        state: dict[str, Tensor] = dict(self.state)
        options = {
            "network_alphas": None if self.alphas is None else dict(self.alphas),
            "metadata": None if self.metadata is None else dict(self.metadata),
            "adapter_name": name,
            "low_cpu_mem_usage": True,
        }
        loader = self.family.loader
        if self.component.startswith(_TEXT):
            loader.load_lora_into_text_encoder(
                state, text_encoder=model, prefix=self.component, lora_scale=1.0, **options
            )
            return
        if self.family.pads:
            state = loader._maybe_expand_lora_state_dict(model, state)  # noqa: SLF001 - as it does
        model.load_lora_adapter(state, prefix=self.component, **options)

    def fitting(self, model: nn.Module) -> LoraPart:
        """Gives what fits a model; what fits no layer is left out, with a warning.

        Args:
            model: The model, without adapters.

        Raises:
            ModelError: It fits no layer, or layers of the same names have other sizes.
        """
        held = dict(model.named_modules())
        flat = self.component.startswith(_TEXT) and not hasattr(model, "text_model")
        # Newer transformers have one level less in CLIP.
        names = {each: each.removeprefix("text_model.") if flat else each for each in self.layers}
        missing = [each for each, name in names.items() if name not in held]
        wrong = [
            each
            for each, name in names.items()
            if name in held and not self._fits(each, held[name])
        ]
        seems = f" It looks like a LoRA for {self.like}." if self.like else ""
        what = f"{self.component} ({type(model).__name__})"
        if len(missing) == len(self.layers):
            raise ModelError(
                f"{self.source} fits no layer of {what}: {shown(missing)} are not there.{seems} "
                "Use a LoRA made for this model, or the model that it was made for."
            )
        if wrong:
            raise ModelError(
                f"{self.source} was made for another model than {what}: "
                f"{self._sizes(wrong[0], held[names[wrong[0]]])}; {len(wrong)} of "
                f"{len(self.layers)} layers have other sizes.{seems} Use a LoRA made for this "
                "model."
            )
        if missing:
            _log.warning(
                "%s names %d layers, of %d, that %s has not, and which are left over: %s.%s",
                self.source, len(missing), len(self.layers), what, shown(missing), seems,
            )  # fmt: skip
            return self._without(missing)
        return self

    def _without(self, layers: Sequence[str]) -> LoraPart:
        gone = {key for layer in layers for key in self.layers[layer].values()}
        state = {key: value for key, value in self.state.items() if key not in gone}
        return dataclasses.replace(self, state=state)

    def _fits(self, layer: str, module: nn.Module) -> bool:
        """Says whether a layer reads and gives what the factors read and give."""
        wide = _wide(module)
        reads, gives = self._wide(layer)
        if wide is None or None in (reads, gives):
            return False
        return gives == wide[1] and (reads == wide[0] or (self.family.pads and reads < wide[0]))  # type: ignore[operator] # none is None

    def _wide(self, layer: str) -> tuple[int | None, int | None]:
        factors = self.layers[layer]
        first, last = factors.get("lora_A.weight"), factors.get("lora_B.weight")
        return (
            None if first is None else self.state[first].shape[1],
            None if last is None else self.state[last].shape[0],
        )

    def _sizes(self, layer: str, module: nn.Module) -> str:
        reads, gives = self._wide(layer)
        there = _wide(module)
        if there is None or None in (reads, gives):
            return f"{layer} is no layer there that two factors could change"
        return f"{layer} turns {there[0]} channels into {there[1]} there, {reads} into {gives} here"


def _wide(module: nn.Module) -> tuple[int, int] | None:
    """Gives how many channels a layer reads and gives."""
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor) or weight.ndim < 2:
        return None
    return weight.shape[1], weight.shape[0]
