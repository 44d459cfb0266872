"""ControlNets for Stable Diffusion 3 and 3.5, those for inpainting too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from diffusers import FlowMatchEulerDiscreteScheduler

from tests.parity.families.control import (
    CROSSED,
    FIRST,
    SECOND,
    TWO_PROMPTS,
    WEAKER,
    WEIGHED,
    normal,
    without,
)
from tests.parity.families.sd3 import SD3
from tests.parity.family import Family, Feature, Row
from tests.pipelines.pictures import mask, picture
from tests.tiny_controlnets import tiny_sd3_controlnet, with_controlnet
from tests.tiny_sd3 import tiny_sd3

TXT2IMG = "StableDiffusion3ControlNetPipeline"
INPAINT = "StableDiffusion3ControlNetInpaintingPipeline"

_KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "pooled": {"force_zeros_for_pooled_projection": False},
    "textless": {"use_pos_embed": False, "joint_attention_dim": None},
    "masked": {"extra_conditioning_channels": 1},
}
"""As InstantX has them; with pooled states; as the large 3.5 ones; for inpainting."""


def _controlled(*kinds: str, base: str = "sd3") -> Callable[[type], Any]:
    """Gives what makes a pipeline with a ControlNet of each kind."""

    def made(cls: type) -> Any:
        pipe = tiny_sd3(base)
        if base == "sd35":
            # The pipelines hand schedulers no shift by the size.
            pipe.scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
        nets = [
            tiny_sd3_controlnet(pipe.transformer, 1 + number, **_KINDS[kind])
            for number, kind in enumerate(kinds)
        ]
        return with_controlnet(pipe, cls, nets if len(nets) > 1 else nets[0])

    return made


_ONE = {"control_image": FIRST, "height": 64, "width": 64}
_TWO = {
    **_ONE, "control_image": [FIRST, SECOND], "controlnet_conditioning_scale": [0.8, 1.2]
}  # fmt: skip
_MASK = {"control_mask": mask()}
_EACH = {**TWO_PROMPTS, "num_images_per_prompt": 2}
_OF_ONE: dict[str, Feature] = {
    "a weaker control": WEAKER,
    "no control": {"controlnet_conditioning_scale": 0.0},
    "some of the steps": {"control_guidance_start": 0.2, "control_guidance_end": 0.8},
    "non-square": {"control_image": picture(96, 64), "width": 96},
    "a picture for each prompt": {**_EACH, "control_image": [FIRST, SECOND]},
    "control by a tensor": {
        "control_image": normal(5, 1, 3, 64, 96).clamp(-1, 1), "height": None, "width": None
    },
}  # fmt: skip
_OF_TWO: dict[str, Feature] = {
    "some of the steps": {"control_guidance_start": 0.2, "control_guidance_end": 0.8},
    "numbers for each": WEIGHED,
    "one of two": {"controlnet_conditioning_scale": [0.0, 0.9]},
    "non-square": {"control_image": [picture(96, 64), SECOND], "width": 96},
}
_OF_MASKS: dict[str, Feature] = {
    **_OF_ONE,
    "a picture for each prompt": {
        **_EACH, "control_image": [FIRST, SECOND], "control_mask": [mask(), mask().rotate(90)]
    },
    "control by a tensor": {
        "control_image": normal(5, 1, 3, 64, 64).clamp(-1, 1),
        "control_mask": (normal(6, 1, 1, 64, 64) > 0).float(),
    },
}  # fmt: skip
_NO_SHIFT = {"flow_euler linear": "is not handed the shift by the size (mu) that it asks for"}
_UNSAVED = {
    **_NO_SHIFT,
    "saved": "Diffusers cannot save a pipeline with several ControlNets of this family",
}
_PLAIN = ("plain",)

CONTROLNET_SD3 = Family(
    name="controlnet_sd3",
    models={
        "sd3": _controlled("plain"),
        "sd3_pooled": _controlled("pooled"),
        "sd3_textless": _controlled("textless"),
        "sd3_two": _controlled("plain", "plain"),
        "sd35": _controlled("plain", base="sd35"),
        "sd3_masked": _controlled("masked"),
        "sd3_masked_two": _controlled("masked", "masked"),
    },
    call=SD3.call,
    features=without(SD3.features, "a shift"),
    crossed=CROSSED,
    solvers=SD3.solvers,
    begins=SD3.begins,
    beside=SD3,
    rows=(
        Row(TXT2IMG, "sd3", "flow_euler", _ONE, _OF_ONE, WEAKER, refused=_NO_SHIFT),
        *(
            Row(
                TXT2IMG, model, "flow_euler", call=_ONE, features=_OF_ONE, crossed=_PLAIN,
                refused=_NO_SHIFT,
            )
            for model in ("sd3_pooled", "sd3_textless", "sd35")
        ),
        Row(
            TXT2IMG, "sd3_two", "flow_euler", call=_TWO, features=_OF_TWO, crossed=_PLAIN,
            refused=_UNSAVED,
        ),
        Row(
            INPAINT, "sd3_masked", "flow_euler", call={**_ONE, **_MASK}, features=_OF_MASKS,
            change=WEAKER, refused=_NO_SHIFT,
        ),
        Row(
            INPAINT, "sd3_masked_two", "flow_euler", call={**_TWO, **_MASK}, features=_OF_TWO,
            crossed=_PLAIN, refused=_UNSAVED,
        ),
    ),
)  # fmt: skip
