"""A comparison works for a model of every family, with what the family needs and nobody gave."""

from __future__ import annotations

import pytest
from diffusers import (
    FluxControlNetPipeline,
    FluxControlPipeline,
    FluxFillPipeline,
    FluxKontextPipeline,
    LatentConsistencyModelPipeline,
    StableDiffusion3ControlNetPipeline,
    StableDiffusionControlNetPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionInstructPix2PixPipeline,
    StableDiffusionXLControlNetImg2ImgPipeline,
)

from tests.pipelines.pictures import picture
from tests.tiny_controlnets import (
    tiny_controlnet,
    tiny_flux_controlnet,
    tiny_sd3_controlnet,
    with_controlnet,
)
from tests.tiny_flux import tiny_flux, tiny_redux
from tests.tiny_flux2 import tiny_flux2
from tests.tiny_models import tiny_pipeline
from tests.tiny_sd3 import tiny_sd3
from tests.tiny_sdxl import tiny_sdxl
from tests.tiny_whole import tiny_whole
from yggdrasil import InferencePipeline
from yggdrasil.pipelines.comparison.comparing import compare
from yggdrasil.pipelines.comparison.page import write_page
from yggdrasil.pipelines.comparison.pictures import write_pictures
from yggdrasil.pipelines.comparison.request import Request

SMALL = {"height": 64, "width": 64}
SHORT = {**SMALL, "further": ("max_sequence_length=16",)}
LAYERS = {**SMALL, "further": ("max_sequence_length=64", "text_encoder_out_layers=[1,2,3]")}
SMALL_KONTEXT = {
    **SMALL,
    "further": ("max_area=4096", "_auto_resize=false", "max_sequence_length=16"),
}
FRAMES = {"height": 32, "width": 32, "further": ("num_frames=2",)}
BOTH = ("latents", "pictures")
EMBEDS = ("prompt_embeds", "pooled_prompt_embeds")


def controlled(pipe, net, cls, count=1, **settings):
    """Makes a ControlNet pipeline on a pipeline's components."""
    base = pipe.components.get("unet") or pipe.transformer
    nets = [net(base, seed) for seed in range(1, count + 1)]
    return with_controlnet(pipe, cls, nets[0] if count == 1 else nets, **settings)


NO_STEPS = {"steps": None}
SAFE = {"requires_safety_checker": False}

# By family: what makes the pipeline, what is asked for, the task, what is drawn, what is compared.
FAMILIES = {
    "sd15": (tiny_pipeline, {}, "txt2img", (), BOTH),
    "sd2": (lambda: tiny_pipeline("sd2"), {}, "txt2img", (), BOTH),
    "sd15 inpaint": (
        lambda: tiny_pipeline("sd15_inpaint", StableDiffusionInpaintPipeline), {}, "inpaint",
        ("image", "mask_image"), BOTH,
    ),
    "instruct": (
        lambda: tiny_pipeline("sd15_edit", StableDiffusionInstructPix2PixPipeline), {}, "edit",
        ("image",), BOTH,
    ),
    # Diffusers does not show the latents of this one.
    "instruct xl": (lambda: tiny_sdxl("sdxl_edit"), {}, "edit", ("image",), ("pictures",)),
    "lcm": (
        lambda: tiny_pipeline("lcm", LatentConsistencyModelPipeline), {}, "lcm", (), BOTH
    ),
    "sdxl": (tiny_sdxl, {}, "txt2img", (), BOTH),
    "refiner": (lambda: tiny_sdxl("sdxl_refiner"), {"strength": 0.9}, "img2img", ("image",), BOTH),
    "sdxl inpaint": (
        lambda: tiny_sdxl("sdxl_inpaint"), {}, "inpaint", ("image", "mask_image"), BOTH
    ),
    "sd3": (tiny_sd3, {}, "txt2img", (), BOTH),
    "sd3.5 img2img": (
        lambda: tiny_sd3("sd35"), {"image": "in.png", "strength": 0.7}, "img2img", (), BOTH
    ),
    "flux dev": (tiny_flux, SHORT, "txt2img", (), BOTH),
    "flux schnell": (lambda: tiny_flux("flux_schnell"), SHORT, "txt2img", (), BOTH),
    "kontext": (
        lambda: tiny_flux(cls=FluxKontextPipeline), {**SMALL_KONTEXT, "image": "in.png"},
        "kontext", (), BOTH,
    ),
    "fill": (
        lambda: tiny_flux("flux_fill", FluxFillPipeline), SHORT, "fill", ("image", "mask_image"),
        BOTH,
    ),
    "control": (
        lambda: tiny_flux("flux_control", FluxControlPipeline), SHORT, "control",
        ("control_image",), BOTH,
    ),
    "redux": (tiny_redux, NO_STEPS, "embed", ("image",), EMBEDS),
    "flux2": (tiny_flux2, {**LAYERS, "image": "in.png"}, "txt2img", (), BOTH),
    "klein": (lambda: tiny_flux2("flux2_klein"), LAYERS, "txt2img", (), BOTH),
    "controlnet": (
        lambda: controlled(
            tiny_pipeline(), tiny_controlnet, StableDiffusionControlNetPipeline, **SAFE
        ),
        {}, "txt2img", ("image",), BOTH,
    ),
    "saved with its graph": (
        lambda: InferencePipeline.from_diffusers(
            controlled(tiny_pipeline(), tiny_controlnet, StableDiffusionControlNetPipeline, **SAFE)
        ),
        {}, "txt2img", ("image",), BOTH,
    ),
    "two controlnets": (
        lambda: controlled(
            tiny_pipeline(), tiny_controlnet, StableDiffusionControlNetPipeline, 2, **SAFE
        ),
        {}, "txt2img", ("image",), BOTH,
    ),
    "controlnet xl": (
        lambda: controlled(
            tiny_sdxl(), tiny_controlnet, StableDiffusionXLControlNetImg2ImgPipeline
        ),
        {}, "img2img", ("image", "control_image"), BOTH,
    ),
    "controlnet sd3": (
        lambda: controlled(tiny_sd3(), tiny_sd3_controlnet, StableDiffusion3ControlNetPipeline),
        {}, "txt2img", ("control_image",), BOTH,
    ),
    "controlnet flux": (
        lambda: controlled(tiny_flux(), tiny_flux_controlnet, FluxControlNetPipeline), SHORT,
        "txt2img", ("control_image",), BOTH,
    ),
    "opaque": (
        lambda: tiny_whole("PixArtSigmaPipeline"),
        {"height": 16, "width": 16, "further": ("use_resolution_binning=false",)},
        "call", (), ("pictures",),
    ),
    "film": (lambda: tiny_whole("StableVideoDiffusionPipeline"), FRAMES, "call", ("image",),
             ("frames",)),
    "prior": (
        lambda: tiny_whole("KandinskyV22PriorPipeline"), NO_STEPS, "call", (),
        ("image_embeds", "negative_image_embeds"),
    ),
}  # fmt: skip
QUICK = ("refiner", "redux")


def compared(name, tmp_path, **options):
    make, call, *expected = FAMILIES[name]
    make().save_pretrained(tmp_path / "model")
    picture().save(tmp_path / "in.png")
    call = {k: str(tmp_path / v) if k == "image" else v for k, v in call.items()}
    request = Request(**{"model": str(tmp_path / "model"), "steps": 2, **call})
    return compare(request, pairs=1, memory=False, **options), expected


# Diffusers' FLUX ControlNet makes a part in a way that Diffusers warns of.
@pytest.mark.filterwarnings("ignore:.FluxPosEmbed:FutureWarning")
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in FAMILIES]
)
def test_a_model_of_each_family_gives_the_same(name, tmp_path):
    found, (task, drawn, parts) = compared(name, tmp_path)
    assert (found.job.task, found.job.drawn) == (task, drawn)
    assert tuple(found.likeness.parts) == parts
    assert found.likeness.largest == 0.0
    shown = {"pictures", "frames"} & set(parts)
    assert len(write_pictures(found, tmp_path / "pictures")) == (3 if shown else 0)
    write_page(found, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "The same." in page
    assert ("<img" in page) == bool(shown)
    assert found.as_plain()["passed"] is True
