"""ControlNet, for Stable Diffusion and Stable Diffusion XL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from diffusers import ControlNetModel
from torch import Tensor

from yggdrasil.blocks.inner_module.pictures import added, check_size, read_pixels, single
from yggdrasil.blocks.inner_module.unet_controlnet import UNetControlNet, unet_residuals
from yggdrasil.blocks.processor.control_pictures import for_each_sample
from yggdrasil.blocks.processor.kinds import CropRegion
from yggdrasil.core.component import Component
from yggdrasil.core.kinds import Pictures
from yggdrasil.core.ports import op
from yggdrasil.core.registry import register_block
from yggdrasil.core.residuals import ControlPicture, ControlPictureValue, ResidualsValue
from yggdrasil.core.values import CodecSpec, ConditioningValue

__all__ = ["ControlNet"]


@register_block("inner_module/controlnet")
class ControlNet(UNetControlNet):
    """A copy of a UNet's encoder that reads a picture too and adds to the UNet's skips.

    Args:
        component: The folder of a saved pipeline that holds it, ``controlnet_1`` for the second of
            several.

    Source:
        Zhang et al. 2023 (arXiv:2302.05543); Diffusers' ``ControlNetModel`` and
        ``StableDiffusionControlNetPipeline``. Guess mode: section 4.2 of its supplement.
    """

    call_inputs: ClassVar[Mapping[str, bool]] = {"guess_mode": False}
    # As Diffusers' pipelines of this model take them; those of others take a list for each node.
    lists_by_prompt: ClassVar[frozenset[str]] = frozenset({"control_image"})

    controlnet = Component(ControlNetModel)

    def __init__(self, component: str = "controlnet") -> None:
        self.move_slot("controlnet", folder=component)

    @op
    def picture(
        self,
        control_image: Pictures,
        codec: CodecSpec,
        batch: int,
        height: int | None = None,
        width: int | None = None,
        crop: CropRegion | None = None,
        num_images_per_prompt: int = 1,
    ) -> ControlPicture:
        """Resizes and repeats.

        Args:
            control_image: PIL pictures, arrays ``b h w c`` or tensors ``b c h w`` in [0, 1], one or
                a list.
            codec: Sizes are rounded down to multiples of its scale.
            batch: How many samples there are.
            height: Of the result, in pixels; the picture's own where it is not given.
            width: Of the result, in pixels; the picture's own where it is not given.
            crop: The part to take where a part of a picture is painted anew.
            num_images_per_prompt: How many samples each of several pictures is for.

        Raises:
            InputError: The pictures are none that can be read, or not as many as prompts.
        """
        image = read_pixels(control_image, codec.scale, height, width, crop)
        tensor = for_each_sample(image, batch, num_images_per_prompt, self.controlnet)
        return ControlPictureValue(tensor=tensor, size=(tensor.shape[-2], tensor.shape[-1]))

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
            conditioning: With ``encoder_hidden_states``, ``b tokens width``; sizes and pooled
                states for those of Stable Diffusion XL.
            picture: The prepared picture.
            names: The branches that are evaluated together.
            scale: Factor of all that is added.
            guess: Whether the factor falls to a tenth towards the shallow layers.
            model_arguments: Not read, as in Diffusers.

        Raises:
            InputError: Picture and sample have not the same size.
        """
        del model_arguments
        net = self.controlnet
        check_size(net.config, picture, sample)
        down, mid = net(
            sample,
            timestep,
            encoder_hidden_states=conditioning.tensors["encoder_hidden_states"],
            controlnet_cond=picture.of(names),
            conditioning_scale=single(scale),
            guess_mode=guess,
            added_cond_kwargs=added(net.config, conditioning),
            return_dict=False,
        )
        return unet_residuals(down, mid)
