"""FLUX.1: dev, schnell, Fill, Kontext, Control and Redux."""

from __future__ import annotations

from typing import Any

import torch

from tests.parity.family import GLOBAL, Family, Made, Row, Solver
from tests.pipelines.conftest import generator
from tests.pipelines.pictures import mask, picture
from tests.tiny_flux import tiny_flux, tiny_redux


def _normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=generator(seed))


_TWO = {"prompt": ["a cat", "a dog"]}
_GUIDED = {"true_cfg_scale": 2.0}
_EMBEDS = {
    "prompt": None, "max_sequence_length": None,
    "prompt_embeds": _normal(1, 1, 24, 32), "pooled_prompt_embeds": _normal(2, 1, 32),
}  # fmt: skip
_PACKED, _LATENTS = _normal(8, 1, 16, 16), _normal(8, 1, 4, 8, 8)
_TURNED = picture().rotate(90)
_PICTURE = {"image": picture(), "strength": 0.7}
_MASKED = {"image": picture(), "mask_image": mask()}
_STEER = {"control_image": picture(seed=3)}
_SEEN = {"max_area": 64 * 64, "_auto_resize": False, "image": picture()}
_TWO_PICTURES = {**_TWO, "generator": [1, 2], "image": [picture(), _TURNED]}
_OF_PICTURES = {
    "two pictures": _TWO_PICTURES,
    "all anew": {"strength": 1.0},
    "part of a step": {"num_inference_steps": 7},
    "picture as latents": {"image": _LATENTS},
}
_OF_MASKS = {
    "two pictures": {**_TWO_PICTURES, "mask_image": [mask(), mask().rotate(90)]},
    "all anew": {"strength": 1.0},
    "part of a step": {"strength": 0.63, "num_inference_steps": 7},
    "given latents": {"latents": _LATENTS},
    "a mask around a part": {"padding_mask_crop": 4, "output_type": "pil"},
}
_OF_FILL = {
    "two pictures": {**_TWO_PICTURES, "mask_image": [mask(), mask().rotate(90)]},
    "part of a step": {"strength": 0.63, "num_inference_steps": 7},
}
_OF_KONTEXT = {
    "two pictures": _TWO_PICTURES,
    "without a picture": {"image": None, "_auto_resize": None},
    "non-square": {"image": picture(100, 50), "width": 128, "height": 40},
    "picture as latents": {"image": _LATENTS, "_auto_resize": None, "latents": _PACKED},
    # The sizes that it was trained at are large.
    "a size of training": {"_auto_resize": True, "num_inference_steps": 1},
}
_OF_CONTROL = {
    "two pictures": {
        **_TWO, "num_images_per_prompt": 2, "control_image": [picture(seed=3), _TURNED]
    },
    "control by a tensor": {"control_image": _normal(5, 1, 3, 64, 64)},
}  # fmt: skip
_OF_STEERED_PICTURES = {
    **_OF_PICTURES,
    **_OF_CONTROL,
    "two pictures": {**_TWO_PICTURES, "control_image": [picture(seed=3), _TURNED]},
    "picture as latents": "Diffusers encodes whatever it is given there",
}
_OF_STEERED_MASKS = {
    **_OF_CONTROL,
    "two pictures": {
        **_TWO_PICTURES, "mask_image": [mask(), mask().rotate(90)],
        "control_image": [picture(seed=3), _TURNED],
    },
    "all anew": {"strength": 1.0},
    "part of a step": {"strength": 0.63, "num_inference_steps": 7},
    "given latents": "Diffusers unpacks four values from the two that it has then",
}  # fmt: skip
_OF_CHANGED_MASKS = {
    "two pictures": {**_TWO_PICTURES, "mask_image": [mask(), mask().rotate(90)]},
    "a part of the way": {"strength": 0.7},
    "part of a step": {"strength": 0.63, "num_inference_steps": 7},
    "given latents": {"latents": _LATENTS},
    "non-square": {"image": picture(100, 70), "mask_image": mask(100, 70)},
    "a mask around a part": {"padding_mask_crop": 4, "output_type": "pil"},
    "a reference": {"image_reference": picture(96, 64, seed=3)},
    "a reference, batch of 2": {
        **_TWO, "num_images_per_prompt": 2, "image_reference": picture(96, 64, seed=3)
    },
    # The sizes that it was trained at are large.
    "a size of training": {"_auto_resize": True, "num_inference_steps": 1},
}  # fmt: skip
_EACH_AND_TOGETHER = {
    "image": [picture(), picture(seed=3)],
    "prompt_embeds_scale": [1.0, 0.5],
    "pooled_prompt_embeds_scale": [0.5, 0.7],
}


def _beside_embeddings(pipe: Any) -> dict[str, Any]:
    width = pipe.image_embedder.redux_down.out_features
    return {
        "prompt": None,
        "prompt_embeds": _normal(1, 1, 24, width),
        "pooled_prompt_embeds": _normal(2, 1, 32),
        "prompt_embeds_scale": 0.4,
    }


_OF_REDUX = {
    "two pictures": _EACH_AND_TOGETHER,
    "given embeddings": Made(
        ("prompt_embeds", "pooled_prompt_embeds", "prompt_embeds_scale"), _beside_embeddings
    ),
}
_OF_REDUX_WITH_TEXTS = {
    **_OF_REDUX,
    "prompts for each": {
        "image": _EACH_AND_TOGETHER["image"], "prompt": ["a", "b"], "prompt_2": ["c", "d"]
    },
}  # fmt: skip
_NO_PICTURE = dict.fromkeys(("num_inference_steps", "height", "width", "max_sequence_length"))
_REDUX: dict[str, Any] = {**_NO_PICTURE, "image": picture()}
_OTHER = {"image": picture(seed=3)}
_ONE_TEXT = "a picture has one prompt"
_NO_TEXTS = "without text encoders it reads no prompt"
_OF_REDUX_ALONE = {
    **_OF_REDUX, "batch of 2": _NO_TEXTS, "prompts for each encoder": _NO_TEXTS,
    "given embeddings": "without text encoders Diffusers reads no embeddings, YggDrasil does",
}  # fmt: skip
_EULER = "FlowMatchEulerDiscreteScheduler"
_FLOW = {
    "prediction_type": "flow_prediction", "use_flow_sigmas": True, "use_dynamic_shifting": True
}  # fmt: skip
_MULTISTEP = ("deis", "dpmpp_2m", "dpmpp_2s")
_ONLY_FLUX = dict.fromkeys(
    _MULTISTEP,
    "of FLUX's pipelines FluxPipeline alone leaves the schedule to schedulers with flow sigmas; "
    "the others hand it as sigmas, which this one does not take",
)
_UNREAD = {
    "given sigmas": "with flow sigmas of the scheduler's own FluxPipeline reads none of the "
    "caller's, which YggDrasil does; the other classes fail on the list"
}
_AS_SIGMAS = "is given the schedule as sigmas, which its set_timesteps does not take"

FLUX = Family(
    name="flux",
    models={
        "flux": lambda cls: tiny_flux("flux", cls),
        "flux_schnell": lambda cls: tiny_flux("flux_schnell", cls),
        "flux_fill": lambda cls: tiny_flux("flux_fill", cls),
        "flux_control": lambda cls: tiny_flux("flux_control", cls),
        "redux": lambda _: tiny_redux(texts=True),
        "redux_alone": lambda _: tiny_redux(texts=False),
    },
    call={
        "prompt": "a cat", "height": 64, "width": 64, "num_inference_steps": 3,
        "max_sequence_length": 24,
    },
    features={
        "plain": {},
        "negative": {"negative_prompt": "a dog", **_GUIDED},
        "empty negative": {"negative_prompt": "", **_GUIDED},
        "no negative": _GUIDED,
        "negative without a scale": {"negative_prompt": "a dog"},
        "second negative alone": {"negative_prompt_2": "a dog", **_GUIDED},
        "prompts for each encoder": {"prompt_2": "a red dog"},
        "negatives for each encoder": {
            "negative_prompt": "ugly", "negative_prompt_2": "blurry", **_GUIDED
        },
        "batch of 2": _TWO,
        "batch of 2, negative": {**_TWO, "negative_prompt": ["", "a"], **_GUIDED},
        "two per prompt": {"num_images_per_prompt": 2},
        "batch of 2, two per prompt": {**_TWO, "num_images_per_prompt": 2},
        "no guidance": {"guidance_scale": 1.0},
        "non-square": {"width": 96},
        "no multiple": {"height": 70, "width": 90},
        "given latents": {"latents": _PACKED},
        "given embeddings": _EMBEDS,
        "given negative embeddings": {
            **_EMBEDS, **_GUIDED,
            "negative_prompt_embeds": _normal(3, 1, 24, 32),
            "negative_pooled_prompt_embeds": _normal(4, 1, 32),
        },
        "list of generators": {**_TWO, "generator": [1, 2]},
        "the global generator": {"generator": GLOBAL},
        "given sigmas": {"sigmas": [1.0, 0.7, 0.2], "num_inference_steps": None},
        "as PIL": {"output_type": "pil"},
    },
    crossed=("plain", "two per prompt", "list of generators", "given sigmas"),
    solvers={
        "flow_euler": Solver(_EULER),
        "flow_euler unshifted": Solver(_EULER, {"use_dynamic_shifting": False}),
        "flow_euler linear": Solver(
            _EULER, {"use_dynamic_shifting": True, "time_shift_type": "linear"}
        ),
        "flow_euler karras": Solver(_EULER, {"use_karras_sigmas": True}),
        "flow_euler exponential": Solver(_EULER, {"use_exponential_sigmas": True}),
        "flow_euler beta": Solver(_EULER, {"use_beta_sigmas": True}),
        "flow_euler terminal": Solver(_EULER, {"shift_terminal": 0.02}),
        "flow_euler stochastic": Solver(_EULER, {"stochastic_sampling": True}, draws=True),
        "flow_lcm": Solver("FlowMatchLCMScheduler", draws=True),
        "dpmpp_2m": Solver("DPMSolverMultistepScheduler", _FLOW),
        "dpmpp_2s": Solver("DPMSolverSinglestepScheduler", _FLOW),
        "deis": Solver("DEISMultistepScheduler", _FLOW),
        "unipc": Solver("UniPCMultistepScheduler", _FLOW, unlike=_UNREAD),
    },
    refused={"FlowMatchHeunDiscreteScheduler": _AS_SIGMAS},
    begins="scale_noise",
    rows=(
        Row("FluxPipeline", "flux", "flow_euler"),
        Row("FluxPipeline", "flux_schnell", "flow_euler"),
        Row("FluxImg2ImgPipeline", "flux", "flow_euler", call=_PICTURE, features=_OF_PICTURES),
        Row(
            "FluxImg2ImgPipeline", "flux_schnell", "flow_euler", call=_PICTURE,
            features=_OF_PICTURES,
        ),
        Row(
            "FluxInpaintPipeline", "flux", "flow_euler", call=_MASKED, features=_OF_MASKS,
        ),
        Row("FluxFillPipeline", "flux_fill", "flow_euler", call=_MASKED, features=_OF_FILL),
        Row(
            "FluxKontextPipeline", "flux", "flow_euler", call=_SEEN, features=_OF_KONTEXT,
            refused=_ONLY_FLUX,
        ),
        Row(
            "FluxControlPipeline", "flux_control", "flow_euler", call=_STEER, features=_OF_CONTROL,
            refused=_ONLY_FLUX,
        ),
        Row(
            "FluxControlImg2ImgPipeline", "flux_control", "flow_euler",
            call={**_STEER, **_PICTURE}, features=_OF_STEERED_PICTURES,
        ),
        Row(
            "FluxControlInpaintPipeline", "flux_control", "flow_euler",
            call={**_STEER, **_MASKED}, features=_OF_STEERED_MASKS,
        ),
        Row(
            "FluxKontextInpaintPipeline", "flux", "flow_euler",
            call={**_MASKED, "_auto_resize": False}, features=_OF_CHANGED_MASKS,
        ),
        Row(
            "FluxPriorReduxPipeline", "redux", "", call=_REDUX,
            features={**_OF_REDUX_WITH_TEXTS, "batch of 2": _ONE_TEXT}, change=_OTHER,
        ),
        Row(
            "FluxPriorReduxPipeline", "redux_alone", "", call={**_REDUX, "prompt": None},
            features=_OF_REDUX_ALONE, change=_OTHER,
        ),
    ),
)  # fmt: skip
