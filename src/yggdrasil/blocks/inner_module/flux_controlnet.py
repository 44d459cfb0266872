"""ControlNet, for FLUX.1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch
from diffusers import FluxControlNetModel
from torch import Tensor

from yggdrasil.blocks.batching import as_generators
from yggdrasil.blocks.codec.coder import Coder
from yggdrasil.blocks.configuration import model_config
from yggdrasil.blocks.inner_module.bases import check_kinds, check_transformer
from yggdrasil.blocks.inner_module.pictures import count_of, scale_of_each
from yggdrasil.blocks.layout.packed import PackedLayout
from yggdrasil.blocks.processor.control_pictures import for_each_sample, read_normed
from yggdrasil.core.component import Component
from yggdrasil.core.errors import InputError
from yggdrasil.core.kinds import Generator, Pictures
from yggdrasil.core.ports import op
from yggdrasil.core.registry import register_block
from yggdrasil.core.residuals import ControlPicture, ControlPictureValue, ResidualsValue, joined
from yggdrasil.core.roles import AbstractInnerModule
from yggdrasil.core.values import BackboneSpec, BackboneSpecValue, CodecSpec, ConditioningValue

__all__ = ["FluxControlNet"]

_PICTURES, _KINDS, _GUIDANCE = "pictures", "kinds", "guidance"
_SCHEDULE = 1000
_ADDED = ("controlnet_block_samples", "controlnet_single_block_samples")


@register_block("inner_module/flux_controlnet")
class FluxControlNet(AbstractInnerModule):
    """Blocks of a transformer that read a picture's tokens too and add to the transformer's.

    It is evaluated for the positive branch alone, and every branch gets what it gives.

    Args:
        component: The folder of a saved pipeline that holds it, ``controlnet_1`` for the second of
            several.

    Source:
        Zhang et al. 2023 (arXiv:2302.05543); Diffusers' ``FluxControlNetModel`` and
        ``FluxControlNetPipeline``.
    """

    positive_only: ClassVar[bool] = True
    call_inputs: ClassVar[Mapping[str, bool]] = {"control_mode": False}

    controlnet = Component(FluxControlNetModel)

    def __init__(self, component: str = "controlnet") -> None:
        self.move_slot("controlnet", folder=component)

    @op
    def picture(
        self,
        control_image: Pictures,
        codec: CodecSpec,
        coder: Coder,
        backbone: BackboneSpec,
        batch: int,
        control_mode: int | list[int | None] | None = None,
        height: int | None = None,
        width: int | None = None,
        generator: Generator | None = None,
        guidance_scale: float = 3.5,
        num_images_per_prompt: int = 1,
    ) -> ControlPicture:
        """Resizes, repeats, encodes and packs.

        Args:
            control_image: PIL pictures or arrays ``b h w c`` in [0, 1], one or a list; a tensor
                ``b c H W`` is taken as it is, in [-1, 1] and of the right size.
            codec: Gives the scale.
            coder: Encodes, for a ControlNet that reads latents.
            backbone: Gives the size of a token, of which sides are made multiples.
            batch: How many samples there are.
            control_mode: Of which kind the picture is, for a ControlNet that knows several. With a
                list there is a picture for each kind, and what they add is summed.
            height: Of the result, in pixels.
            width: Of the result, in pixels.
            generator: Of the latents; one, or one for each sample.
            guidance_scale: For a ControlNet that reads it beside a transformer that does not.
            num_images_per_prompt: How many samples each of several pictures is for.

        Raises:
            InputError: The pictures are none that can be read, or not as many as prompts.
        """
        net, side = self.controlnet, backbone.patch or 1
        kinds = control_mode if isinstance(control_mode, list) else [control_mode]
        several = control_image if isinstance(control_mode, list) else [control_image]
        if not isinstance(several, list) or len(several) != len(kinds):
            raise InputError(
                f"control_mode has {len(kinds)} kinds, and the node is given {count_of(several)} "
                "control images: give a list with one picture for each kind."
            )
        read: list[Tensor] = []
        size = (0, 0)
        for each in several:
            image = read_normed(each, codec.scale * side, height, width)
            size = (image.shape[-2], image.shape[-1])
            tensor = for_each_sample(image, batch, num_images_per_prompt, net)
            if net.input_hint_block is None:
                drawn = coder.encode(tensor).draw(as_generators(generator))
                tensor = PackedLayout(side).pack(coder.scale(drawn))
            read.append(tensor)
        scale = torch.full([1], guidance_scale, dtype=torch.float32, device=read[0].device)
        return ControlPictureValue(
            tensor=read[0],
            size=size,
            shared={_PICTURES: tuple(read), _KINDS: tuple(kinds), _GUIDANCE: scale},
        )

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
            sample: ``b tokens c``.
            timestep: Scalar or ``b``.
            conditioning: With ``encoder_hidden_states``, ``pooled_projections`` and the positions
                of tokens.
            picture: The prepared picture.
            names: The branches that are evaluated together.
            scale: Factor of all that is added.
            guess: Not read: there is no guess mode.
            model_arguments: Of which ``joint_attention_kwargs`` is read.

        Raises:
            InputError: Picture and sample have not as many tokens.
        """
        del guess
        net, tensors = self.controlnet, conditioning.tensors
        pictures, kinds = picture.shared[_PICTURES], picture.shared[_KINDS]
        factors = scale_of_each(scale, len(pictures))
        guidance = None
        if net.config.guidance_embeds:
            guidance = tensors.get("guidance", picture.shared[_GUIDANCE]).expand(len(sample))
        parts = []
        for tensor, kind, factor in zip(pictures, kinds, factors, strict=True):
            if factor == 0.0:
                continue
            one = replace(picture, tensor=tensor)
            self._check_tokens(one, sample)
            given = net(
                hidden_states=sample,
                controlnet_cond=one.of(names),
                controlnet_mode=_kind_of_each(kind, sample),
                conditioning_scale=factor,
                timestep=timestep.expand(len(sample)).to(sample.dtype) / _SCHEDULE,
                guidance=guidance,
                pooled_projections=tensors["pooled_projections"],
                encoder_hidden_states=tensors["encoder_hidden_states"],
                txt_ids=conditioning.shared["txt_ids"],
                img_ids=conditioning.shared["img_ids"],
                joint_attention_kwargs=model_arguments.get("joint_attention_kwargs"),
                return_dict=False,
            )
            named = zip(_ADDED, given, strict=True)
            parts.append(
                ResidualsValue(
                    tensors={name: tuple(each) for name, each in named if each is not None},
                    shared={"controlnet_blocks_repeat": net.input_hint_block is not None},
                )
            )
        return parts[0] if len(parts) == 1 else joined(parts)

    def _check_tokens(self, picture: ControlPictureValue, sample: Tensor) -> None:
        have, wanted = picture.tensor.shape[1], sample.shape[1]
        if self.controlnet.input_hint_block is None and have != wanted:
            raise InputError(
                f"The control image makes {have} tokens ({picture.size[0]} by {picture.size[1]} "
                f"pixels), and what is made has {wanted}: give height and width, or a picture of "
                "that size."
            )

    def unused_inputs(self, op: str, known: Mapping[str, Any]) -> frozenset[str]:
        """Says that the guidance scale comes with the conditioning, or is not read.

        Args:
            op: The op that will be run.
            known: Values of its inputs that are known.
        """
        backbone = known.get("backbone")
        embeds = backbone is not None and backbone.guidance_embedding is not None
        if op == "picture" and (embeds or not model_config(self, "controlnet")["guidance_embeds"]):
            return frozenset({"guidance_scale"})
        return frozenset()

    def check_inputs(self, op: str, known: Mapping[str, Any]) -> None:
        """Refuses a kind of picture that the ControlNet does not know, and what others refuse.

        Args:
            op: The op that will be run.
            known: Values of its inputs that are known.

        Raises:
            InputError: A value cannot be right.
        """
        super().check_inputs(op, known)
        kinds = model_config(self, "controlnet")["num_mode"]
        if op == "picture" and kinds is not None:
            check_kinds(known.get("control_mode"), kinds)

    def check_backbone(self, backbone: BackboneSpecValue) -> None:
        """Refuses a transformer of another text width or width.

        Args:
            backbone: What it says of itself.

        Raises:
            InputError: They differ.
        """
        check_transformer("ControlNet", model_config(self, "controlnet"), backbone)


def _kind_of_each(kind: int | None, sample: Tensor) -> Tensor | None:
    """Gives the kind of picture for each sample, ``b 1``."""
    if kind is None:
        return None
    return torch.tensor(kind, device=sample.device).view(-1, 1).expand(len(sample), 1)
