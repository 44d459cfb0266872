"""Stable Diffusion XL: base, refiner, 4 and 9 channels, and a UNet that reads the scale."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import LCMScheduler

from tests.parity.families.alpha_solvers import SOLVERS
from tests.parity.family import GLOBAL, Family, Made, Row
from tests.pipelines.conftest import generator
from tests.pipelines.pictures import mask, picture
from tests.tiny_sdxl import tiny_sdxl

TXT2IMG, IMG2IMG = "StableDiffusionXLPipeline", "StableDiffusionXLImg2ImgPipeline"
INPAINT = "StableDiffusionXLInpaintPipeline"


def _normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=generator(seed))


_EMBEDS = (
    "prompt_embeds",
    "pooled_prompt_embeds",
    "negative_prompt_embeds",
    "negative_pooled_prompt_embeds",
)


def _given_embeddings(pipe: Any) -> dict[str, Any]:
    width = pipe.unet.config.cross_attention_dim
    return {
        "prompt": None,
        "prompt_embeds": _normal(1, 1, 77, width),
        "pooled_prompt_embeds": _normal(2, 1, 24),
        "negative_prompt_embeds": _normal(3, 1, 77, width),
        "negative_pooled_prompt_embeds": _normal(4, 1, 24),
    }


def _lcm(cls: type) -> Any:
    pipe = tiny_sdxl("sdxl", cls, unet={"time_cond_proj_dim": 16})
    pipe.scheduler = LCMScheduler.from_config(pipe.scheduler.config)
    return pipe


_TWO = {"prompt": ["a cat", "a dog"]}
_PICTURE = {"image": picture(), "strength": 0.7}
_MASKED = {"image": picture(), "mask_image": mask(), "strength": 0.8}
_TURNED = picture().rotate(90)
_ON_THEIR_WAY = {"image": _normal(5, 1, 4, 8, 8), "strength": None, "num_inference_steps": 8}
_OF_PICTURES = {
    "non-square": {"image": picture(96, 64)},
    "all anew": {"strength": 1.0},
    "two pictures": {**_TWO, "image": [picture(), _TURNED], "generator": [1, 2]},
}
_UNREAD = "Diffusers has the argument and does not read it"
_OF_BASE = {
    **_OF_PICTURES,
    "given latents": _UNREAD,
    "latents on their way": {**_ON_THEIR_WAY, "denoising_start": 0.5},
    "a part of the way": {**_ON_THEIR_WAY, "denoising_start": 0.3, "denoising_end": 0.7},
}
_OF_MASKS = {
    **_OF_PICTURES,
    "non-square": {
        "image": picture(96, 64), "mask_image": mask(96, 64), "height": 64, "width": 96
    },
    "two pictures": {
        **_TWO, "image": [picture(), _TURNED], "mask_image": [mask(), mask().rotate(90)],
        "generator": [1, 2],
    },
    "a mask around a part": {"padding_mask_crop": 4, "output_type": "pil"},
    "a part of the way": {
        "denoising_start": 0.3, "denoising_end": 0.7, "strength": None, "num_inference_steps": 8
    },
    "masked latents": {"masked_image_latents": _normal(9, 1, 4, 8, 8)},
    "picture as latents": {"image": _normal(8, 1, 4, 8, 8)},
    "latents on their way": {**_ON_THEIR_WAY, "denoising_start": 0.5},
}  # fmt: skip
_UNCOVERED = "Diffusers takes nothing out of latents, and has no masked picture to read then"
_OF_READ_MASKS = {
    **_OF_MASKS, "picture as latents": _UNCOVERED, "latents on their way": _UNCOVERED,
}  # fmt: skip
_BEAUTY = {"aesthetic score": {"aesthetic_score": 7.0, "negative_aesthetic_score": 2.0}}
_OF_REFINER = {**_OF_BASE, **_BEAUTY}
_NO_SCORE = {"aesthetic score": "the base does not read how beautiful the picture is to be"}

SDXL = Family(
    name="sdxl",
    models={
        "sdxl": lambda cls: tiny_sdxl("sdxl", cls),
        "sdxl_encodes_empty": lambda cls: tiny_sdxl(
            "sdxl", cls, force_zeros_for_empty_prompt=False
        ),
        "sdxl_lcm": _lcm,
        "sdxl_inpaint": lambda cls: tiny_sdxl("sdxl_inpaint", cls),
        "sdxl_refiner": lambda cls: tiny_sdxl("sdxl_refiner", cls),
    },
    call={"prompt": "a cat", "num_inference_steps": 3},
    features={
        "plain": {},
        "negative": {"negative_prompt": "a dog"},
        "empty negative": {"negative_prompt": ""},
        "second negative alone": {"negative_prompt_2": "a dog"},
        "prompts for each encoder": {
            "prompt_2": "a red dog", "negative_prompt": "ugly", "negative_prompt_2": "blurry"
        },
        "batch of 2": _TWO,
        "two per prompt": {"num_images_per_prompt": 2},
        "batch of 2, two per prompt": {
            **_TWO, "negative_prompt": ["ugly", ""], "num_images_per_prompt": 2
        },
        "no guidance": {"guidance_scale": 1.0, "negative_prompt": "ugly"},
        "rescale": {"guidance_rescale": 0.5},
        "non-square": {"height": 64, "width": 96},
        "given latents": {"latents": _normal(8, 1, 4, 8, 8)},
        "given embeddings": Made(_EMBEDS, _given_embeddings),
        "list of generators": {**_TWO, "generator": [1, 2]},
        "the global generator": {"generator": GLOBAL},
        "given sigmas": {"sigmas": [14.0, 5.0, 1.0], "num_inference_steps": None},
        "given timesteps": {"timesteps": [801, 401, 21], "num_inference_steps": None},
        "clip skip": {"clip_skip": 1},
        "eta": {"eta": 0.5},
        "sizes": {
            "original_size": (100, 200), "crops_coords_top_left": (3, 4),
            "target_size": (50, 60), "negative_original_size": (10, 20),
            "negative_crops_coords_top_left": (1, 2), "negative_target_size": (30, 40),
        },
        "an end": {"denoising_end": 0.6, "num_inference_steps": 6},
        "as PIL": {"output_type": "pil"},
    },
    crossed=("plain", "two per prompt", "list of generators", "given sigmas", "given timesteps"),
    solvers=SOLVERS,
    begins="add_noise",
    rows=(
        Row(TXT2IMG, "sdxl", "euler"),
        Row(TXT2IMG, "sdxl_encodes_empty", "euler"),
        Row(TXT2IMG, "sdxl_lcm", "lcm"),
        Row(
            IMG2IMG, "sdxl", "euler", call=_PICTURE, features={**_OF_BASE, **_NO_SCORE},
        ),
        Row(
            IMG2IMG, "sdxl_refiner", "euler", call=_PICTURE, features=_OF_REFINER,
        ),
        Row(
            INPAINT, "sdxl", "euler", call=_MASKED, features={**_OF_MASKS, **_NO_SCORE},
        ),
        Row(
            INPAINT, "sdxl_refiner", "euler", call=_MASKED, features={**_OF_MASKS, **_BEAUTY},
        ),
        Row(
            INPAINT, "sdxl_inpaint", "euler", call=_MASKED,
            features={**_OF_READ_MASKS, **_NO_SCORE},
        ),
    ),
)  # fmt: skip
