"""What is said where a call or a model cannot be right, for the larger families: before weights."""

from __future__ import annotations

import functools
import json
import logging

import pytest
from PIL import Image

from tests.pipelines.conftest import quiet
from tests.tiny_flux import tiny_flux
from tests.tiny_models import tiny_pipeline
from tests.tiny_sd3 import tiny_sd3
from tests.tiny_sdxl import tiny_sdxl
from yggdrasil import InferencePipeline
from yggdrasil.core.errors import InputError, MissingInputError, ModelError, UnknownInputError
from yggdrasil.core.graph import ComputeGraph
from yggdrasil.hub.config_library import ConfigLibrary
from yggdrasil.pipelines.skeletons import skeleton_of

PICTURE = Image.new("RGB", (64, 64))


@functools.cache
def skeleton(name):
    """Makes a model of full size without weights: what is said of a plan is said before any."""
    return skeleton_of(ConfigLibrary.open(name))


# -- a model of another family ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "cls", "belongs"),
    [
        ("sdxl", "FluxPipeline", "flux"),
        ("flux", "StableDiffusion3Pipeline", "sd3"),
        ("sd3_img2img", "StableDiffusionXLImg2ImgPipeline", "sdxl"),
        ("sd15", "StableDiffusionXLPipeline", "sdxl"),
        ("flux_fill", "FluxPriorReduxPipeline", "flux_redux"),
    ],
)
def test_a_model_of_another_family_is_refused_with_its_template(tmp_path, asked, cls, belongs):
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": cls}))
    message = rf"is a {cls}, a model for the template '{belongs}', and not for .*from_template\('"
    with pytest.raises(ModelError, match=message):
        InferencePipeline.from_template(asked, pretrained=tmp_path)


# -- sizes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "step"), [("sd1", 8), ("sdxl", 8), ("sd3", 16)])
def test_a_size_that_a_model_cannot_take_is_refused_with_the_nearest(name, step):
    skeleton(name).task = "txt2img"
    message = rf"height is 500: it must be a multiple of {step} pixels; the nearest is height=496"
    with pytest.raises(InputError, match=message):
        skeleton(name).plan("a cat", height=500, width=512)


def test_more_than_the_positions_of_a_model_is_refused():
    skeleton("sd3").task = "txt2img"
    with pytest.raises(InputError, match=r"^height is 4096"):
        skeleton("sd3").plan("a cat", height=4096, width=4096)


def test_a_size_that_flux_makes_smaller_is_warned_of_as_by_diffusers(caplog):
    skeleton("flux_dev").task = "txt2img"
    with caplog.at_level(logging.WARNING, "yggdrasil"):
        skeleton("flux_dev").plan("a cat", height=500, width=512)
    assert "496 pixels high and 512 wide in the place of 500 and 512" in caplog.text
    assert "multiples of 16" in caplog.text


# -- prompts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "given", "told"),
    [
        (tiny_sdxl, {}, [77, 77]),
        (tiny_sd3, {"max_sequence_length": 16}, [77, 77, 16]),
        (tiny_flux, {"max_sequence_length": 16}, [77, 16]),
    ],
)
def test_what_is_cut_off_a_prompt_is_told_for_each_encoder(make, given, told, caplog):
    pipe = quiet(InferencePipeline.from_diffusers(make()))
    prompt = "a cat " * 80 + "and a dog"
    with caplog.at_level(logging.WARNING, "yggdrasil"):
        pipe(prompt, num_inference_steps=1, output_type="latent", seed=0, **given)
    said = [each for each in caplog.messages if "this was cut off the prompt" in each]
    assert all(f"reads {n} tokens" in each for n, each in zip(told, said, strict=True))
    assert all("dog" in each.replace(" ", "") for each in said)


# -- arguments -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "task", "argument", "others"),
    [
        ("sdxl", "txt2img", "strength", "'img2img' or 'inpaint'"),
        ("sdxl", "img2img", "padding_mask_crop", "'inpaint'"),
        ("sd3", "img2img", "skip_guidance_layers", "'txt2img'"),
        (
            "flux_dev",
            "txt2img",
            "control_image",
            "'control' or 'control_img2img' or 'control_inpaint'",
        ),
        (
            "flux_dev",
            "fill",
            "true_cfg_scale",
            "'txt2img' or 'img2img' or 'inpaint' or 'kontext' or 'kontext_inpaint'",
        ),
        ("flux_dev", "img2img", "max_area", "'kontext'"),
    ],
)
def test_an_argument_of_another_task_names_the_task(name, task, argument, others):
    pipe = skeleton(name)
    pipe.task = task
    pictures = dict.fromkeys(pipe.graph.tasks[task].get("requires", ()), PICTURE)
    message = rf"Task '{task}' takes no argument '{argument}'\. Task {others} does\."
    with pytest.raises(UnknownInputError, match=message):
        pipe.plan("a cat", **{**pictures, argument: 2})


def test_a_picture_that_a_task_needs_is_asked_for():
    skeleton("flux_fill").task = "fill"
    with pytest.raises(MissingInputError, match="Task 'fill' needs 'image' and 'mask_image'"):
        skeleton("flux_fill").plan("a cat")


@pytest.mark.parametrize(
    ("name", "task", "message"),
    [
        (
            "flux_dev",
            "fill",
            (
                r"models that read a mask and the picture under it beside the latents; transformer "
                r"reads 16 channels, the latents alone\. Take task='inpaint' or "
                r"task='kontext_inpaint', or a model of Diffusers' FluxFillPipeline\."
            ),
        ),
        (
            "flux_dev",
            "control",
            r"16 channels, the latents alone\..* Diffusers' FluxControlPipeline",
        ),
        (
            "flux_dev",
            "control_inpaint",
            r"16 channels, the latents alone\. Take task='txt2img' or ",
        ),
        ("flux_fill", "inpaint", r"96 channels, a mask and the picture .* Take task='fill', or"),
        ("flux_fill", "txt2img", r"96 channels, a mask and the picture .* Take task='fill', or"),
        ("flux_control", "img2img", r"32 channels, another picture .* task='control_img2img' or "),
        (
            "flux_control",
            "fill",
            r"32 channels, another picture .* Take task='control_inpaint', or",
        ),
    ],
)
def test_a_task_is_refused_for_a_model_that_reads_something_else(name, task, message):
    pipe = skeleton(name)
    pipe.task = task
    settings = pipe.graph.tasks[task]
    with pytest.raises(InputError, match=message):
        pipe.plan("a cat", **dict.fromkeys(settings.get("requires", ()), PICTURE))


def test_a_stage_is_refused_a_task_for_other_models():
    graph = ComputeGraph("two").add_stage("polish", skeleton("flux_dev").graph, task="fill")
    with pytest.raises(InputError, match="16 channels, the latents alone") as error:
        InferencePipeline(graph).plan("a cat", image=PICTURE, mask_image=PICTURE)
    assert error.value.__notes__ == ["That is in stage 'polish'."]


@pytest.mark.parametrize(
    ("name", "argument", "message"),
    [
        ("sd1", "strength", r"Task 'img2img' or .* does\. For 'img2img' give image=\.\.\. too\.$"),
        ("sd1", "steps", "Did you mean 'num_inference_steps'"),
        ("sdxl", "cfg", "Did you mean 'guidance_scale'"),
        ("sdxl", "guidence_scale", "Did you mean 'guidance_scale'"),
        ("sd1", "control_image", r"type 'inner_module/controlnet' does: .*add_node\('control'"),
        ("sdxl", "control_mode", "type 'inner_module/controlnet_union' does"),
        ("sd3", "controlnet_conditioning_scale", "type 'inner_module/sd3_controlnet' does"),
        ("sd1", "ip_adapter_image", r"StableDiffusionPipeline does, and no block .*opaque=True"),
    ],
)
def test_an_argument_that_no_task_takes_says_where_it_belongs(name, argument, message):
    skeleton(name).task = "txt2img"
    with pytest.raises(UnknownInputError, match=message):
        skeleton(name).plan("a cat", **{argument: 2})


def test_a_prompt_that_is_none_goes_by_the_name_that_it_was_given_under():
    skeleton("sd3").task = "txt2img"
    with pytest.raises(InputError, match=r"^prompt_3 is 3: give a text"):
        skeleton("sd3").plan("a cat", prompt_3=3)


@pytest.mark.parametrize("picture", ["cat.png", 3])
def test_what_is_no_picture_is_said_before_weights_load(picture):
    skeleton("sd1").task = "img2img"
    with pytest.raises(InputError, match=r"image is .*PIL\.Image\.open"):
        skeleton("sd1").plan("a cat", image=picture)


@pytest.mark.parametrize("size", [0, -8, 64.0, "64"])
def test_a_size_that_is_no_number_of_pixels_is_told_with_one_that_is(size):
    skeleton("sdxl").task = "txt2img"
    message = rf"height is {size!r}: give a whole number of pixels.* such as height=512"
    with pytest.raises(InputError, match=message):
        skeleton("sdxl").plan("a cat", height=size, width=512)


def test_a_solver_that_takes_no_noise_levels_is_none_for_a_flow():
    pipe = quiet(InferencePipeline.from_diffusers(tiny_flux()))
    pipe.graph.replace_node("solver", "solver/ddim")
    with pytest.raises(InputError, match=r"DDIMScheduler takes no noise levels.*solver/flow_euler"):
        pipe.plan("a cat", height=64, width=64)


# -- models and parts of models --------------------------------------------------------------------


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Gives the folder of tiny models of Stable Diffusion 1 and of XL."""
    root = tmp_path_factory.mktemp("models")
    tiny_pipeline().save_pretrained(root / "sd15")
    tiny_sdxl().save_pretrained(root / "sdxl")
    return root


def test_a_part_of_a_pipeline_says_where_the_whole_is(folders):
    with pytest.raises(ModelError, match=r"It is a part of one: give '.*/sd15'"):
        InferencePipeline.from_pretrained(folders / "sd15" / "unet")


def test_a_part_by_itself_says_what_it_is(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "ControlNetModel"}))
    with pytest.raises(ModelError, match=r"holds a ControlNetModel by itself.*add_node"):
        InferencePipeline.from_pretrained(tmp_path)


def test_the_name_of_a_template_is_no_model():
    with pytest.raises(ModelError, match=r"'sdxl' is a template: from_template\('sdxl'"):
        InferencePipeline.from_pretrained("sdxl")


@pytest.mark.parametrize("nothing", ["", None])
def test_no_model_is_told_as_such(nothing):
    with pytest.raises(ModelError, match=r"The model is .*give a folder"):
        InferencePipeline.from_pretrained(nothing)


def test_an_id_that_is_nearly_registered_is_suggested():
    with pytest.raises(
        ModelError, match=r"Did you mean 'stabilityai/stable-diffusion-xl-base-1\.0"
    ):
        InferencePipeline.from_pretrained("stabilityai/stable-diffusion-xl-base-1")


def test_a_node_whose_model_is_of_another_family_is_refused(folders, tmp_path):
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "FluxPipeline"}))
    pipe = InferencePipeline.from_pretrained(folders / "sd15")
    pipe.graph.replace_node("unet", "backbone/unet2d_condition", pretrained=str(tmp_path))
    with pytest.raises(ModelError, match=r"Node 'unet' names the model .* which has no 'unet'"):
        pipe.plan("a cat")


def test_a_unet_of_another_family_says_whose_text_it_reads(folders):
    pipe = InferencePipeline.from_pretrained(folders / "sd15")
    pipe.graph.replace_node("unet", "backbone/unet2d_condition", pretrained=str(folders / "sdxl"))
    with pytest.raises(InputError, match="UNet reads text states 72 wide and is given 32"):
        quiet(pipe)("a cat", num_inference_steps=1)


def test_a_lora_that_is_none_is_refused_when_it_is_loaded(folders):
    pipe = InferencePipeline.from_pretrained(folders / "sd15")
    for file, message in (
        ("nowhere.safetensors", "There is no LoRA 'nowhere.safetensors'"),
        (folders / "sd15" / "unet", "is no LoRA: no tensor is named after one"),
    ):
        with pytest.raises(ModelError, match=message):
            pipe.load_lora_weights(file)
    assert "default_0" not in pipe.graph.nodes


def test_a_model_without_a_template_is_told_by_its_class(tmp_path):
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "PixArtSigmaPipeline"}))
    with pytest.raises(ModelError, match="It is a PixArtSigmaPipeline, and 'sdxl' is for others"):
        InferencePipeline.from_template("sdxl", pretrained=tmp_path)
