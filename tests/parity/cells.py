"""Cells of the parity table: one call, made by Diffusers and by YggDrasil on the same modules."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import diffusers
import numpy as np
import torch
from PIL import Image

from tests.tiny_models import tiny_components
from yggdrasil import InferencePipeline
from yggdrasil.blocks.solver.catalog import solver_type_for
from yggdrasil.blocks.solver.shell import can_noise

PIPELINES = {
    "txt2img": diffusers.StableDiffusionPipeline,
    "img2img": diffusers.StableDiffusionImg2ImgPipeline,
    "inpaint4": diffusers.StableDiffusionInpaintPipeline,
    "inpaint9": diffusers.StableDiffusionInpaintPipeline,
}
MODELS = ("sd15", "sd2", "zoo")
SCHEDULERS = {
    "cogvideox_ddim": "CogVideoXDDIMScheduler",
    "consistency": "CMStochasticIterativeScheduler",
    "cosine_dpmpp_2m_sde": "CosineDPMSolverMultistepScheduler",
    "ddim": "DDIMScheduler",
    "ddim_inverse": "DDIMInverseScheduler",
    "ddim_parallel": "DDIMParallelScheduler",
    "ddpm": "DDPMScheduler",
    "ddpm_parallel": "DDPMParallelScheduler",
    "deis": "DEISMultistepScheduler",
    "dpm2": "KDPM2DiscreteScheduler",
    "dpm2_a": "KDPM2AncestralDiscreteScheduler",
    "dpmpp_2m": "DPMSolverMultistepScheduler",
    "dpmpp_2m_inverse": "DPMSolverMultistepInverseScheduler",
    "dpmpp_2m_sde": "DPMSolverMultistepScheduler",
    "dpmpp_2s": "DPMSolverSinglestepScheduler",
    "dpmpp_sde": "DPMSolverSDEScheduler",
    "edm_dpmpp_2m": "EDMDPMSolverMultistepScheduler",
    "edm_euler": "EDMEulerScheduler",
    "euler": "EulerDiscreteScheduler",
    "euler_a": "EulerAncestralDiscreteScheduler",
    "heun": "HeunDiscreteScheduler",
    "ipndm": "IPNDMScheduler",
    "lcm": "LCMScheduler",
    "lms": "LMSDiscreteScheduler",
    "native_ddim": "DDIMScheduler",
    "native_dpmpp_2m": "DPMSolverMultistepScheduler",
    "native_euler": "EulerDiscreteScheduler",
    "native_euler_a": "EulerAncestralDiscreteScheduler",
    "native_pndm": "PNDMScheduler",
    "native_unipc": "UniPCMultistepScheduler",
    "pndm": "PNDMScheduler",
    "sa": "SASolverScheduler",
    "tcd": "TCDScheduler",
    "unipc": "UniPCMultistepScheduler",
}
OPTIONS = {
    "dpmpp_2m_sde": {"algorithm_type": "sde-dpmsolver++"},
    # Without it Diffusers takes a seed that no caller decides.
    "dpmpp_sde": {"noise_sampler_seed": 7},
    # Its Runge-Kutta steps are those of solver/pndm alone.
    "native_pndm": {"skip_prk_steps": True},
}
FEATURES = (
    "plain",
    "negative",
    "batch of 2",
    "two per prompt",
    "no guidance",
    "rescale",
    "non-square",
    "given latents",
    "given embeddings",
    "list of generators",
)
STEPS = 4


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """One call.

    Attributes:
        task: A key of ``PIPELINES``.
        model: One of ``MODELS``.
        solver: A key of ``SCHEDULERS``.
        feature: One of ``FEATURES``.
    """

    task: str
    model: str
    solver: str
    feature: str

    def __str__(self) -> str:
        """Gives a name for test reports."""
        return f"{self.task}-{self.model}-{self.solver}-{self.feature.replace(' ', '_')}"


def all_cells() -> Iterator[Cell]:
    """Gives the whole product, without what does not exist."""
    for task in PIPELINES:
        for model in MODELS:
            for solver in SCHEDULERS:
                for feature in FEATURES:
                    cell = Cell(task, model, solver, feature)
                    if reason_against(cell) is None:
                        yield cell


def reason_against(cell: Cell) -> str | None:
    """Says why Diffusers has no such call, if it has none."""
    if cell.feature == "rescale" and cell.task != "txt2img":
        return "only the txt2img pipeline of Diffusers takes guidance_rescale"
    if cell.feature == "given latents" and cell.task == "img2img":
        return "the img2img pipeline of Diffusers takes no latents"
    if cell.task == "inpaint9" and cell.model == "zoo":
        return "the model in the box has a UNet of 4 channels"
    if cell.task != "txt2img" and not can_noise(getattr(diffusers, SCHEDULERS[cell.solver])):
        return f"{SCHEDULERS[cell.solver]} has no add_noise, so it cannot begin with a picture"
    return None


@dataclass(frozen=True, slots=True)
class Difference:
    """The largest absolute differences of a cell."""

    latents: float
    images: float

    @property
    def is_none(self) -> bool:
        """Whether every bit is the same."""
        return self.latents == 0.0 and self.images == 0.0


def measure(cell: Cell, **changes: Any) -> Difference:
    """Makes the call twice, by Diffusers and by YggDrasil, and compares.

    Args:
        cell: The call.
        **changes: Arguments that only YggDrasil gets, to show that a difference would be seen.
    """
    pipe, ours = pipelines(cell)
    seen: list[torch.Tensor] = []

    def remember(_: Any, __: int, ___: Any, values: dict[str, Any]) -> dict[str, Any]:
        seen.append(values["latents"])
        return {}

    with warnings.catch_warnings():
        # Diffusers warns that one picture for two prompts will once be an error.
        warnings.simplefilter("ignore", FutureWarning)
        theirs = pipe(**arguments(cell), output_type="pt", callback_on_step_end=remember)
    mine = ours(**(arguments(cell) | changes), output_type="pt")
    assert mine.latents.shape == seen[-1].shape
    assert mine.images.shape == theirs.images.shape
    assert torch.isfinite(mine.images).all()
    return Difference(
        latents=float((mine.latents - seen[-1]).abs().max()),
        images=float((mine.images - theirs.images).abs().max()),
    )


def pipelines(cell: Cell) -> tuple[Any, InferencePipeline]:
    """Gives the pipelines that make a cell's call, Diffusers' and YggDrasil's."""
    pipe = _pipeline(cell.task, cell.model)
    scheduler = getattr(diffusers, SCHEDULERS[cell.solver])
    config = _scheduler_config(cell.task, cell.model)
    pipe.scheduler = scheduler.from_config(config, **OPTIONS.get(cell.solver, {}))
    ours = InferencePipeline.from_diffusers(pipe)
    if solver_type_for(SCHEDULERS[cell.solver]) != f"solver/{cell.solver}":
        ours.graph.replace_node("solver", f"solver/{cell.solver}")
    ours.set_progress_bar_config(disable=True)
    return pipe, ours


def arguments(cell: Cell) -> dict[str, Any]:
    """Gives fresh arguments of a cell's call; equal ones each time."""
    call: dict[str, Any] = {
        "prompt": "a photo of a red cat on the blue house",
        "num_inference_steps": STEPS,
        "generator": _generator(0),
        "guidance_scale": 6.0,
    }
    size = (64, 64)
    if cell.feature == "non-square":
        size = (64, 96)
        if cell.task != "img2img":  # which takes the size of its picture
            call |= {"height": size[0], "width": size[1]}
    if cell.task != "txt2img":
        call |= {"image": _picture(size), "strength": 0.75}
    if cell.task.startswith("inpaint"):
        call["mask_image"] = _mask(size)
    return call | _FEATURE_ARGUMENTS.get(cell.feature, lambda _: {})(cell)


def _batch(_: Cell) -> dict[str, Any]:
    return {"prompt": ["a photo of a red cat", "the blurry blue dog on a house"]}


def _given_embeddings(cell: Cell) -> dict[str, Any]:
    generator = _generator(5)
    width = _pipeline(cell.task, cell.model).text_encoder.config.hidden_size
    shape = (1, _pipeline(cell.task, cell.model).tokenizer.model_max_length, width)
    return {
        "prompt": None,
        "prompt_embeds": torch.randn(shape, generator=generator),
        "negative_prompt_embeds": torch.randn(shape, generator=generator),
    }


def _given_latents(cell: Cell) -> dict[str, Any]:
    side = 64 // _pipeline(cell.task, cell.model).vae_scale_factor
    return {"latents": torch.randn((1, 4, side, side), generator=_generator(6))}


_FEATURE_ARGUMENTS: dict[str, Callable[[Cell], dict[str, Any]]] = {
    "negative": lambda _: {"negative_prompt": "ugly, blurry"},
    "batch of 2": _batch,
    "two per prompt": lambda _: {"num_images_per_prompt": 2},
    "no guidance": lambda _: {"guidance_scale": 1.0, "negative_prompt": "ugly"},
    "rescale": lambda _: {"guidance_rescale": 0.7},
    "given latents": _given_latents,
    "given embeddings": _given_embeddings,
    "list of generators": lambda cell: {
        **_batch(cell),
        "generator": [_generator(1), _generator(2)],
    },
}


@functools.cache
def _pipeline(task: str, model: str) -> Any:
    """Gives the Diffusers pipeline of a task, its modules made once for each model."""
    if model == "zoo":
        folder = str(_zoo_folder())
        pipe = PIPELINES[task].from_pretrained(folder)
    else:
        nine = task == "inpaint9"
        pipe = PIPELINES[task](**_components(model, nine))
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _zoo_folder() -> Any:
    from yggdrasil.hub.zoo_models import zoo_models

    return zoo_models()["zoo/shapes"]


@functools.cache
def _components(model: str, nine: bool) -> dict[str, Any]:
    components = tiny_components(model)
    if nine:
        components["unet"] = tiny_components(f"{model}_inpaint")["unet"]
    return components


@functools.cache
def _scheduler_config(task: str, model: str) -> Any:
    return dict(_pipeline(task, model).scheduler.config)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator("cpu").manual_seed(seed)


@functools.cache
def _picture(size: tuple[int, int]) -> Image.Image:
    rng = np.random.default_rng(7)
    coarse = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((size[1], size[0]), Image.Resampling.BICUBIC)


@functools.cache
def _mask(size: tuple[int, int]) -> Image.Image:
    mask = np.zeros(size, np.uint8)
    mask[16 : size[0] - 8, 8 : size[1] // 2] = 255
    return Image.fromarray(mask)
