"""ControlNets for Stable Diffusion 1.x and 2.x: one, two, and one that gives averages."""

from __future__ import annotations

from typing import Any

from tests.parity.families.control import (
    CROSSED,
    FIRST,
    ONE_CONTROL,
    OTHER,
    SECOND,
    TWO_PROMPTS,
    WEAKER,
    of_one_picture,
    of_two_pictures,
    without,
)
from tests.parity.families.stable_diffusion import STABLE_DIFFUSION
from tests.parity.family import Family, Row
from tests.pipelines.pictures import mask, picture
from tests.tiny_controlnets import tiny_controlnet, with_controlnet
from tests.tiny_models import tiny_pipeline

TXT2IMG = "StableDiffusionControlNetPipeline"
IMG2IMG = "StableDiffusionControlNetImg2ImgPipeline"
INPAINT = "StableDiffusionControlNetInpaintPipeline"


def _controlled(kind: str, cls: type, *seeds: int, **config: Any) -> Any:
    """Makes a pipeline with a ControlNet for each seed."""
    base = tiny_pipeline(kind)
    nets = [tiny_controlnet(base.unet, seed, **config) for seed in seeds]
    made = nets if len(nets) > 1 else nets[0]
    return with_controlnet(base, cls, made, requires_safety_checker=False)


_ONE, _TWO = {"control_image": FIRST}, {"control_image": [FIRST, SECOND]}
_WIDE, _WIDER = picture(96, 64), [picture(96, 64), picture(96, 64, 3)]
_PICTURE = {"image": OTHER, "strength": 0.75}
_MASKED = {**_PICTURE, "mask_image": mask()}
_SIZE = {"height": 96, "width": 64}
_TWO_EACH = [[FIRST, SECOND], [SECOND, picture(seed=3)]]
_TURNED = OTHER.rotate(90)
_OF_TEXTS = {"brought to a size": _SIZE}
_OF_PICTURES: dict[str, Any] = {
    "all anew": {"strength": 1.0},
    "brought to a size": _SIZE,
    "non-square": {"image": picture(96, 64, 8), "control_image": _WIDE},
    "two pictures": {**TWO_PROMPTS, "image": [OTHER, _TURNED], "generator": [1, 2]},
}
_OF_MASKS: dict[str, Any] = {
    **_OF_PICTURES,
    "non-square": {
        "image": picture(96, 64, 8), "control_image": _WIDE, "mask_image": mask(96, 64)
    },
    "two pictures": {
        **TWO_PROMPTS, "image": [OTHER, _TURNED], "mask_image": [mask(), mask().rotate(90)],
        "generator": [1, 2],
    },
    "a mask around a part": {
        "image": picture(96, 64), "control_image": picture(96, 64, 3),
        "mask_image": mask(96, 64), "padding_mask_crop": 4, "output_type": "pil",
    },
}  # fmt: skip
_OF_PICTURES_BY_TWO = {
    **_OF_PICTURES,
    "non-square": {**_OF_PICTURES["non-square"], "control_image": _WIDER},
}
_OF_MASKS_BY_TWO = {
    **_OF_MASKS,
    "non-square": {**_OF_MASKS["non-square"], "control_image": _WIDER},
    "a mask around a part": ONE_CONTROL,
}


_FURTHER: dict[str, Any] = {"crossed": (), "halves": ("plain",)}
"""Models beside the first of a class: what schedulers and dtypes change does not depend on them."""

CONTROLNET_SD = Family(
    name="controlnet_sd",
    models={
        "sd15": lambda cls: _controlled("sd15", cls, 1),
        "sd15_two": lambda cls: _controlled("sd15", cls, 1, 2),
        "sd15_pooled": lambda cls: _controlled("sd15", cls, 1, global_pool_conditions=True),
        "sd2": lambda cls: _controlled("sd2", cls, 1),
        "sd15_inpaint": lambda cls: _controlled("sd15_inpaint", cls, 1),
    },
    call=STABLE_DIFFUSION.call,
    features=without(STABLE_DIFFUSION.features, "rescale"),
    crossed=(*CROSSED, "given timesteps"),
    solvers=STABLE_DIFFUSION.solvers,
    begins=STABLE_DIFFUSION.begins,
    beside=STABLE_DIFFUSION,
    rows=(
        *(
            Row(
                TXT2IMG, model, solver, call={"image": FIRST}, change=WEAKER, **further,
                features={**of_one_picture("image"), **_OF_TEXTS, "non-square": {"image": _WIDE}},
            )
            for model, solver, further in (
                ("sd15", "pndm", {}), ("sd2", "ddim", _FURTHER), ("sd15_pooled", "pndm", _FURTHER),
            )
        ),
        Row(
            TXT2IMG, "sd15_two", "pndm", call={"image": [FIRST, SECOND]}, **_FURTHER,
            features={
                **of_two_pictures("image"), **_OF_TEXTS, "non-square": {"image": _WIDER},
                "pictures for each prompt": {**TWO_PROMPTS, "image": _TWO_EACH},
            },
        ),
        Row(
            IMG2IMG, "sd15", "pndm", call={**_ONE, **_PICTURE}, change=WEAKER,
            features={**of_one_picture("control_image"), **_OF_PICTURES},
        ),
        Row(
            IMG2IMG, "sd15_two", "pndm", call={**_TWO, **_PICTURE}, **_FURTHER,
            features={**of_two_pictures("control_image"), **_OF_PICTURES_BY_TWO},
        ),
        *(
            Row(
                INPAINT, model, "pndm", call={**_ONE, **_MASKED}, change=WEAKER, **further,
                features={**of_one_picture("control_image"), **_OF_MASKS},
            )
            for model, further in (("sd15", {}), ("sd15_inpaint", _FURTHER))
        ),
        Row(
            INPAINT, "sd15_two", "pndm", call={**_TWO, **_MASKED}, **_FURTHER,
            features={**of_two_pictures("control_image"), **_OF_MASKS_BY_TWO},
        ),
    ),
)  # fmt: skip
