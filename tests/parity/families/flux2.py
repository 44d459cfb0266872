"""FLUX.2: dev, and klein with its inpainting, guided and distilled."""

from __future__ import annotations

import torch
from PIL import Image

from tests.parity.families.flux import FLUX
from tests.parity.family import GLOBAL, Family, Row
from tests.pipelines.conftest import generator
from tests.pipelines.pictures import mask, picture
from tests.tiny_flux2 import tiny_flux2

DEV, KLEIN, INPAINT = "Flux2Pipeline", "Flux2KleinPipeline", "Flux2KleinInpaintPipeline"


def _normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=generator(seed))


_TWO = {"prompt": ["a cat", "a dog"]}
_LAYERS = "text_encoder_out_layers"
_EMBEDS = {"prompt": None, "prompt_embeds": _normal(1, 2, 24, 48)}
_UNLIKE = {"negative_prompt_embeds": _normal(2, 2, 24, 48)}
_WIDE, _TALL = picture(100, 70), picture(64, 130, seed=3)
_MASKED = {"image": picture(), "mask_image": mask()}
_OF_REFERENCES = {
    "a reference": {"image": _WIDE},
    "a reference, batch of 2": {**_TWO, "num_images_per_prompt": 2, "image": [_WIDE, _TALL]},
    "references of sizes of their own": {"image": [_WIDE, _TALL], "height": None},
    "the size of a reference": {"image": [_TALL, _WIDE], "height": None, "width": None},
    "a size of training": {
        "image": Image.new("RGB", (1400, 1100), "teal"), "num_inference_steps": 1
    },
}  # fmt: skip
_OF_DEV = {**_OF_REFERENCES, "words that stand for pictures": {"prompt": "a [IMG] cat"}}
_AWAY = {
    "given negative embeddings": {**_EMBEDS, **_UNLIKE},
    "negative embeddings beside a prompt": {**_TWO, **_UNLIKE, "guidance_scale": 2.0},
    # What it goes away from is encoded for each prompt, and here there is none.
    "given embeddings": {**_EMBEDS, "prompt_embeds": _normal(1, 1, 24, 48)},
}
_OF_KLEIN = {**_OF_REFERENCES, **_AWAY}
_OF_MASKS = {
    **_AWAY,
    "non-square": {"image": _WIDE, "mask_image": mask(100, 70)},
    "two pictures": {
        **_TWO, "generator": [1, 2], "image": [picture(), picture(seed=2)],
        "mask_image": [mask(), mask().rotate(90)],
    },
    "all anew": {"strength": 1.0},
    "part of a step": {"strength": 0.5, "num_inference_steps": 5},
    "picture as latents": {"image": _normal(9, 1, 16, 4, 4)},
    "a reference": {"image_reference": _WIDE},
    "a reference, batch of 2": {**_TWO, "num_images_per_prompt": 2, "image_reference": _TALL},
    "a mask around a part": {"padding_mask_crop": 4, "output_type": "pil"},
}  # fmt: skip
FLUX2 = Family(
    name="flux2",
    models={
        "flux2": lambda cls: tiny_flux2("flux2", cls),
        "flux2_klein": lambda cls: tiny_flux2("flux2_klein", cls),
        "flux2_klein_distilled": lambda cls: tiny_flux2("flux2_klein", cls, is_distilled=True),
    },
    call={
        "prompt": "a cat", "height": 64, "width": 64, "num_inference_steps": 3,
        "max_sequence_length": 64, _LAYERS: (1, 2, 3),
    },
    features={
        "plain": {},
        "batch of 2": _TWO,
        "two per prompt": {"num_images_per_prompt": 2},
        "batch of 2, two per prompt": {**_TWO, "num_images_per_prompt": 2},
        "no guidance": {"guidance_scale": 1.0},
        "non-square": {"width": 96},
        "no multiple": {"height": 70, "width": 90},
        "given latents": {"latents": _normal(8, 1, 16, 4, 4)},
        "given embeddings": _EMBEDS,
        "given embeddings, two for each": {**_EMBEDS, **_UNLIKE, "num_images_per_prompt": 2},
        "other layers": {_LAYERS: (0, 3, 1)},
        "a cut prompt": {"prompt": "a red cat on the blue house", "max_sequence_length": 12},
        "list of generators": {**_TWO, "generator": [1, 2]},
        "the global generator": {"generator": GLOBAL},
        # Their number does not say how far they are shifted, that of steps does.
        "given sigmas": {"sigmas": [1.0, 0.7, 0.2], "num_inference_steps": 5},
        "as PIL": {"output_type": "pil"},
    },
    crossed=FLUX.crossed,
    solvers=FLUX.solvers,
    refused=FLUX.refused,
    begins="scale_noise",
    rows=(
        Row(
            DEV, "flux2", "flow_euler",
            features={**_OF_DEV, "given embeddings, two for each": {
                **_EMBEDS, "num_images_per_prompt": 2
            }},
        ),
        Row(KLEIN, "flux2_klein", "flow_euler", features=_OF_KLEIN),
        Row(KLEIN, "flux2_klein_distilled", "flow_euler", features=_OF_KLEIN),
        Row(
            INPAINT, "flux2_klein", "flow_euler", call=_MASKED, features=_OF_MASKS
        ),
        Row(
            INPAINT, "flux2_klein_distilled", "flow_euler", call=_MASKED, features=_OF_MASKS,
        ),
    ),
)  # fmt: skip
