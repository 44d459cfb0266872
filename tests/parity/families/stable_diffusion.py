"""Stable Diffusion 1.x and 2.x: epsilon and v, 4 and 9 channels, and the model in the box."""

from __future__ import annotations

from typing import Any

import torch

from tests.parity.families.alpha_solvers import SOLVERS
from tests.parity.family import GLOBAL, Family, Made, Row
from tests.pipelines.conftest import generator
from tests.pipelines.pictures import mask, picture
from tests.tiny_models import tiny_pipeline
from yggdrasil.hub.zoo_models import zoo_models

TXT2IMG, IMG2IMG = "StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline"
INPAINT = "StableDiffusionInpaintPipeline"

_TWO = {"prompt": ["a photo of a red cat", "the blurry blue dog on a house"]}


def _given_latents(pipe: Any) -> dict[str, Any]:
    side = 64 // pipe.vae_scale_factor
    return {"latents": torch.randn((1, 4, side, side), generator=generator(6))}


def _given_embeddings(pipe: Any) -> dict[str, Any]:
    draws = generator(5)
    shape = (1, pipe.tokenizer.model_max_length, pipe.text_encoder.config.hidden_size)
    return {
        "prompt": None,
        "prompt_embeds": torch.randn(shape, generator=draws),
        "negative_prompt_embeds": torch.randn(shape, generator=draws),
    }


_PICTURE = {"image": picture(), "strength": 0.75}
_MASKED = {**_PICTURE, "mask_image": mask()}
_WIDE = {"height": 64, "width": 96}
_WIDE_PICTURE = {"image": picture(96, 64)}
_WIDE_MASKED = {**_WIDE, **_WIDE_PICTURE, "mask_image": mask(96, 64, (8, 16, 48, 56))}
_OF_PICTURES = {
    "non-square": _WIDE_PICTURE,
    "all anew": {"strength": 1.0},
    "two pictures": {**_TWO, "image": [picture(), picture(seed=3)], "generator": [1, 2]},
}
_OF_MASKS = {
    **_OF_PICTURES,
    "non-square": _WIDE_MASKED,
    "two pictures": {
        **_TWO, "image": [picture(), picture(seed=3)], "mask_image": [mask(), mask()],
        "generator": [1, 2],
    },
    "a mask around a part": {"padding_mask_crop": 4, "output_type": "pil"},
    "masked latents": {"masked_image_latents": torch.randn(1, 4, 8, 8, generator=generator(9))},
}  # fmt: skip
_OF_BOXED_MASKS = {name: value for name, value in _OF_MASKS.items() if name != "masked latents"}


def _rows(pipeline: str, models: dict[str, str], **shared: Any) -> tuple[Row, ...]:
    return tuple(Row(pipeline, model, solver, **shared) for model, solver in models.items())


_MODELS = {"sd15": "pndm", "sd2": "ddim"}
_BOX = {"zoo": "ddim"} if "zoo/shapes" in zoo_models() else {}

STABLE_DIFFUSION = Family(
    name="stable_diffusion",
    models={
        **{
            kind: lambda cls, kind=kind: tiny_pipeline(kind, cls)
            for kind in ("sd15", "sd2", "sd15_inpaint", "sd2_inpaint")
        },
        "zoo": lambda cls: cls.from_pretrained(str(zoo_models()["zoo/shapes"])),
    },
    call={
        "prompt": "a photo of a red cat on the blue house",
        "num_inference_steps": 4,
        "guidance_scale": 6.0,
    },
    features={
        "plain": {},
        "negative": {"negative_prompt": "ugly, blurry"},
        "empty negative": {"negative_prompt": ""},
        "batch of 2": _TWO,
        "two per prompt": {"num_images_per_prompt": 2},
        "batch of 2, two per prompt": {**_TWO, "num_images_per_prompt": 2},
        "no guidance": {"guidance_scale": 1.0, "negative_prompt": "ugly"},
        "rescale": {"guidance_rescale": 0.7},
        "non-square": _WIDE,
        "given latents": Made(("latents",), _given_latents),
        "given embeddings": Made(
            ("prompt_embeds", "negative_prompt_embeds"), _given_embeddings
        ),
        "list of generators": {**_TWO, "generator": [1, 2]},
        "the global generator": {"generator": GLOBAL},
        "given sigmas": {"sigmas": [14.0, 5.0, 1.0], "num_inference_steps": None},
        "given timesteps": {"timesteps": [801, 401, 21], "num_inference_steps": None},
        "eta": {"eta": 0.5},
        "as PIL": {"output_type": "pil"},
    },
    crossed=(
        "plain", "negative", "batch of 2", "two per prompt", "no guidance", "rescale",
        "non-square", "given latents", "given embeddings", "list of generators",
        "given sigmas", "given timesteps",
    ),
    solvers=SOLVERS,
    begins="add_noise",
    rows=(
        *_rows(TXT2IMG, {**_MODELS, **_BOX}),
        *_rows(IMG2IMG, {**_MODELS, **_BOX}, call=_PICTURE, features=_OF_PICTURES),
        *_rows(INPAINT, _MODELS, call=_MASKED, features=_OF_MASKS),
        *_rows(INPAINT, _BOX, call=_MASKED, features=_OF_BOXED_MASKS),
        *_rows(
            INPAINT, {"sd15_inpaint": "pndm", "sd2_inpaint": "ddim"}, call=_MASKED,
            features=_OF_MASKS,
        ),
    ),
)  # fmt: skip
