"""Stable Diffusion 3 and 3.5, with and without T5, 16 and 33 channels."""

from __future__ import annotations

import torch

from tests.parity.family import GLOBAL, Family, Row, Solver
from tests.pipelines.conftest import generator
from tests.pipelines.pictures import mask, picture
from tests.tiny_sd3 import KINDS, tiny_sd3

TXT2IMG, IMG2IMG = "StableDiffusion3Pipeline", "StableDiffusion3Img2ImgPipeline"
INPAINT = "StableDiffusion3InpaintPipeline"


def _normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=generator(seed))


_TWO = {"prompt": ["a cat", "a dog"]}
_LATENTS = _normal(8, 1, 16, 8, 8)
_PICTURE = {"image": picture(), "strength": 0.7}
_MASKED = {"image": picture(), "mask_image": mask(), "strength": 0.8}
_SKIPPED = {
    "skip_guidance_layers": [0, 1], "skip_layer_guidance_start": 0.1,
    "skip_layer_guidance_stop": 0.7, "num_inference_steps": 5,
}  # fmt: skip
_OF_TEXTS = {
    "skipped layers": _SKIPPED,
    "skipped layers, batch of 2": {
        **_SKIPPED, **_TWO, "num_images_per_prompt": 2, "skip_layer_guidance_scale": 1.5
    },
    "skipped layers, no guidance": {**_SKIPPED, "guidance_scale": 1.0},
    "latents of another size": {"latents": _normal(8, 1, 16, 8, 12)},
    "a height alone": {"height": 96},
}  # fmt: skip
_OF_PICTURES = {
    "all anew": {"strength": 1.0},
    "part of a step": {"strength": 0.63, "num_inference_steps": 7},
    # With generators of their own Diffusers wants a picture for each.
    "list of generators": {**_TWO, "image": [picture(), picture(seed=8)], "generator": [1, 2]},
    "picture as latents": {"image": _LATENTS},
}
_OF_MASKS = {
    "all anew": {"strength": 1.0},
    "two pictures": {
        **_TWO, "image": [picture(), picture(seed=8)], "mask_image": [mask(), mask().rotate(90)],
        "generator": [1, 2],
    },
    "a mask around a part": {"padding_mask_crop": 4, "output_type": "pil"},
}  # fmt: skip
_FURTHER = {**_OF_MASKS, "masked latents": {"masked_image_latents": _LATENTS}}
_FLOW = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0}
_EULER = "FlowMatchEulerDiscreteScheduler"

_BY_SIZE = {"flow_heun": "its set_timesteps takes no mu, and 3.5 shifts the schedule by the size"}

SD3 = Family(
    name="sd3",
    models={kind: lambda cls, kind=kind: tiny_sd3(kind, cls) for kind in KINDS},
    call={"prompt": "a cat", "num_inference_steps": 3},
    features={
        "plain": {},
        "negative": {"negative_prompt": "a dog"},
        "empty negative": {"negative_prompt": ""},
        "third negative alone": {"negative_prompt_3": "a dog"},
        "prompts for each encoder": {
            "prompt_2": "a red dog", "prompt_3": "on the house", "negative_prompt": "ugly",
            "negative_prompt_2": "blurry", "negative_prompt_3": "the house",
        },
        "batch of 2": _TWO,
        "two per prompt": {"num_images_per_prompt": 2},
        "batch of 2, two per prompt": {
            **_TWO, "negative_prompt": ["", "ugly"], "num_images_per_prompt": 2
        },
        "no guidance": {"guidance_scale": 1.0, "negative_prompt": "ugly"},
        "non-square": {"height": 64, "width": 96},
        "given latents": {"latents": _LATENTS},
        "given embeddings": {
            "prompt": None,
            "prompt_embeds": _normal(1, 1, 90, 80),
            "pooled_prompt_embeds": _normal(2, 1, 64),
            "negative_prompt_embeds": _normal(3, 1, 90, 80),
            "negative_pooled_prompt_embeds": _normal(4, 1, 64),
        },
        "list of generators": {**_TWO, "generator": [1, 2]},
        "the global generator": {"generator": GLOBAL},
        "given sigmas": {"sigmas": [1.0, 0.6, 0.2], "num_inference_steps": None},
        "clip skip, few tokens": {"clip_skip": 1, "max_sequence_length": 9},
        "a shift": {"mu": 0.7},
        "as PIL": {"output_type": "pil"},
    },
    crossed=("plain", "two per prompt", "list of generators", "given sigmas"),
    solvers={
        "flow_euler": Solver(_EULER),
        "flow_euler karras": Solver(_EULER, {"use_karras_sigmas": True}),
        "flow_euler exponential": Solver(_EULER, {"use_exponential_sigmas": True}),
        "flow_euler beta": Solver(_EULER, {"use_beta_sigmas": True}),
        "flow_euler terminal": Solver(_EULER, {"shift_terminal": 0.1}),
        "flow_euler linear": Solver(
            _EULER, {"use_dynamic_shifting": True, "time_shift_type": "linear"}
        ),
        "flow_euler stochastic": Solver(_EULER, {"stochastic_sampling": True}, draws=True),
        "flow_heun": Solver("FlowMatchHeunDiscreteScheduler"),
        "flow_lcm": Solver("FlowMatchLCMScheduler", draws=True),
        "dpmpp_2m": Solver("DPMSolverMultistepScheduler", _FLOW),
        "dpmpp_2m_sde": Solver(
            "DPMSolverMultistepScheduler",
            {**_FLOW, "algorithm_type": "sde-dpmsolver++"},
            node="solver/dpmpp_2m_sde",
            draws=True,
        ),
        "dpmpp_2s": Solver("DPMSolverSinglestepScheduler", _FLOW),
        "deis": Solver("DEISMultistepScheduler", _FLOW),
        "unipc": Solver(
            "UniPCMultistepScheduler",
            _FLOW,
            unlike={"given sigmas": "UniPC fails on a list of sigmas, which Diffusers hands it"},
        ),
    },
    begins="scale_noise",
    rows=(
        Row(TXT2IMG, "sd3", "flow_euler", features=_OF_TEXTS),
        Row(TXT2IMG, "sd35", "flow_euler", features=_OF_TEXTS, refused=_BY_SIZE),
        Row(TXT2IMG, "sd3_no_t5", "flow_euler", features=_OF_TEXTS),
        Row(IMG2IMG, "sd3", "flow_euler", call=_PICTURE, features=_OF_PICTURES),
        Row(IMG2IMG, "sd35", "flow_euler", call=_PICTURE, features=_OF_PICTURES, refused=_BY_SIZE),
        Row(INPAINT, "sd3", "flow_euler", call=_MASKED, features=_OF_MASKS),
        Row(INPAINT, "sd35", "flow_euler", call=_MASKED, features=_OF_MASKS, refused=_BY_SIZE),
        Row(INPAINT, "sd3_inpaint", "flow_euler", call=_MASKED, features=_FURTHER),
    ),
)  # fmt: skip
