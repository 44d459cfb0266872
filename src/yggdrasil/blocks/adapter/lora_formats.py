"""From a LoRA's file to what Diffusers loads: its converters, chosen by the backbone's class."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from diffusers.loaders import (
    FluxLoraLoaderMixin,
    SD3LoraLoaderMixin,
    StableDiffusionXLLoraLoaderMixin,
)
from diffusers.utils import (
    convert_state_dict_to_diffusers,
    convert_state_dict_to_peft,
    convert_unet_state_dict_to_peft,
)
from peft import LoraConfig
from torch import Tensor

from yggdrasil.blocks.adapter.lora_file import looks_like, read_shapes
from yggdrasil.blocks.configuration import with_defaults
from yggdrasil.core.block import AbstractBaseBlock
from yggdrasil.core.errors import ConfigError, ModelError

__all__ = ["Family", "LoraPart", "family_of", "read_parts"]

_PEFT = "base_model.model."


@dataclass(frozen=True, slots=True)
class Family:
    """How the LoRAs of a family are read.

    Attributes:
        backbone: The class of the network.
        folder: The component that it is.
        loader: Diffusers' loader, whose converters are used.
        layers: What training changes unless told, by the ends of the layers' names.
    """

    backbone: str
    folder: str
    loader: Any
    layers: tuple[str, ...]

    @property
    def components(self) -> tuple[str, ...]:
        """The components that such LoRAs may change."""
        return tuple(self.loader._lora_loadable_modules)  # noqa: SLF001 - nothing else says it


_ATTENTION = ("to_k", "to_q", "to_v", "to_out.0")
_JOINT = (*(f"attn.{each}" for each in _ATTENTION), "attn.add_k_proj", "attn.add_q_proj",
          "attn.add_v_proj", "attn.to_add_out")  # fmt: skip

FAMILIES: tuple[Family, ...] = (
    # The loader of SDXL reads what that of Stable Diffusion reads, and sgm's names besides.
    Family("UNet2DConditionModel", "unet", StableDiffusionXLLoraLoaderMixin, _ATTENTION),
    Family("SD3Transformer2DModel", "transformer", SD3LoraLoaderMixin, _JOINT),
    Family("FluxTransformer2DModel", "transformer", FluxLoraLoaderMixin, _JOINT),
)
"""The layers trained by default are those of Diffusers' training scripts (examples/dreambooth)."""


@dataclass(frozen=True)
class LoraPart:
    """What a LoRA changes in one component.

    Attributes:
        component: The component's folder, such as ``unet``.
        state: The factors, named as Diffusers' loaders take them, the component's name first.
        alphas: What the factors are scaled by, where the file says it apart.
        metadata: The configuration that the file was saved with, if it was.
    """

    component: str
    state: Mapping[str, Tensor]
    alphas: Mapping[str, Any] | None
    metadata: Mapping[str, Any] | None

    @cached_property
    def layers(self) -> Mapping[str, tuple[tuple[str, str], ...]]:
        """For each layer of the component: its factors' names, as PEFT has them and in ``state``."""
        found: dict[str, list[tuple[str, str]]] = {}
        for name, key in zip(self._as_peft(), self.state, strict=True):
            layer, _, rest = name.partition(".lora_")
            found.setdefault(layer, []).append((f"lora_{rest}", key))
        return {layer: tuple(names) for layer, names in found.items()}

    def _as_peft(self) -> list[str]:
        """Gives the factors' names as PEFT has them, in their order; the values are not looked at.

        Raises:
            ModelError: Diffusers' loader does not know the names.
        """
        bare = {key.removeprefix(f"{self.component}."): value for key, value in self.state.items()}
        if not self.component.startswith("text_encoder"):
            # Told as Diffusers tells it, by the first.
            return list(
                bare if "lora_A" in next(iter(bare)) else convert_unet_state_dict_to_peft(bare)
            )
        try:
            return list(convert_state_dict_to_peft(convert_state_dict_to_diffusers(bare)))
        except ValueError as error:
            raise ModelError(
                f"The LoRA names factors of {self.component!r} in a way that Diffusers does not "
                f"read, such as {next(iter(bare))}: {error}. Of kohya's layout it reads those that "
                "change out_proj too."
            ) from error

    def install(self, model: Any, options: Mapping[str, Any]) -> None:
        """Puts the layers into a model by Diffusers' loaders.

        Args:
            model: Of the component.
            options: As for ``load_lora_adapter``, without state and prefix.
        """
        if self.component.startswith("text_encoder"):
            StableDiffusionXLLoraLoaderMixin.load_lora_into_text_encoder(
                dict(self.state), text_encoder=model, prefix=self.component, lora_scale=1.0,
                **{"network_alphas": None, **options},
            )  # fmt: skip
        else:
            model.load_lora_adapter(dict(self.state), prefix=self.component, **options)

    def without(self, layers: Sequence[str]) -> LoraPart:
        """Gives the part without some layers."""
        gone = {key for layer in layers for _, key in self.layers[layer]}
        state = {key: value for key, value in self.state.items() if key not in gone}
        return dataclasses.replace(self, state=state)


def family_of(among: Sequence[AbstractBaseBlock]) -> tuple[Family, AbstractBaseBlock]:
    """Finds out which family's LoRAs fit some blocks.

    Args:
        among: The blocks that an adapter changes.

    Returns:
        The family, and the backbone among the blocks.

    Raises:
        ConfigError: There is no backbone among them, or none that LoRAs are read for.
    """
    classes = []
    for block in among:
        for slot in block.slots().values():
            names = [base.__name__ for base in slot.cls.__mro__]
            for family in FAMILIES:
                if family.folder == slot.folder and family.backbone in names:
                    return family, block
            classes.append(slot.cls.__name__)
    raise ConfigError(
        f"LoRAs are read for {', '.join(each.backbone for each in FAMILIES)}, and none of these is "
        f"among what the adapter changes: {', '.join(sorted(set(classes))) or 'nothing'}. Whether "
        "it changes text encoders alone is up to its file; name a backbone among its targets."
    )


def read_parts(path: Path, among: Sequence[AbstractBaseBlock]) -> dict[str, LoraPart]:
    """Reads a LoRA by Diffusers' converters.

    Args:
        path: A safetensors file of any layout that Diffusers reads, or that PEFT writes.
        among: The blocks that it changes; the backbone says which converters are used.

    Returns:
        What it changes, by component.

    Raises:
        ModelError: The converters do not know its layout.
    """
    family, backbone = family_of(among)
    shapes = read_shapes(path)
    if all(name.startswith(_PEFT) for name in shapes):
        return _of_peft(path, family)
    loader: Any = family.loader
    config = with_defaults(
        backbone.slots()[family.folder].cls, backbone.component_config(family.folder)
    )
    try:
        state, *alphas, metadata = loader.lora_state_dict(
            str(path.parent),
            weight_name=path.name,
            use_safetensors=True,
            local_files_only=True,
            return_lora_metadata=True,
            return_alphas=True,
            unet_config=SimpleNamespace(**config),
        )
    except (ValueError, KeyError, IndexError, AttributeError, TypeError, RuntimeError) as error:
        like = looks_like(shapes)
        raise ModelError(
            f"{path} is in no layout of LoRAs for {family.backbone}"
            f"{f'; it looks like a LoRA for {like}' if like else ''}: {str(error).strip()[:300]}"
        ) from error
    network_alphas = alphas[0] if alphas else None
    parts: dict[str, dict[str, Tensor]] = {}
    for key, value in state.items():
        parts.setdefault(key.partition(".")[0], {})[key] = value
    return {
        name: LoraPart(name, each, network_alphas or None, metadata or None)
        for name, each in parts.items()
    }


def _of_peft(path: Path, family: Family) -> dict[str, LoraPart]:
    """Reads what PEFT's ``save_pretrained`` wrote of a backbone, its configuration beside it."""
    from safetensors.torch import load_file

    state = {
        f"{family.folder}.{key.removeprefix(_PEFT)}": value
        for key, value in load_file(path).items()
    }
    beside = path.parent / "adapter_config.json"
    metadata = None
    if beside.is_file():
        known = {each.name for each in dataclasses.fields(LoraConfig)}
        told = json.loads(beside.read_text(encoding="utf-8"))
        metadata = {f"{family.folder}.{k}": v for k, v in told.items() if k in known}
    return {family.folder: LoraPart(family.folder, state, None, metadata)}
