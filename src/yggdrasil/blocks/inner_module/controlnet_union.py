"""One ControlNet for pictures of many kinds, for Stable Diffusion XL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch
from diffusers import ControlNetUnionModel
from torch import Tensor

from yggdrasil.blocks.configuration import model_config
from yggdrasil.blocks.inner_module.bases import check_kinds
from yggdrasil.blocks.inner_module.pictures import added, check_size, read_pixels, scale_of_each
from yggdrasil.blocks.inner_module.unet_controlnet import UNetControlNet, unet_residuals
from yggdrasil.blocks.processor.control_pictures import for_each_sample
from yggdrasil.blocks.processor.kinds import CropRegion
from yggdrasil.core.component import Component
from yggdrasil.core.errors import InputError
from yggdrasil.core.kinds import Pictures
from yggdrasil.core.ports import op
from yggdrasil.core.registry import register_block
from yggdrasil.core.residuals import ControlPicture, ControlPictureValue, ResidualsValue
from yggdrasil.core.values import CodecSpec, ConditioningValue

__all__ = ["ControlNetUnion"]

_PICTURES, _MODES = "pictures", "modes"


@register_block("inner_module/controlnet_union")
class ControlNetUnion(UNetControlNet):
    """A ControlNet that is told of what kind its pictures are, and may read several at once.

    Args:
        component: The folder of a saved pipeline that holds it, ``controlnet_1`` for the second of
            several.

    Source:
        The reference implementation of ControlNet++ (xinsir); Diffusers' ``ControlNetUnionModel``
        and ``StableDiffusionXLControlNetUnionPipeline``.
    """

    call_inputs: ClassVar[Mapping[str, bool]] = {"guess_mode": False, "control_mode": True}

    controlnet = Component(ControlNetUnionModel)

    def __init__(self, component: str = "controlnet") -> None:
        self.move_slot("controlnet", folder=component)

    @op
    def picture(
        self,
        control_image: Pictures,
        control_mode: int | list[int],
        codec: CodecSpec,
        batch: int,
        height: int | None = None,
        width: int | None = None,
        crop: CropRegion | None = None,
        num_images_per_prompt: int = 1,
    ) -> ControlPicture:
        """Resizes and repeats.

        Args:
            control_image: A PIL picture, array or tensor in [0, 1], or a list of them, one for each
                prompt; where there is a list of kinds, a list with one of each kind.
            control_mode: Of which kind it is, or each of them.
            codec: Sizes are rounded down to multiples of its scale.
            batch: How many samples there are.
            height: Of the result, in pixels; the picture's own where it is not given.
            width: Of the result, in pixels; the picture's own where it is not given.
            crop: The part to take where a part of a picture is painted anew.
            num_images_per_prompt: How many samples there are for each prompt.

        Raises:
            InputError: The pictures are none that can be read, or not as many as kinds.
        """
        modes = list(control_mode) if isinstance(control_mode, list) else [control_mode]
        kinds_are_told = isinstance(control_mode, list) and isinstance(control_image, list)
        several: list[Any] = list(control_image) if kinds_are_told else [control_image]
        if len(several) != len(modes):
            raise InputError(
                f"There are {len(several)} control images and {len(modes)} kinds in control_mode: "
                "give the kind of each."
            )
        read = [read_pixels(each, codec.scale, height, width, crop) for each in several]
        prepared = [
            for_each_sample(each, batch, num_images_per_prompt, self.controlnet) for each in read
        ]
        sizes = {(each.shape[-2], each.shape[-1]) for each in prepared}
        if len(sizes) > 1:
            raise InputError(
                f"The control images are of the sizes {sorted(sizes)}: give height and width, or "
                "pictures of one size."
            )
        first = prepared[0]
        return ControlPictureValue(
            tensor=first, size=sizes.pop(), shared={_PICTURES: tuple(prepared), _MODES: modes}
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
            sample: ``b c h w``, without further channels.
            timestep: Scalar or ``b``.
            conditioning: With ``encoder_hidden_states``, sizes and pooled states.
            picture: The prepared pictures.
            names: The branches that are evaluated together.
            scale: Factor of all that is added, or of each picture.
            guess: Whether the factor falls to a tenth towards the shallow layers.
            model_arguments: Not read, as in Diffusers.

        Raises:
            InputError: Pictures and sample have not the same size, or factors are not as many.
        """
        del model_arguments
        net = self.controlnet
        check_size(net.config, picture, sample)
        pictures, modes = picture.shared[_PICTURES], picture.shared[_MODES]
        factors = scale_of_each(scale, len(pictures))
        states = conditioning.tensors["encoder_hidden_states"]
        kinds = torch.zeros(net.config.num_control_type)
        kinds = kinds.scatter_(0, torch.tensor(modes), 1).reshape(1, -1)
        down, mid = net(
            sample,
            timestep,
            encoder_hidden_states=states,
            controlnet_cond=[replace(picture, tensor=each).of(names) for each in pictures],
            control_type=kinds.to(states.device, states.dtype).repeat(len(sample), 1),
            control_type_idx=modes,
            conditioning_scale=factors,
            guess_mode=guess,
            added_cond_kwargs=added(net.config, conditioning),
            return_dict=False,
        )
        return unet_residuals(down, mid)

    def is_silent_at_zero(self, picture: ControlPictureValue) -> bool:
        """Says so for one picture: factors of several act on what is read, not on what is given.

        Args:
            picture: The prepared pictures.
        """
        return len(picture.shared[_PICTURES]) == 1

    def check_inputs(self, op: str, known: Mapping[str, Any]) -> None:
        """Refuses kinds of pictures that the ControlNet does not know, and what others refuse.

        Args:
            op: The op that will be run.
            known: Values of its inputs that are known.

        Raises:
            InputError: A value cannot be right.
        """
        super().check_inputs(op, known)
        if op == "picture" and known.get("control_mode") is not None:
            check_kinds(known["control_mode"], model_config(self, "controlnet")["num_control_type"])
