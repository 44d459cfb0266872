"""ControlNet, for Stable Diffusion 3 and 3.5."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from diffusers import SD3ControlNetModel
from diffusers.image_processor import VaeImageProcessor
from torch import Tensor
from torch.nn import functional as F

from yggdrasil.blocks.backbone.kinds import PatchEmbedder
from yggdrasil.blocks.batching import as_generators
from yggdrasil.blocks.codec.coder import Coder
from yggdrasil.blocks.configuration import model_config
from yggdrasil.blocks.inner_module.bases import check_transformer
from yggdrasil.blocks.inner_module.pictures import single
from yggdrasil.blocks.processor.control_pictures import for_each_sample, read_normed
from yggdrasil.blocks.processor.vae_image import preprocess
from yggdrasil.core.component import Component
from yggdrasil.core.errors import InputError
from yggdrasil.core.kinds import Generator, Pictures
from yggdrasil.core.ports import op
from yggdrasil.core.registry import register_block
from yggdrasil.core.residuals import ControlPicture, ControlPictureValue, ResidualsValue
from yggdrasil.core.roles import AbstractInnerModule
from yggdrasil.core.values import (
    BackboneSpecValue,
    BranchedConditioning,
    CodecSpec,
    ConditioningValue,
)

__all__ = ["SD3ControlNet"]

_EMBEDDER, _NO_POOLED = "embedder", "no_pooled"


@register_block("inner_module/sd3_controlnet")
class SD3ControlNet(AbstractInnerModule):
    """Blocks of a transformer that read a picture's latents too and add to the transformer's.

    Args:
        component: The folder of a saved pipeline that holds it, ``controlnet_1`` for the second of
            several.

    Source:
        Zhang et al. 2023 (arXiv:2302.05543); Diffusers' ``SD3ControlNetModel``,
        ``StableDiffusion3ControlNetPipeline`` and ``StableDiffusion3ControlNetInpaintingPipeline``.
    """

    call_inputs: ClassVar[Mapping[str, bool]] = {"control_mask": False}

    controlnet = Component(SD3ControlNetModel)

    def __init__(self, component: str = "controlnet") -> None:
        self.move_slot("controlnet", folder=component)

    @op
    def picture(
        self,
        control_image: Pictures,
        codec: CodecSpec,
        coder: Coder,
        batch: int,
        height: int | None = None,
        width: int | None = None,
        control_mask: Pictures | None = None,
        branches: BranchedConditioning | None = None,
        embedder: PatchEmbedder | None = None,
        generator: Generator | None = None,
        num_images_per_prompt: int = 1,
    ) -> ControlPicture:
        """Resizes, encodes and repeats.

        Args:
            control_image: PIL pictures or arrays ``b h w c`` in [0, 1], one or a list; a tensor
                ``b c H W`` is taken as it is, in [-1, 1] and of the right size.
            codec: Sizes are rounded down to multiples of its scale.
            coder: Encodes.
            batch: How many samples there are.
            height: Of the result, in pixels.
            width: Of the result, in pixels.
            control_mask: 1 where the picture is to be painted anew, for a ControlNet that reads a
                mask too; a tensor is taken as it is.
            branches: Of a step, each of which reads latents drawn for it, as in Diffusers.
            embedder: The transformer's, for a ControlNet that has none of its own.
            generator: Of the latents; one, or one for each sample and branch.
            num_images_per_prompt: How many samples each of several pictures is for.

        Raises:
            InputError: The pictures are none that can be read, or not as many as prompts.
        """
        image = read_normed(control_image, codec.scale, height, width)
        repeated = for_each_sample(image, batch, num_images_per_prompt, self.controlnet)
        size = (image.shape[-2], image.shape[-1])
        names = () if branches is None or len(branches.names) == 1 else branches.names
        shared = {_EMBEDDER: embedder, _NO_POOLED: self.controlnet.config[_ZEROS]}
        if control_mask is not None:
            mask = self._mask(control_mask, codec, size)
            mask = mask.repeat_interleave(len(repeated) // len(mask), dim=0).to(repeated)
            covered = repeated.clone()
            covered[(mask > 0.5).repeat(1, covered.shape[1], 1, 1)] = -1
            latents = coder.scale(coder.encode(covered).draw(as_generators(generator)))
            small = F.interpolate(mask, size=(size[0] // codec.scale, size[1] // codec.scale))
            return ControlPictureValue(
                tensor=torch.cat([latents, 1 - small], dim=1),
                size=size,
                shared={**shared, _NO_POOLED: True},
            )
        # Those that read no pooled states were trained on latents that are not shifted.
        drawn = coder.encode(torch.cat([repeated] * max(1, len(names))))
        latents = coder.scale(
            drawn.draw(as_generators(generator)), shift_latents=not self.controlnet.config[_ZEROS]
        )
        return ControlPictureValue(tensor=latents, size=size, branches=names, shared=shared)

    def evaluate(
        self,
        sample: Tensor,
        timestep: Tensor,
        conditioning: ConditioningValue,
        picture: ControlPictureValue,
        names: tuple[str, ...],
        scale: tuple[float, ...],
        guess: bool,  # noqa: FBT001 - of every call
        model_arguments: dict[str, Any],
    ) -> ResidualsValue:
        """Runs the ControlNet once.

        Args:
            sample: ``b c h w``, without further channels.
            timestep: Scalar or ``b``.
            conditioning: With ``encoder_hidden_states`` and ``pooled_projections``.
            picture: The prepared picture.
            names: The branches that are evaluated together.
            scale: Factor of all that is added.
            guess: Not read: there is no guess mode.
            model_arguments: Of which ``joint_attention_kwargs`` is read.

        Raises:
            InputError: Picture and sample have not the same size, or not the channels that are
                read.
        """
        del guess
        net = self.controlnet
        read = picture.of(names)
        _check_picture(read, sample, net.config)
        pooled = conditioning.tensors["pooled_projections"]
        states = conditioning.tensors["encoder_hidden_states"]
        embedder = picture.shared[_EMBEDDER]
        own = net.pos_embed is not None
        if not own and embedder is None:
            raise InputError(
                "The ControlNet embeds no latents, and the backbone gives no embedder."
            )
        residuals = net(
            hidden_states=sample if own else embedder(sample),
            timestep=timestep.expand(len(sample)),
            encoder_hidden_states=None if net.context_embedder is None else states,
            pooled_projections=torch.zeros_like(pooled) if picture.shared[_NO_POOLED] else pooled,
            joint_attention_kwargs=model_arguments.get("joint_attention_kwargs"),
            controlnet_cond=read,
            conditioning_scale=single(scale),
            return_dict=False,
        )[0]
        return ResidualsValue(tensors={"block_controlnet_hidden_states": tuple(residuals)})

    def unused_inputs(self, op: str, known: Mapping[str, Any]) -> frozenset[str]:
        """Says that the transformer's embedder is not read by a ControlNet with one of its own.

        Args:
            op: The op that will be run.
            known: Values of its inputs that are known.
        """
        del known
        if op == "picture" and model_config(self, "controlnet")["use_pos_embed"]:
            return frozenset({_EMBEDDER})
        return frozenset()

    def check_backbone(self, backbone: BackboneSpecValue) -> None:
        """Refuses a transformer of another text width or width.

        Args:
            backbone: What it says of itself.

        Raises:
            InputError: They differ.
        """
        check_transformer("ControlNet", model_config(self, "controlnet"), backbone)

    def _mask(self, masks: object, codec: CodecSpec, size: tuple[int, int]) -> Tensor:
        if isinstance(masks, Tensor):
            return masks
        processor = VaeImageProcessor(
            vae_scale_factor=codec.scale,
            do_convert_grayscale=True,
            do_normalize=False,
            do_binarize=True,
        )
        return preprocess(processor, "control_mask", masks, *size, None)


_ZEROS = "force_zeros_for_pooled_projection"


def _check_picture(read: Tensor, sample: Tensor, config: Mapping[str, Any]) -> None:
    wanted = config["in_channels"] + config["extra_conditioning_channels"]
    if read.shape[1] != wanted:
        raise InputError(
            f"The ControlNet reads {wanted} channels of a picture and was given {read.shape[1]}: "
            "one for inpainting wants `control_mask` too, others do not."
        )
    if read.shape[-2:] != sample.shape[-2:]:
        raise InputError(
            f"The control image's latents are {read.shape[-2]} high and {read.shape[-1]} wide, and "
            f"what is made {sample.shape[-2]} and {sample.shape[-1]}: give height and width, or a "
            "picture of that size."
        )
