"""ControlNets in miniature, for the tiny models of each family, with random weights.

The convolutions that real ones begin with at zero are random too: zeros would hide everything.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Collection
from typing import Any

from diffusers import (
    ControlNetModel,
    ControlNetUnionModel,
    FluxControlNetModel,
    SD3ControlNetModel,
)

from tests.tiny_models import randomize

_EMBEDDING = (8, 8, 16, 16)


def tiny_controlnet(unet: Any, seed: int = 1, **config: Any) -> ControlNetModel:
    """Makes a ControlNet for a UNet of Stable Diffusion or of its XL.

    Args:
        unet: Whose sizes it has.
        seed: Of the weights.
        config: In the place of the UNet's.
    """
    return _like(
        ControlNetModel, unet, seed, conditioning_embedding_out_channels=_EMBEDDING, in_channels=4,
        **config,
    )  # fmt: skip


def tiny_union(unet: Any, seed: int = 1) -> ControlNetUnionModel:
    """Makes a ControlNet for six kinds of pictures; arguments as for ``tiny_controlnet``."""
    return _like(
        ControlNetUnionModel, unet, seed, conditioning_embedding_out_channels=_EMBEDDING,
        num_control_type=6, num_trans_channel=16, num_trans_head=2, num_trans_layer=1,
        num_proj_channel=16,
    )  # fmt: skip


def tiny_sd3_controlnet(transformer: Any, seed: int = 1, **config: Any) -> SD3ControlNetModel:
    """Makes a ControlNet for Stable Diffusion 3; arguments as for ``tiny_controlnet``."""
    changes = {"num_layers": 2, "dual_attention_layers": (), **config}
    return _like(SD3ControlNetModel, transformer, seed, **changes)


def tiny_flux_controlnet(transformer: Any, seed: int = 1, **config: Any) -> FluxControlNetModel:
    """Makes a ControlNet for FLUX.1; arguments as for ``tiny_controlnet``."""
    changes = {"num_layers": 1, "num_single_layers": 1, "patch_size": 2, **config}
    return _like(FluxControlNetModel, transformer, seed, **changes)


def with_controlnet(pipe: Any, cls: type, controlnet: Any, **settings: Any) -> Any:
    """Makes a pipeline of another class on a pipeline's components.

    Args:
        pipe: Whose components are shared.
        cls: The class.
        controlnet: One, or a list.
        settings: Of the whole pipeline.
    """
    takes = inspect.signature(cls).parameters
    parts = {name: part for name, part in pipe.components.items() if name in takes}
    made = cls(**parts, controlnet=controlnet, **settings)
    made.set_progress_bar_config(disable=True)
    return made


def _like(cls: type, model: Any, seed: int, **config: Any) -> Any:
    takes = inspect.signature(cls).parameters
    # Diffusers' FLUX ControlNet makes a part in a way that Diffusers warns of.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return randomize(_made(cls, takes, model, config), seed)


def _made(cls: type, takes: Collection[str], model: Any, config: dict[str, Any]) -> Any:
    own = {name: value for name, value in dict(model.config).items() if name in takes}
    return cls(**{**own, **config})
