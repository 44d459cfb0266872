"""The transformer of Stable Diffusion 3."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diffusers import SD3Transformer2DModel
from torch import Tensor

from yggdrasil.blocks.backbone.channels import (
    check_channels,
    reads_mask,
    reads_picture,
    unused_channels,
)
from yggdrasil.blocks.backbone.kinds import PatchEmbedder
from yggdrasil.blocks.configuration import model_config
from yggdrasil.core.component import Component
from yggdrasil.core.errors import InputError
from yggdrasil.core.ports import op
from yggdrasil.core.registry import register_block
from yggdrasil.core.residuals import summed
from yggdrasil.core.roles import AbstractBackbone
from yggdrasil.core.values import BackboneSpecValue, ConditioningValue

__all__ = ["SD3TransformerBackbone"]

_MISSING = "an inpainting one (33) wants `image` and `mask_image`"
_RESIDUALS = frozenset({"block_controlnet_hidden_states"})


@register_block("backbone/sd3_transformer")
class SD3TransformerBackbone(AbstractBackbone):
    """Transformer that attends to text and picture together, each with weights of its own.

    Source:
        Esser et al. 2024 (arXiv:2403.03206), section 4; Diffusers' ``SD3Transformer2DModel``.
    """

    transformer = Component(SD3Transformer2DModel)

    def describe_input(self) -> BackboneSpecValue:
        """Gives channels, sizes, the text's width and the number of layers."""
        config = model_config(self, "transformer")
        size, patch = config["sample_size"], config["patch_size"]
        most = config["pos_embed_max_size"]
        return BackboneSpecValue(
            in_channels=config["in_channels"],
            sample_size=size and (size, size),
            patch=patch,
            largest=most and (most * patch, most * patch),
            text_width=config["joint_attention_dim"],
            layers=config["num_layers"],
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
            sample: ``b c h w``, further channels included.
            timestep: Scalar or ``b``.
            conditioning: With ``encoder_hidden_states``, ``b tokens width``, and
                ``pooled_projections``, ``b width``.
            residuals: Of ControlNets, added up.
            model_arguments: Such as ``joint_attention_kwargs`` and ``skip_layers``.

        Returns:
            The prediction, ``b c h w``.

        Raises:
            InputError: Residuals are for another kind of model, or the sample
                has not the channels that the transformer reads, or is no whole
                number of tokens wide and high.
        """
        transformer = self.transformer
        check_channels("transformer", sample.shape[1], transformer.config.in_channels, _MISSING)
        patch = transformer.config.patch_size
        if sample.shape[-2] % patch or sample.shape[-1] % patch:
            raise InputError(
                f"The latents are {sample.shape[-2]} high and {sample.shape[-1]} wide, and a token "
                f"of the transformer covers {patch} of either: give multiples of {patch}."
            )
        prediction: Tensor = transformer(
            hidden_states=sample,
            timestep=timestep.expand(len(sample)),
            **{
                **conditioning.tensors,
                **conditioning.shared,
                **summed(residuals, _RESIDUALS),
                **model_arguments,
            },
            return_dict=False,
        )[0]
        return prediction

    @op
    def embedder(self) -> PatchEmbedder:
        """Gives what makes tokens of latents, for ControlNets that have none of their own."""
        embedder: PatchEmbedder = self.transformer.pos_embed
        return embedder

    def unused_inputs(self, op: str, known: Mapping[str, Any]) -> frozenset[str]:
        """Says that further channels are not read by a transformer that reads latents alone.

        Args:
            op: The op that will be run.
            known: Values of its inputs that are known.
        """
        del known
        return unused_channels(op, model_config(self, "transformer"))
