"""The UNet of Stable Diffusion."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from yggdrasil.blocks.backbone.channels import (
    check_channels,
    reads_mask,
    reads_picture,
    unused_channels,
)
from yggdrasil.blocks.configuration import model_config
from yggdrasil.blocks.text_widths import check_states
from yggdrasil.core.component import Component
from yggdrasil.core.errors import InputError
from yggdrasil.core.kinds import Precision
from yggdrasil.core.ports import op
from yggdrasil.core.registry import register_block
from yggdrasil.core.residuals import summed
from yggdrasil.core.roles import AbstractBackbone
from yggdrasil.core.values import BackboneSpecValue, ConditioningValue

__all__ = ["UNet2DConditionBackbone"]

_CHANNELS = "channels"
_PARAMETERS = frozenset(inspect.signature(UNet2DConditionModel.forward).parameters)

_MISSING = "an inpainting UNet (9) wants `image` and `mask_image`, others want `channels`"
_RESIDUALS = frozenset({"down_block_additional_residuals", "mid_block_additional_residual"})


@register_block("backbone/unet2d_condition")
class UNet2DConditionBackbone(AbstractBackbone):
    """UNet with cross-attention to a conditioning.

    Tensors of the conditioning are given to the model's forward by their names; those that are no
    parameter of it (``text_embeds``, ``time_ids``, ``image_embeds``) go into ``added_cond_kwargs``.

    Source:
        Rombach et al. 2022 (arXiv:2112.10752), section 3.3; Diffusers' ``UNet2DConditionModel``.
    """

    unet = Component(UNet2DConditionModel)

    def describe_input(self) -> BackboneSpecValue:
        """Gives channels, trained size and the width of an embedded guidance scale."""
        config = model_config(self, "unet")
        size = config["sample_size"]
        return BackboneSpecValue(
            in_channels=config["in_channels"],
            # One number stands for a square.
            sample_size=(size, size) if isinstance(size, int) else size and (size[0], size[1]),
            guidance_embedding=config["time_cond_proj_dim"],
            text_width=_text_width(config["cross_attention_dim"]),
            widths=tuple(config["block_out_channels"]),
            reads_mask=reads_mask(config),
            reads_picture=reads_picture(config),
        )

    @op
    def precision(self) -> Precision:
        """Gives the dtype that the UNet computes in."""
        dtype: torch.dtype = self.unet.dtype
        return dtype

    def evaluate(
        self,
        sample: Tensor,
        timestep: Tensor,
        conditioning: ConditioningValue,
        residuals: tuple[Any, ...],
        model_arguments: dict[str, Any],
    ) -> Tensor:
        """Runs the UNet once.

        Args:
            sample: ``b c h w``, further channels included.
            timestep: Scalar or ``b``.
            conditioning: With ``encoder_hidden_states``, ``b tokens width``; and ``channels``,
                ``b c h w``, joined to the sample, where branches read different ones.
            residuals: Of ControlNets, added up.
            model_arguments: Such as ``cross_attention_kwargs``.

        Returns:
            The prediction, ``b c h w``.

        Raises:
            InputError: Residuals are for another kind of model, or the sample
                has not the channels that the UNet reads.
        """
        unet = self.unet
        named: Mapping[str, Any] = conditioning.tensors
        if _CHANNELS in named:
            sample = torch.cat([sample, named[_CHANNELS]], dim=1)
        # Most are named by its parameters and nothing else is given: then there is nothing to do.
        if residuals or model_arguments or conditioning.shared or not _PARAMETERS.issuperset(named):
            named = _arguments(conditioning, residuals, model_arguments)
        try:
            prediction: Tensor = unet(sample, timestep, return_dict=False, **named)[0]
        except RuntimeError:
            # Looked at when it failed: at every step, reading the configuration takes its time.
            check_channels("UNet", sample.size(1), unet.config.in_channels, _MISSING)
            raise
        return prediction

    def check_conditioning(self, conditioning: ConditioningValue) -> None:
        """Refuses states of a text encoder of another family, and a lack of sizes.

        Args:
            conditioning: Of a branch.

        Raises:
            InputError: The widths differ, or the UNet reads sizes that nothing gives.
        """
        config, tensors = self.unet.config, conditioning.tensors
        wanted = _text_width(config.cross_attention_dim)
        states = tensors.get("encoder_hidden_states")
        if states is not None and wanted is not None and config.get("encoder_hid_dim") is None:
            check_states("UNet", wanted, states.shape[-1])
        if config.get("addition_embed_type") == "text_time" and "text_embeds" not in tensors:
            raise InputError(
                "The UNet reads pooled text states and sizes beside the text, as those of Stable "
                "Diffusion XL do, and nothing in this graph gives them: take a graph of its "
                "family, as from_template('sdxl') makes it."
            )

    def unused_inputs(self, op: str, known: Mapping[str, Any]) -> frozenset[str]:
        """Says that further channels are not read by a UNet that reads latents alone.

        Args:
            op: The op that will be run.
            known: Values of its inputs that are known.
        """
        del known
        return unused_channels(op, model_config(self, "unet"))


def _arguments(
    conditioning: ConditioningValue,
    residuals: tuple[Any, ...],
    model_arguments: Mapping[str, Any],
) -> Mapping[str, Any]:
    """Gives the arguments of the model's forward, with what has no parameter of its own there."""
    tensors = {name: each for name, each in conditioning.tensors.items() if name != _CHANNELS}
    added = {name: each for name, each in tensors.items() if name not in _PARAMETERS}
    named: dict[str, Any] = {name: tensors[name] for name in tensors if name not in added}
    named |= {**conditioning.shared, **summed(residuals, _RESIDUALS), **model_arguments}
    if added:
        named["added_cond_kwargs"] = {**added, **(named.get("added_cond_kwargs") or {})}
    return named


def _text_width(width: int | list[int] | tuple[int, ...]) -> int | None:
    """Gives the width of the text states; None where blocks read several."""
    return width if isinstance(width, int) else None
