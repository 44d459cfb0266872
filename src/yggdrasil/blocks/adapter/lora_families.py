"""The families whose LoRAs are read: which of Diffusers' loaders reads them."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from diffusers.loaders import (
    Flux2LoraLoaderMixin,
    FluxLoraLoaderMixin,
    SD3LoraLoaderMixin,
    StableDiffusionXLLoraLoaderMixin,
)

from yggdrasil.core.block import AbstractBaseBlock
from yggdrasil.core.errors import ConfigError

__all__ = ["FAMILIES", "Family", "family_of"]


@dataclass(frozen=True, slots=True)
class Family:
    """How the LoRAs of a family are read.

    Attributes:
        backbone: The class of the network.
        folder: The component that it is.
        loader: Diffusers' loader, whose converters are used.
        layers: What training changes unless told, by the ends of the layers' names.
        pads: Whether factors for fewer channels than a layer reads are filled up with zeros, as
            for networks that read another picture beside the latents.
        leaves_out: Parts of names of tensors that the loader reads over.
    """

    backbone: str
    folder: str
    loader: Any
    layers: tuple[str, ...]
    pads: bool = False
    leaves_out: tuple[str, ...] = ()

    @property
    def components(self) -> tuple[str, ...]:
        """The components that such LoRAs may change."""
        return tuple(self.loader._lora_loadable_modules)  # noqa: SLF001 - nothing else says it

    @property
    def fused(self) -> tuple[str, ...]:
        """The components into which ``fuse_lora`` fuses such LoRAs unless told, as in Diffusers."""
        default = inspect.signature(self.loader.fuse_lora).parameters["components"].default
        return tuple(default)


_ATTENTION = ("to_k", "to_q", "to_v", "to_out.0")
_JOINT = (
    *(f"attn.{each}" for each in _ATTENTION),
    "attn.add_k_proj",
    "attn.add_q_proj",
    "attn.add_v_proj",
    "attn.to_add_out",
)

FAMILIES: tuple[Family, ...] = (
    # The loader of SDXL reads what that of Stable Diffusion reads, and sgm's names besides.
    Family("UNet2DConditionModel", "unet", StableDiffusionXLLoraLoaderMixin, _ATTENTION),
    Family("SD3Transformer2DModel", "transformer", SD3LoraLoaderMixin, _JOINT),
    Family(
        "FluxTransformer2DModel",
        "transformer",
        FluxLoraLoaderMixin,
        _JOINT,
        pads=True,
        leaves_out=(".diff", "text_encoders.t5xxl."),
    ),
    Family("Flux2Transformer2DModel", "transformer", Flux2LoraLoaderMixin, _ATTENTION),
)
"""The layers trained by default are those of Diffusers' training scripts (examples/dreambooth)."""


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
        f"among what the adapter changes: {', '.join(sorted(set(classes))) or 'nothing'}. If it "
        "is to change text encoders, name the backbone among its targets too: it says how the "
        "file is read."
    )
