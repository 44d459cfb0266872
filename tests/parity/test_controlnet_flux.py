"""ControlNets for FLUX.1 give the numbers of Diffusers' pipelines."""

from __future__ import annotations

import pytest
import torch
from diffusers import (
    FluxControlNetImg2ImgPipeline,
    FluxControlNetInpaintPipeline,
    FluxControlNetPipeline,
    FluxMultiControlNetModel,
)

from tests.parity.control_cells import cells, differences
from tests.pipelines.pictures import mask, picture
from tests.tiny_controlnets import tiny_flux_controlnet, with_controlnet
from tests.tiny_flux import tiny_flux

pytestmark = pytest.mark.parity

TEXT, IMG2IMG = FluxControlNetPipeline, FluxControlNetImg2ImgPipeline
INPAINT = FluxControlNetInpaintPipeline
FIRST, SECOND = picture(), mask().convert("RGB")
ONE = {"control_image": FIRST, "height": 64, "width": 64}
TWO = {
    **ONE, "control_image": [FIRST, SECOND], "controlnet_conditioning_scale": [0.3, 1.2],
}  # fmt: skip
CHANGED = {**ONE, "image": picture(seed=8), "strength": 0.7}
MASKED = {**CHANGED, "mask_image": mask()}
BATCH = {"prompt": ["a cat", "a dog"], "num_images_per_prompt": 2}

NETS = {
    "plain": {},
    "union": {"num_mode": 4},
    "pixels": {"conditioning_embedding_channels": 4, "num_single_layers": 0},
    "scaled": {"guidance_embeds": True},
    "unscaled": {"guidance_embeds": False},
}
"""As InstantX has them; for kinds of pictures; as XLabs; reading a guidance scale or not."""

CELLS = {
    "a picture": ("flux", TEXT, ["plain"], ONE),
    "true guidance": (
        "flux", TEXT, ["plain"], {**ONE, "negative_prompt": "a dog", "true_cfg_scale": 2.5}
    ),
    "a batch": ("flux", TEXT, ["plain"], {**ONE, **BATCH}),
    "a list of generators": (
        "flux", TEXT, ["plain"], {**ONE, "prompt": ["a cat", "a dog"], "generator": [1, 2]}
    ),
    "an end": (
        "flux", TEXT, ["plain"],
        {**ONE, "control_guidance_end": 0.5, "controlnet_conditioning_scale": 0.3},
    ),
    "not square": ("flux", TEXT, ["plain"], {**ONE, "height": 96}),
    "latents": ("flux", TEXT, ["plain"], {**ONE, "latents": torch.ones(1, 16, 16)}),
    "pixels": ("flux", TEXT, ["pixels"], ONE),
    "a scale that schnell does not read": ("flux_schnell", TEXT, ["scaled"], ONE),
    "a scale that dev alone reads": ("flux", TEXT, ["unscaled"], ONE),
    "two": ("flux", TEXT, ["plain", "plain"], TWO),
    "a kind": ("flux", TEXT, ["union"], {**ONE, "control_mode": 2}),
    "a kind, a batch": ("flux", TEXT, ["union"], {**ONE, **BATCH, "control_mode": 2}),
    "two kinds": ("flux", TEXT, ["union", "union"], {**TWO, "control_mode": [2, 0]}),
    "a kind and a plain one": (
        "flux", TEXT, ["union", "plain"], {**TWO, "control_mode": [2, None]}
    ),
    "two kinds of one union": (
        "flux", TEXT, "union",
        # Diffusers counts the shares of steps, and leaves out pictures that have none.
        {**TWO, "control_mode": [2, 0], "control_guidance_start": [0.0, 0.4],
         "control_guidance_end": [1.0, 1.0]},
    ),
    "img2img": ("flux", IMG2IMG, ["plain"], CHANGED),
    "img2img, a batch": ("flux", IMG2IMG, ["plain"], {**CHANGED, **BATCH}),
    "img2img, a kind": ("flux", IMG2IMG, ["union"], {**CHANGED, "control_mode": 1}),
    "img2img, two": (
        "flux", IMG2IMG, ["plain", "plain"], {**CHANGED, **TWO, "control_mode": [None, None]}
    ),
    "a mask": ("flux", INPAINT, ["plain"], MASKED),
    "a mask, a batch": ("flux", INPAINT, ["plain"], {**MASKED, **BATCH}),
    "a mask, all anew": ("flux", INPAINT, ["plain"], {**MASKED, "strength": 1.0}),
}  # fmt: skip


QUICK = (
    "true guidance",
    "a batch",
    "pixels",
    "a scale that schnell does not read",
    "two",
    "two kinds",
    "img2img",
    "a mask",
)


@pytest.fixture(scope="module")
def pipeline():
    """Makes a pipeline of Diffusers of a kind and class, with ControlNets."""
    bases = {kind: tiny_flux(kind) for kind in ("flux", "flux_schnell")}

    def made(kind, cls, nets):
        base = bases[kind]
        if isinstance(nets, str):  # one that is held as several are
            net = tiny_flux_controlnet(base.transformer, **NETS[nets])
            return with_controlnet(base, cls, FluxMultiControlNetModel([net]))
        each = [
            tiny_flux_controlnet(base.transformer, 1 + number, **NETS[net])
            for number, net in enumerate(nets)
        ]
        return with_controlnet(base, cls, each if len(each) > 1 else each[0])

    return made


@pytest.mark.parametrize("name", cells(CELLS, QUICK))
def test_the_numbers_are_those_of_diffusers(pipeline, name):
    kind, cls, nets, call = CELLS[name]
    assert differences(pipeline(kind, cls, nets), call) == (0.0, 0.0)


def test_a_difference_would_be_seen(pipeline):
    for nets, call, changes in (
        (["plain"], ONE, {"controlnet_conditioning_scale": 1.001}),
        (["plain", "plain"], TWO, {"controlnet_conditioning_scale": [1.2, 0.3]}),
        (["union"], {**ONE, "control_mode": 2}, {"control_mode": 3}),
    ):
        latents, images = differences(pipeline("flux", TEXT, nets), call, changes)
        assert latents > 1e-5
        assert images > 1e-6
