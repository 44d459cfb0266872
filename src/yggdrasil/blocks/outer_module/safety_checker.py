"""Stable Diffusion's safety checker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from diffusers.image_processor import VaeImageProcessor

from yggdrasil.blocks.computing_device import computing_device
from yggdrasil.blocks.processor.kinds import Flags
from yggdrasil.core.component import Component
from yggdrasil.core.kinds import Image
from yggdrasil.core.ports import op
from yggdrasil.core.registry import register_block
from yggdrasil.core.roles import AbstractOuterModule

__all__ = ["Checked", "SafetyChecker"]


class Checked(NamedTuple):
    """Pictures after the check, and which of them were held back.

    Attributes:
        image: ``b 3 h w`` in [-1, 1]; zeros in the place of what was held back.
        flagged: One for each picture.
    """

    image: Image
    flagged: Flags


def _checker_class() -> type:
    # Few models have one, and its module takes seconds to import.
    from diffusers.pipelines.stable_diffusion.safety_checker import (  # noqa: PLC0415
        StableDiffusionSafetyChecker,
    )

    return StableDiffusionSafetyChecker  # type: ignore[no-any-return] # Diffusers is untyped


def _extractor_class() -> type:
    # Importing it without torchvision prints a remark that is nobody's business without a checker.
    from transformers import CLIPImageProcessor  # noqa: PLC0415

    return CLIPImageProcessor  # type: ignore[no-any-return] # transformers is untyped


@register_block("outer_module/safety_checker")
class SafetyChecker(AbstractOuterModule):
    """Holds back pictures that are like one of the concepts it was given.

    It applies where the model comes with a checker, as many of Stable Diffusion 1.x do; without one
    nothing is checked.

    Source:
        Diffusers' ``StableDiffusionPipeline.run_safety_checker``.
    """

    safety_checker = Component[Any](_checker_class, optional=True)
    feature_extractor = Component[Any](_extractor_class, optional=True)

    @op
    def check(self, image: Image) -> Checked:
        """Looks at decoded pictures.

        Args:
            image: ``b 3 h w`` in [-1, 1].
        """
        pictures = VaeImageProcessor().postprocess(image, output_type="pil")
        seen = self.feature_extractor(pictures, return_tensors="pt").pixel_values
        checker = self.safety_checker
        # The checker writes zeros into what it is given.
        safe, flagged = checker(
            images=image.clone(),
            clip_input=seen.to(computing_device(checker), checker.dtype),
        )
        return Checked(safe, [bool(each) for each in flagged])

    def declines(self, op: str, facts: Mapping[str, Any]) -> bool:
        """Says that nothing is checked where the model has no checker.

        Args:
            op: The op.
            facts: Not read.
        """
        del op, facts
        return "safety_checker" not in self.sources
