"""ControlNets for Stable Diffusion XL, those for pictures of many kinds too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from tests.parity.families.control import (
    CROSSED,
    FIRST,
    ONE_CONTROL,
    OTHER,
    SECOND,
    TWO_PROMPTS,
    WEAKER,
    WEIGHED,
    of_one_picture,
    of_two_pictures,
)
from tests.parity.families.sdxl import SDXL
from tests.parity.family import Family, Feature, Row
from tests.pipelines.conftest import generator
from tests.pipelines.pictures import mask, picture
from tests.tiny_controlnets import tiny_controlnet, tiny_union, with_controlnet
from tests.tiny_sdxl import tiny_sdxl

_CLASS = "StableDiffusionXLControlNet"
TXT2IMG, IMG2IMG, INPAINT = (f"{_CLASS}{task}Pipeline" for task in ("", "Img2Img", "Inpaint"))
UNION, UNION_IMG2IMG, UNION_INPAINT = (
    f"{_CLASS}Union{task}Pipeline" for task in ("", "Img2Img", "Inpaint")
)


def _controlled(kind: str, make: Callable[..., Any], *seeds: int) -> Callable[[type], Any]:
    """Gives what makes a pipeline with a ControlNet for each seed."""

    def made(cls: type) -> Any:
        base = tiny_sdxl(kind)
        nets = [make(base.unet, seed) for seed in seeds]
        settings = (
            {}
            if "Img2Img" not in cls.__name__ and "Inpaint" not in cls.__name__
            else {"requires_aesthetics_score": kind == "sdxl_refiner"}
        )
        return with_controlnet(
            base,
            cls,
            nets if len(nets) > 1 else nets[0],
            add_watermarker=False,
            force_zeros_for_empty_prompt=kind != "sdxl_refiner",
            **settings,
        )

    return made


_ONE, _TWO = {"control_image": FIRST}, {"control_image": [FIRST, SECOND]}
_KIND = {**_ONE, "control_mode": 2}
_KINDS = {**_TWO, "control_mode": [1, 4]}
_WIDE, _WIDER = picture(96, 64), [picture(96, 64), picture(96, 64, 3)]
_PICTURE = {"image": OTHER, "strength": 0.7}
_MASKED = {**_PICTURE, "mask_image": mask()}
_SIZE = {"height": 96, "width": 64}
_TURNED = OTHER.rotate(90)
_BEAUTY = {"aesthetic score": {"aesthetic_score": 7.0, "negative_aesthetic_score": 2.0}}
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
    "a part of the way": {
        "denoising_start": 0.3, "denoising_end": 0.7, "strength": None, "num_inference_steps": 8
    },
    "sizes": {
        "original_size": (100, 200), "crops_coords_top_left": (3, 4), "target_size": (50, 60)
    },
}  # fmt: skip
_ANY_SIZE: dict[str, Feature] = {"brought to a size": _SIZE}


def _tensors(count: int, *seeds: int) -> list[torch.Tensor]:
    return [torch.rand(count, 3, 64, 64, generator=generator(seed)) for seed in seeds]


_BOTH_KINDS = (
    "Diffusers tells the union the kinds for the negative branch too, which it does not run, and "
    "fails"
)
_GUIDED = dict.fromkeys(("guessing", "guessing, a batch"), _BOTH_KINDS)
_OF_UNION: dict[str, Feature] = {
    **of_one_picture("control_image"),
    **_GUIDED,
    "a picture for each prompt": {
        **TWO_PROMPTS, "num_images_per_prompt": 2, "control_image": _tensors(2, 5)
    },
    "two kinds": _KINDS,
    "two kinds, numbers for each": {**_KINDS, **WEIGHED},
    "two kinds, some of the steps": {**_KINDS, "control_guidance_end": 0.5},
    "two kinds, no control": {**_KINDS, "controlnet_conditioning_scale": 0.0},
    "two kinds, guessing": {**_KINDS, "guess_mode": True, "guidance_scale": 1.0},
}  # fmt: skip
_OF_UNIONS = {**of_two_pictures("control_image"), **_GUIDED}


_OF_PICTURES_BY_TWO = {
    **_OF_PICTURES,
    "non-square": {**_OF_PICTURES["non-square"], "control_image": _WIDER},
}
_OF_MASKS_BY_TWO = {
    **_OF_MASKS,
    "non-square": {**_OF_MASKS["non-square"], "control_image": _WIDER},
    "a mask around a part": ONE_CONTROL,
}
_OF_MASKS_BY_UNION = {**_OF_MASKS, "a mask around a part": ONE_CONTROL}


_FEATURES: dict[str, Feature] = {
    **SDXL.features,
    "an end, some of the steps": {
        "denoising_end": 0.6, "num_inference_steps": 6, "control_guidance_end": 0.5
    },
}  # fmt: skip


def _row(pipeline: str, model: str, **further: Any) -> Row:
    return Row(pipeline, model, "euler", **further)


_FURTHER: dict[str, Any] = {"crossed": (), "halves": ("plain",)}
"""Models beside the first of a class: what schedulers and dtypes change does not depend on them."""

CONTROLNET_SDXL = Family(
    name="controlnet_sdxl",
    models={
        "sdxl": _controlled("sdxl", tiny_controlnet, 1),
        "sdxl_two": _controlled("sdxl", tiny_controlnet, 1, 2),
        "sdxl_refiner": _controlled("sdxl_refiner", tiny_controlnet, 1),
        "sdxl_inpaint": _controlled("sdxl_inpaint", tiny_controlnet, 1),
    },
    call=SDXL.call,
    features=_FEATURES,
    crossed=(*CROSSED, "given timesteps"),
    solvers=SDXL.solvers,
    begins=SDXL.begins,
    beside=SDXL,
    rows=(
        _row(
            TXT2IMG, "sdxl", call={"image": FIRST}, change=WEAKER,
            features={**of_one_picture("image"), **_ANY_SIZE, "non-square": {"image": _WIDE}},
        ),
        _row(
            TXT2IMG, "sdxl_two", call={"image": [FIRST, SECOND]}, **_FURTHER,
            features={**of_two_pictures("image"), **_ANY_SIZE, "non-square": {"image": _WIDER}},
        ),
        _row(
            IMG2IMG, "sdxl", call={**_ONE, **_PICTURE}, change=WEAKER,
            features={**of_one_picture("control_image"), **_OF_PICTURES},
        ),
        _row(
            IMG2IMG, "sdxl_two", call={**_TWO, **_PICTURE}, **_FURTHER,
            features={**of_two_pictures("control_image"), **_OF_PICTURES_BY_TWO},
        ),
        _row(
            # Diffusers fails to put the score to a size that it finds itself.
            IMG2IMG, "sdxl_refiner", **_FURTHER,
            call={**_ONE, **_PICTURE, "original_size": (64, 64)},
            features={**of_one_picture("control_image"), **_OF_PICTURES, **_BEAUTY},
        ),
        _row(
            INPAINT, "sdxl", call={**_ONE, **_MASKED}, change=WEAKER,
            features={**of_one_picture("control_image"), **_OF_MASKS},
        ),
        _row(
            INPAINT, "sdxl_two", call={**_TWO, **_MASKED}, **_FURTHER,
            features={**of_two_pictures("control_image"), **_OF_MASKS_BY_TWO},
        ),
        _row(
            INPAINT, "sdxl_inpaint", call={**_ONE, **_MASKED}, **_FURTHER,
            features={**of_one_picture("control_image"), **_OF_MASKS},
        ),
        _row(
            INPAINT, "sdxl_refiner", call={**_ONE, **_MASKED}, **_FURTHER,
            features={**of_one_picture("control_image"), **_OF_MASKS, **_BEAUTY},
        ),
    ),
)  # fmt: skip

_UNIONS: dict[str, Any] = {
    **_FURTHER,
    "refused": {"saved": "Diffusers does not find the class of several unions to load"},
}

CONTROLNET_UNION = Family(
    name="controlnet_union",
    models={
        "sdxl_union": _controlled("sdxl", tiny_union, 1),
        "sdxl_unions": _controlled("sdxl", tiny_union, 1, 2),
        "sdxl_refiner_union": _controlled("sdxl_refiner", tiny_union, 1),
    },
    call=SDXL.call,
    features=_FEATURES,
    crossed=CONTROLNET_SDXL.crossed,
    solvers=SDXL.solvers,
    begins=SDXL.begins,
    beside=SDXL,
    rows=(
        _row(
            UNION, "sdxl_union", call=_KIND, change=WEAKER,
            features={**_OF_UNION, **_ANY_SIZE, "non-square": {"control_image": _WIDE}},
        ),
        _row(
            UNION, "sdxl_unions", call=_KINDS, **_UNIONS,
            features={**_OF_UNIONS, **_ANY_SIZE, "non-square": {"control_image": _WIDER}},
        ),
        _row(
            UNION_IMG2IMG, "sdxl_union", call={**_KIND, **_PICTURE}, change=WEAKER,
            features={**_OF_UNION, **_OF_PICTURES},
        ),
        _row(
            UNION_IMG2IMG, "sdxl_unions", call={**_KINDS, **_PICTURE}, **_UNIONS,
            features={**_OF_UNIONS, **_OF_PICTURES_BY_TWO},
        ),
        _row(
            UNION_IMG2IMG, "sdxl_refiner_union", call={**_KIND, **_PICTURE}, **_FURTHER,
            features={**_OF_UNION, **_OF_PICTURES, **_BEAUTY},
        ),
        _row(
            UNION_INPAINT, "sdxl_union", call={**_KIND, **_MASKED}, change=WEAKER,
            features={**_OF_UNION, **_OF_MASKS_BY_UNION},
        ),
        _row(
            UNION_INPAINT, "sdxl_unions", call={**_KINDS, **_MASKED}, **_UNIONS,
            features={**_OF_UNIONS, **_OF_MASKS_BY_TWO},
        ),
        _row(
            UNION_INPAINT, "sdxl_refiner_union", call={**_KIND, **_MASKED}, **_FURTHER,
            features={**_OF_UNION, **_OF_MASKS_BY_UNION, **_BEAUTY},
        ),
    ),
)  # fmt: skip
