"""InstructPix2Pix of Stable Diffusion 1 and XL, CosXL among it: guided in three branches."""

from __future__ import annotations

from typing import Any

import torch

from tests.parity.families.alpha_solvers import SOLVERS
from tests.parity.family import GLOBAL, Family, Made, Row
from tests.pipelines.conftest import generator
from tests.pipelines.pictures import picture
from tests.tiny_models import tiny_pipeline
from tests.tiny_sdxl import tiny_sdxl

SD, XL = "StableDiffusionInstructPix2PixPipeline", "StableDiffusionXLInstructPix2PixPipeline"


def _normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=generator(seed))


def _given_embeddings(pipe: Any) -> dict[str, Any]:
    width = pipe.unet.config.cross_attention_dim
    return {
        "prompt": None,
        "prompt_embeds": _normal(1, 1, 77, width),
        "negative_prompt_embeds": _normal(2, 1, 77, width),
    }


def _given_pooled(pipe: Any) -> dict[str, Any]:
    return {
        **_given_embeddings(pipe),
        "pooled_prompt_embeds": _normal(3, 1, 24),
        "negative_pooled_prompt_embeds": _normal(4, 1, 24),
    }


_TWO = {"prompt": ["a cat", "a dog"]}
_TWO_PICTURES = {**_TWO, "image": [picture(), picture().rotate(90)]}
_EMBEDS = ("prompt_embeds", "negative_prompt_embeds")
_POOLED = ("pooled_prompt_embeds", "negative_pooled_prompt_embeds")
_OF_SD = {"non-square": {"image": picture(100, 70)}}
_OF_XL = {
    "non-square": {"height": 64, "width": 96},
    "given embeddings": Made((*_EMBEDS, *_POOLED), _given_pooled),
    "prompts for each encoder": {
        "prompt_2": "a red dog", "negative_prompt": "ugly", "negative_prompt_2": "blurry"
    },
    "prompts for each encoder, batch of 2": {**_TWO, "prompt_2": ["a", "the"]},
    "second negative alone": {"negative_prompt_2": "blurry"},
    "sizes": {
        "original_size": (32, 48), "crops_coords_top_left": (4, 8), "target_size": (50, 60)
    },
    "an end": {"denoising_end": 0.6, "num_inference_steps": 5},
}  # fmt: skip

INSTRUCT_PIX2PIX = Family(
    name="instruct_pix2pix",
    models={
        "sd15_edit": lambda cls: tiny_pipeline("sd15_edit", cls),
        "sdxl_edit": lambda cls: tiny_sdxl("sdxl_edit", cls),
        # Saved, it is the other: Diffusers saves nothing that says so.
        "cosxl_edit": lambda cls: tiny_sdxl("sdxl_edit", cls, is_cosxl_edit=True),
    },
    call={"prompt": "a red cat", "image": picture(), "num_inference_steps": 4},
    features={
        "plain": {},
        "negative": {"negative_prompt": "ugly, blurry"},
        "empty negative": {"negative_prompt": ""},
        "towards the picture": {"image_guidance_scale": 3.0, "guidance_scale": 2.0},
        "no guidance by the picture": {"image_guidance_scale": 0.9},
        "no guidance": {"guidance_scale": 1.0, "negative_prompt": "ugly"},
        "batch of 2": _TWO,
        "two per prompt": {"num_images_per_prompt": 2},
        "batch of 2, two per prompt": {
            **_TWO, "negative_prompt": ["ugly", ""], "num_images_per_prompt": 2
        },
        "rescale": {"guidance_rescale": 0.7},
        "non-square": {},
        "two pictures": _TWO_PICTURES,
        "list of generators": {**_TWO_PICTURES, "generator": [1, 2]},
        "picture as latents": {"image": _normal(5, 1, 4, 8, 8)},
        "given latents": {"latents": _normal(6, 1, 4, 8, 8)},
        "given embeddings": Made(_EMBEDS, _given_embeddings),
        "the global generator": {"generator": GLOBAL},
        "eta": {"eta": 0.5},
        "as PIL": {"output_type": "pil"},
    },
    crossed=(
        "plain", "negative", "no guidance", "two per prompt", "two pictures",
        "list of generators", "given latents",
    ),
    solvers=SOLVERS,
    begins="add_noise",
    rows=(
        Row(SD, "sd15_edit", "pndm", features=_OF_SD),
        Row(XL, "sdxl_edit", "euler", features=_OF_XL),
        Row(XL, "cosxl_edit", "euler", features=_OF_XL),
    ),
)  # fmt: skip
