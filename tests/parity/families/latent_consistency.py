"""Latent consistency models of Stable Diffusion, which read the guidance scale as an embedding."""

from __future__ import annotations

import torch

from tests.parity.families.alpha_solvers import SOLVERS
from tests.parity.family import GLOBAL, Family, Row, Solver
from tests.pipelines.conftest import generator
from tests.pipelines.pictures import picture
from tests.tiny_models import tiny_pipeline

TXT2IMG, IMG2IMG = "LatentConsistencyModelPipeline", "LatentConsistencyModelImg2ImgPipeline"


def _normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=generator(seed))


_TWO = {"prompt": ["a cat", "a dog"]}
_TIMES = {"timesteps": [999, 759, 279], "num_inference_steps": None}
_PICTURE = {"image": picture()}
_TURNED = picture().rotate(90)
_OF_PICTURES = {
    "non-square": {"image": picture(100, 70)},
    "all anew": {"strength": 1.0},
    "a small part": {"strength": 0.33},
    "given timesteps": {**_TIMES, "strength": 1.0},
    "a part of given timesteps": {**_TIMES, "strength": 0.7},
    "two pictures": {**_TWO, "image": [picture(), _TURNED], "generator": [1, 2]},
    "picture as latents": {"image": _normal(5, 1, 4, 8, 8)},
}  # fmt: skip
_DISTILLED = (
    "is asked for the schedule that the model was distilled from (original_inference_steps), which "
    "its set_timesteps does not take"
)
_TCD = "is handed eta=None by Diffusers, and calculates with it"


def _driven(solver: Solver) -> bool:
    return solver.scheduler == "LCMScheduler"


LATENT_CONSISTENCY = Family(
    name="latent_consistency",
    models={"lcm": lambda cls: tiny_pipeline("lcm", cls)},
    call={"prompt": "a red cat", "num_inference_steps": 4},
    features={
        "plain": {},
        "batch of 2": _TWO,
        "two per prompt": {"num_images_per_prompt": 2},
        "batch of 2, two per prompt": {**_TWO, "num_images_per_prompt": 2},
        "no guidance": {"guidance_scale": 1.0},
        "one step": {"num_inference_steps": 1},
        "steps of more": {"original_inference_steps": 100},
        "non-square": {"height": 64, "width": 96},
        "given latents": {"latents": _normal(6, 1, 4, 8, 8)},
        "given embeddings": {"prompt": None, "prompt_embeds": _normal(1, 2, 77, 32)},
        "list of generators": {**_TWO, "generator": [1, 2]},
        "the global generator": {"generator": GLOBAL},
        "given timesteps": _TIMES,
        "as PIL": {"output_type": "pil"},
    },
    crossed=(
        "plain", "two per prompt", "steps of more", "list of generators", "given timesteps",
    ),
    solvers={
        **{name: solver for name, solver in SOLVERS.items() if _driven(solver)},
        "lcm of 40": Solver("LCMScheduler", {"original_inference_steps": 40}),
        "lcm clipped": Solver("LCMScheduler", {"clip_sample": True}),
        "lcm thresholded": Solver("LCMScheduler", {"thresholding": True}),
        "lcm of velocity": Solver("LCMScheduler", {"prediction_type": "v_prediction"}),
    },
    refused={
        solver.scheduler: _TCD if solver.scheduler == "TCDScheduler" else _DISTILLED
        for solver in SOLVERS.values()
        if not _driven(solver)
    },
    begins="add_noise",
    rows=(
        Row(TXT2IMG, "lcm", "lcm"),
        Row(IMG2IMG, "lcm", "lcm", call=_PICTURE, features=_OF_PICTURES),
    ),
)  # fmt: skip
