"""Pictures carry what made them, and are made again from it to the bit."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref

import numpy as np
import pytest
import torch
from PIL import Image

from tests.pipelines.conftest import generator, quiet
from tests.pipelines.pictures import mask, picture
from tests.tiny_models import tiny_pipeline
from yggdrasil import ComputeGraph, InferencePipeline, op, register_block
from yggdrasil.core.errors import GraphFileError, InputError, ModelError
from yggdrasil.core.roles import AbstractProcessor
from yggdrasil.core.values import SolverState
from yggdrasil.pipelines.rerun import rerun
from yggdrasil.pipelines.runner import Runner

STEPS = {"num_inference_steps": 2}


@register_block("processor/rerun_test_lift")
class Lift(AbstractProcessor):
    """Adds a weight of its own to the latents after every step."""

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale
        self.amount = torch.nn.Parameter(torch.rand(1))

    @op
    def lift(self, state: SolverState) -> SolverState:
        """Adds to the latents."""
        return state.with_latents(state.latents + self.scale * self.amount.detach())


@pytest.fixture
def pipe(tiny_folder):
    """Gives a pipeline of a model in a folder."""
    return quiet(InferencePipeline.from_pretrained(tiny_folder("sd15")))


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


def assert_same(path, **options):
    """A picture is made again by a pipeline of its own, to the bit."""
    again = rerun(path, **options)
    assert again.same, again.differences
    assert np.array_equal(pixels(path), np.asarray(again.picture))
    return again


# -- twenty ways to make a picture -----------------------------------------------------------------


def advanced():
    """A generator that has drawn already, so that its seed does not tell where it stands."""
    made = generator(3)
    torch.randn(5, generator=made)
    return made


CALLS = {
    "a prompt": {"seed": 1},
    "a negative prompt": {"seed": 1, "negative_prompt": "a dog"},
    "no guidance": {"seed": 1, "guidance_scale": 1},
    "guidance rescaled": {"seed": 1, "guidance_rescale": 0.7, "guidance_scale": 9.5},
    "two pictures a prompt": {"seed": 2, "num_images_per_prompt": 2},
    "a seed for each picture": {"prompt": ["a cat", "a dog"], "seed": [4, 5]},
    "a generator": {"generator": 6},
    "generators that have drawn": {"prompt": ["a cat", "a dog"], "generator": [7, None]},
    "one generator for two pictures": {"prompt": ["a cat", "a dog"], "generator": "shared"},
    "a range of seeds": {"prompt": ["a cat", "a dog"], "seed": range(4, 6)},
    "neither seed nor generator": {},
    "latents of ones own": {"latents": torch.randn(1, 4, 8, 8, generator=generator(8))},
    "embeddings": {"prompt": None, "prompt_embeds": torch.full((1, 77, 32), 0.1), "seed": 9,
                   "negative_prompt_embeds": torch.zeros(1, 77, 32)},
    "a layer of the text encoder": {"seed": 1, "clip_skip": 1},
    "another size": {"seed": 1, "height": 64, "width": 72},
    "arguments of the model": {"seed": 1, "cross_attention_kwargs": {"scale": 0.5}},
    "a port by name": {"seed": 1, "guidance.combine.guidance_rescale": 0.3},
    "a picture": {"seed": 1, "image": picture(), "strength": 0.9},
    "a picture as an array": {"seed": 1, "image": np.full((1, 64, 64, 3), 0.5, np.float32),
                              "strength": np.float64(0.8)},
    "a mask": {"seed": 1, "image": picture(), "mask_image": mask()},
    "a mask around a part": {"seed": 1, "image": picture(), "mask_image": mask(),
                             "padding_mask_crop": 4},
    "pictures as tensors": {"seed": 1, "image": [torch.rand(3, 64, 64, generator=generator())]},
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_a_picture_is_made_again_to_the_bit(pipe, tmp_path, name):
    call = {"prompt": "a cat", **STEPS, **CALLS[name]}
    if isinstance(call.get("generator"), list):
        call["generator"] = [generator(7), advanced()]
    elif call.get("generator") == "shared":
        call["generator"] = [advanced()] * 2
    elif "generator" in call:
        call["generator"] = generator(call["generator"])
    result = pipe(**call)
    for path in result.save(tmp_path / "made.png"):
        assert_same(path)


OPTIONS = {
    "tiles": lambda pipe: pipe.enable_vae_tiling(),
    "slices of attention": lambda pipe: pipe.enable_attention_slicing("max"),
    "weights cast for each layer": lambda pipe: pipe.enable_layerwise_casting(
        compute_dtype=torch.float32, skip_modules_pattern=("pos_embed",)
    ),
}


@pytest.mark.parametrize("option", OPTIONS)
def test_options_of_memory_that_change_numbers_are_kept(pipe, tmp_path, option):
    call = {"prompt": "a cat", "seed": 1, "height": 160, "width": 160, **STEPS}
    plain = np.asarray(pipe(**call).images[0])
    OPTIONS[option](pipe)
    result = pipe(**call)
    if option != "slices of attention":
        assert not np.array_equal(np.asarray(result.images[0]), plain)
    (path,) = result.save(tmp_path / "made.png")
    assert_same(path)
    pipe.save_workflow(tmp_path / "made.yaml", **call)
    again = Runner.execute(tmp_path / "made.yaml", {"output_type": "pil"})
    assert np.array_equal(np.asarray(again.images[0]), np.asarray(result.images[0]))


def test_options_of_memory_that_a_file_cannot_say_are_refused(pipe, tmp_path):
    path = pipe.save_workflow(tmp_path / "made.yaml", "a cat", seed=1)
    for line, message in (
        ("{remove_all_hooks: {}}", "enable_vae_tiling"),
        ("{enable_vae_tiling: {way: 1}}", "takes other arguments"),
        ("{enable_layerwise_casting: {storage_dtype: nn}}", "which is no dtype"),
    ):
        path.write_text(f"{path.read_text().partition('memory:')[0]}memory: {line}\n")
        with pytest.raises(GraphFileError, match=message):
            Runner.open(path)


@pytest.mark.slow
def test_another_process_makes_the_pictures_again_to_the_bit(pipe, tmp_path):
    for place, (name, more) in enumerate(CALLS.items()):
        if "generator" not in more:
            pipe(**{"prompt": "a cat", **STEPS, **more}).save(tmp_path / f"{place}-{name}.png")
    code = """
import sys
from yggdrasil.pipelines.rerun import rerun
for path in sys.argv[1:]:
    print(path if not rerun(path).same else "same")
"""
    paths = sorted(tmp_path.glob("*.png"))
    ended = subprocess.run(
        [sys.executable, "-c", code, *paths], check=True, capture_output=True, text=True
    )
    assert ended.stdout.splitlines() == ["same"] * len(paths)
    assert len(paths) >= 20


@pytest.mark.parametrize("solver", ["solver/euler_a", "solver/dpmpp_2m", "solver/ddim"])
def test_solvers_with_options_are_kept(pipe, tmp_path, solver):
    options = {} if solver == "solver/ddim" else {"timestep_spacing": "trailing"}
    pipe.graph.replace_node("solver", solver, **options)
    (path,) = pipe("a cat", seed=1, **STEPS, eta=0.5).save(tmp_path / "made.png")
    assert_same(path)


def test_an_edited_graph_is_kept_with_the_weights_of_its_own_blocks(pipe, tmp_path):
    pipe.graph.add_node("lift", type="processor/rerun_test_lift", scale=0.1)
    pipe.graph.replace_node("image", "processor/vae_image", resample="bilinear")
    pipe.graph.remove_node("blend")
    pipe.graph.defaults["guidance_scale"] = 4.0
    (path,) = pipe("a cat", seed=1, **STEPS).save(tmp_path / "made.png")
    again = assert_same(path)
    del pipe.graph.defaults["guidance_scale"]
    assert not np.array_equal(pixels(path), np.asarray(pipe("a cat", seed=1, **STEPS).images[0]))
    assert again.differences == ()


def test_the_record_is_that_of_the_run_whatever_happens_after(pipe, tmp_path):
    image = picture()
    draws = generator(5)
    result = pipe("a cat", image=image, generator=draws, strength=0.9, **STEPS)
    image.paste(0, (0, 0, 64, 64))
    torch.randn(3, generator=draws)
    pipe.graph.replace_node("solver", "solver/euler")
    (path,) = result.save(tmp_path / "made.png")
    assert_same(path)


def test_a_result_keeps_no_models_in_memory_and_can_still_be_saved(tiny_folder, tmp_path):
    pipe = quiet(InferencePipeline.from_pretrained(tiny_folder("sd15")))
    result = pipe("a cat", seed=1, **STEPS)
    unet = weakref.ref(pipe.components["unet"])
    del pipe
    gc.collect()
    assert unet() is None
    (path,) = result.save(tmp_path / "made.png")
    assert_same(path)


def test_weights_of_a_block_that_is_gone_are_missed(pipe, tmp_path):
    pipe.graph.add_node("lift", type="processor/rerun_test_lift")
    result = pipe("a cat", seed=1, **STEPS)
    pipe.graph.remove_node("lift")
    pipe("a cat", seed=1, **STEPS)  # the plan that held it is made anew
    gc.collect()
    (path,) = result.save(tmp_path / "made.png")
    with pytest.raises(GraphFileError, match="lift: its own weights went with the pipeline"):
        rerun(path)


def test_a_saved_folder_and_another_dtype_are_kept(pipe, tmp_path):
    folder = pipe.save_pretrained(tmp_path / "saved")
    own = quiet(InferencePipeline.from_pretrained(folder, torch_dtype=torch.bfloat16))
    (path,) = own("a cat", seed=1, **STEPS).save(tmp_path / "made.png")
    assert_same(path)


def test_other_kinds_of_model_are_kept(tiny_folder, tmp_path):
    for kind, more in {
        "sd2": {},
        "lcm": {"guidance_scale": 3.0},
        "sd15_inpaint": {"image": picture(), "mask_image": mask()},
    }.items():
        own = quiet(InferencePipeline.from_pretrained(tiny_folder(kind)))
        (path,) = own("a cat", seed=1, **STEPS, **more).save(tmp_path / f"{kind}.png")
        assert_same(path)


def test_stages_of_several_models_are_kept(tiny_folder, tmp_path):
    base = InferencePipeline.from_pretrained(tiny_folder("sd15"))
    refiner = InferencePipeline.from_pretrained(tiny_folder("sd2"))
    links = {"refiner.init_image": "base.images"}
    both = quiet(InferencePipeline.from_combined({"base": base, "refiner": refiner}, links=links))
    result = both("a cat", seed=1, **STEPS, refiner={"strength": 0.9})
    (path,) = result.save(tmp_path / "made.png")
    assert_same(path)


def test_a_node_with_a_model_of_its_own_is_kept(pipe, tiny_folder, tmp_path):
    tiny_pipeline(seed=3).save_pretrained(tmp_path / "other")
    pipe.graph.replace_node("vae", "codec/autoencoder_kl", pretrained=str(tmp_path / "other"))
    (path,) = pipe("a cat", seed=1, **STEPS).save(tmp_path / "made.png")
    assert_same(path)


def test_other_forms_of_result_are_saved_as_pictures(pipe, tmp_path):
    for form in ("np", "pt"):
        result = pipe("a cat", seed=1, **STEPS, output_type=form)
        (path,) = result.save(tmp_path / f"{form}.png")
        assert_same(path)


def test_latents_are_no_pictures(pipe, tmp_path):
    result = pipe("a cat", seed=1, num_inference_steps=1, output_type="latent")
    with pytest.raises(InputError, match=r"holds no pictures but Tensor of shape \[1, 4, 8, 8\]"):
        result.save(tmp_path / "made.png")


# -- other files -----------------------------------------------------------------------------------


def test_webp_is_without_loss_and_jpeg_is_compared_with_what_it_was_made_of(pipe, tmp_path):
    result = pipe("a cät", seed=1, **STEPS)
    (webp,) = result.save(tmp_path / "made.webp")
    assert_same(webp)
    (jpeg,) = result.save(tmp_path / "made.jpg")
    assert rerun(jpeg).same


def test_an_input_too_large_for_a_picture_lies_beside_it(pipe, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (640, 640, 3), dtype=np.uint8)
    large = Image.fromarray(noise)
    result = pipe("a cat", image=large.resize((64, 64)), mask_image=large, seed=1, **STEPS)
    (path,) = result.save(tmp_path / "made.png")
    (beside,) = (tmp_path / "yggdrasil-inputs").iterdir()
    assert path.stat().st_size < 2**20 < beside.stat().st_size
    assert_same(path)
    Image.new("RGB", (640, 640)).save(beside)
    with pytest.raises(GraphFileError, match="'mask_image': what is kept has another hash"):
        rerun(path)
    beside.unlink()
    with pytest.raises(GraphFileError, match="'mask_image' was too large to be kept in the pict"):
        rerun(path)


def test_other_programs_read_the_pictures(pipe, tmp_path):
    result = pipe("a cat", image=picture(), strength=0.9, seed=1, **STEPS)
    for suffix in ("png", "webp"):
        (path,) = result.save(tmp_path / f"made.{suffix}")
        assert np.array_equal(pixels(path), np.asarray(result.images[0]))


def test_a_picture_may_be_saved_without_a_record(pipe, tmp_path):
    (path,) = pipe("a cat", seed=1, **STEPS).save(tmp_path / "made.png", record=False)
    with pytest.raises(GraphFileError, match="carries no record of YggDrasil"):
        rerun(path)


def test_a_file_that_is_no_kind_of_picture_is_refused(pipe, tmp_path):
    with pytest.raises(InputError, match=r"made\.pgn names no kind of picture.*'\.png'"):
        pipe("a cat", seed=1, **STEPS).save(tmp_path / "made.pgn")


# -- what a file cannot hold -----------------------------------------------------------------------


def test_models_handed_in_as_objects_are_asked_for(tiny_folder, tmp_path):
    ours = quiet(InferencePipeline.from_diffusers(tiny_pipeline(), task=None))
    ours.graph.replace_node("solver", "solver/euler")
    (path,) = ours("a cat", seed=1, **STEPS).save(tmp_path / "made.png")
    with pytest.raises(ModelError, match=r"handed in as an object, and no file of it is.*--m"):
        rerun(path)
    assert_same(path, model=tiny_folder("sd15"))


def test_another_model_is_told(pipe, tmp_path):
    (path,) = pipe("a cat", seed=1, **STEPS).save(tmp_path / "made.png")
    tiny_pipeline(seed=5).save_pretrained(tmp_path / "other")
    again = rerun(path, model=tmp_path / "other")
    assert not again.same
    assert "the weights of unet.unet are others" in again.differences


def test_weights_that_were_gone_when_it_was_saved_are_not_said_to_be_the_same(pipe, tmp_path):
    with torch.no_grad():
        pipe.components["unet"].conv_out.bias += 0.5
    result = pipe("a cat", seed=1, **STEPS)
    pipe.graph.remove_node("unet")
    pipe._runtime = None
    gc.collect()
    (path,) = result.save(tmp_path / "made.png")
    again = rerun(path)
    assert not again.same
    (told,) = again.differences
    assert told.startswith("nothing is known of the weights that unet.unet had: the picture was")


def test_weights_changed_by_hand_are_told(pipe, tmp_path):
    with torch.no_grad():
        pipe.components["unet"].conv_out.bias += 0.5
    (path,) = pipe("a cat", seed=1, **STEPS).save(tmp_path / "made.png")
    again = rerun(path)
    assert not again.same
    assert again.differences == ("the weights of unet.unet are others",)


def test_a_callback_that_changed_something_is_told(pipe, tmp_path):
    def lift(_, __, ___, values):
        return {"latents": values["latents"] + 0.1}

    (path,) = pipe("a cat", seed=1, **STEPS, callback_on_step_end=lift).save(tmp_path / "a.png")
    again = rerun(path)
    assert not again.same
    assert "StepCallback listened to the run and may have changed it" in again.differences[0]

    (path,) = pipe(
        "a cat", seed=1, **STEPS, callback_on_step_end=lambda *_: None
    ).save(tmp_path / "b.png")  # fmt: skip
    assert_same(path)


def test_what_is_written_into_a_task_is_kept(pipe, tmp_path):
    pipe("a cat", seed=1, **STEPS)
    pipe.graph.tasks["txt2img"]["defaults"]["guidance_scale"] = 2.5
    (path,) = pipe("a cat", seed=1, **STEPS).save(tmp_path / "made.png")
    assert_same(path)


def test_autocast_is_said_to_be_lost(pipe, tmp_path):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = pipe("a cat", seed=1, **STEPS)
    (path,) = result.save(tmp_path / "made.png")
    with pytest.raises(GraphFileError, match="autocast: it was on, which no file says"):
        rerun(path)


def test_a_block_without_a_name_cannot_be_made_again(pipe, tmp_path, caplog):
    class Nameless(Lift):
        """Is not registered."""

    Nameless.type_name = ""
    pipe.graph.add_node("odd", Nameless())
    (path,) = pipe("a cat", seed=1, **STEPS).save(tmp_path / "made.png")
    assert "cannot be made again: graph: Node 'odd'" in caplog.text
    with pytest.raises(GraphFileError, match=r"does not hold all that it was made.*Node 'odd'"):
        rerun(path)


def test_saving_says_what_another_library_would_need(pipe, tmp_path):
    (path,) = pipe("a cat", seed=1, **STEPS).save(tmp_path / "made.png")
    from yggdrasil.pipelines.workflows.pictures import read_picture

    workflow = read_picture(path).workflow
    assert set(workflow.versions) >= {"yggdrasil", "torch", "diffusers", "transformers"}
    assert set(workflow.weights) == {"text.text_encoder", "unet.unet", "vae.vae"}
    assert ComputeGraph.from_yaml(pipe.graph.to_yaml()).to_yaml() == pipe.graph.to_yaml()
