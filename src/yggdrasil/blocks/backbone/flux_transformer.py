"""The transformer of FLUX.1."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from diffusers import FluxTransformer2DModel
from torch import Tensor

from yggdrasil.blocks.backbone.channels import (
    check_channels,
    reads_mask,
    reads_picture,
    unused_channels,
)
from yggdrasil.blocks.checks import check_count
from yggdrasil.blocks.configuration import model_config
from yggdrasil.core.component import Component
from yggdrasil.core.registry import register_block
from yggdrasil.core.residuals import summed
from yggdrasil.core.roles import AbstractBackbone
from yggdrasil.core.values import BackboneSpecValue, ConditioningValue

__all__ = ["FluxTransformerBackbone"]

_GUIDANCE_WIDTH = 256
_SCHEDULE = 1000
_MISSING = "FLUX Fill wants `image` and `mask_image`, FLUX Control wants `control_image`"
_CONTEXTS = {"positive": "cond", "negative": "uncond"}

_RESIDUALS = frozenset(
    {"controlnet_block_samples", "controlnet_single_block_samples", "controlnet_blocks_repeat"}
)


@register_block("backbone/flux_transformer")
class FluxTransformerBackbone(AbstractBackbone):
    """Transformer over text and picture together, which reads latents as tokens.

    A token is a square of 2 x 2 latent pixels: a layout packs them. The branches of a step are
    evaluated one after the other.

    Args:
        sample_size: Height and width it was trained at, in latent pixels; its configuration does
            not say.

    Source:
        Black Forest Labs 2024, FLUX.1; Diffusers' ``FluxTransformer2DModel``.

    Attributes:
        patch: Latent pixels to a token, along one axis.
    """

    joins_branches: bool = False
    channel_axis: ClassVar[int] = -1

    patch: ClassVar[int] = 2

    transformer = Component[Any](FluxTransformer2DModel)

    def __init__(self, sample_size: int = 128) -> None:
        check_count("sample_size", sample_size)
        self.sample_size = sample_size

    def describe_input(self) -> BackboneSpecValue:
        """Gives channels of latents that are not packed, size, and whether guidance is embedded."""
        config = model_config(self, "transformer")
        return BackboneSpecValue(
            in_channels=config["in_channels"] // self.patch**2,
            sample_size=(self.sample_size, self.sample_size),
            guidance_embedding=_GUIDANCE_WIDTH if config["guidance_embeds"] else None,
            patch=self.patch,
            text_width=config["joint_attention_dim"],
            widths=(config["num_attention_heads"] * config["attention_head_dim"],),
            reads_mask=reads_mask(config),
            reads_picture=reads_picture(config),
        )

    def evaluate(
        self,
        sample: Tensor,
        timestep: Tensor,
        conditioning: ConditioningValue,
        residuals: tuple[Any, ...],
        model_arguments: dict[str, Any],
    ) -> Tensor:
        """Runs the transformer once.

        Args:
            sample: ``b tokens c``, further channels included.
            timestep: Scalar or ``b``.
            conditioning: With ``encoder_hidden_states`` (``b tokens width``) and
                ``pooled_projections`` (``b width``) where it reads one; ``txt_ids`` and ``img_ids``
                (``tokens axes``) shared; ``reference`` (``b tokens c``) where it reads another
                picture too.
            residuals: Of ControlNets, added up.
            model_arguments: Such as ``joint_attention_kwargs``.

        Returns:
            The prediction, ``b tokens c``.

        Raises:
            InputError: Residuals are for another kind of model, or the sample
                has not the channels that the transformer reads.
        """
        transformer = self.transformer
        check_channels("transformer", sample.shape[-1], transformer.config.in_channels, _MISSING)
        named = dict(conditioning.tensors)
        reference = named.pop("reference", None)
        tokens = sample.shape[1]
        if reference is not None:
            # The codec may have a dtype of its own.
            sample = torch.cat([sample, reference.to(sample.dtype)], dim=1)
        shared = dict(conditioning.shared)
        if "txt_ids" in shared:  # which are as many as the longest text of all branches needs
            shared["txt_ids"] = shared["txt_ids"][: named["encoder_hidden_states"].shape[1]]
        share = timestep.expand(len(sample)).to(sample.dtype) / _SCHEDULE
        prediction: Tensor = transformer(
            hidden_states=sample,
            timestep=share,
            **{**named, **shared, **summed(residuals, _RESIDUALS), **model_arguments},
            return_dict=False,
        )[0]
        return prediction if reference is None else prediction[:, :tokens]

    def unused_inputs(self, op: str, known: Mapping[str, Any]) -> frozenset[str]:
        """Says that further channels are not read by a transformer that reads latents alone.

        Args:
            op: The op that will be run.
            known: Values of its inputs that are known.
        """
        del known
        return unused_channels(op, model_config(self, "transformer"))

    def cache_context(self, branch: str) -> contextlib.AbstractContextManager[None]:
        """Names the branch to the model's caching hooks as Diffusers' pipelines name it."""
        context: contextlib.AbstractContextManager[None] = self.transformer.cache_context(
            _CONTEXTS.get(branch, branch)
        )
        return context
