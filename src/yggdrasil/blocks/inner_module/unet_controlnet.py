"""What ControlNets of UNets have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from yggdrasil.blocks.configuration import model_config
from yggdrasil.blocks.inner_module.bases import check_text_width, check_widths
from yggdrasil.core.residuals import ResidualsValue
from yggdrasil.core.roles import AbstractInnerModule
from yggdrasil.core.values import BackboneSpecValue

__all__ = ["UNetControlNet", "unet_residuals"]


class UNetControlNet(AbstractInnerModule):
    """A module that adds to the skips and to the middle of a UNet.

    Those of Stable Diffusion and of XL derive from it; each has a slot for its model.
    """

    @property
    @abstractmethod
    def controlnet(self) -> Any:
        """The model, as its slot gives it."""

    def always_guesses(self) -> bool:
        """Says so of one that gives averages over the picture (Shuffle)."""
        return bool(self.controlnet.config.global_pool_conditions)

    def check_backbone(self, backbone: BackboneSpecValue) -> None:
        """Refuses a UNet of another text width or of other channels.

        Args:
            backbone: What it says of itself.

        Raises:
            InputError: They differ.
        """
        config = model_config(self, "controlnet")
        check_text_width("ControlNet", config["cross_attention_dim"], backbone)
        check_widths("ControlNet", tuple(config["block_out_channels"]), backbone)


def unet_residuals(down: Sequence[Tensor], mid: Tensor) -> ResidualsValue:
    """Names what is added, as Diffusers' ``UNet2DConditionModel`` takes it.

    Args:
        down: For each skip, ``b c h w``.
        mid: For the middle, ``b c h w``.
    """
    return ResidualsValue(
        tensors={
            "down_block_additional_residuals": tuple(down),
            "mid_block_additional_residual": mid,
        }
    )
