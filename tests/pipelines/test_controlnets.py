"""ControlNets in a live pipeline: added, several, saved, trained, and what is refused."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch
from diffusers import (
    FluxControlNetPipeline,
    MultiControlNetModel,
    StableDiffusion3ControlNetPipeline,
    StableDiffusionControlNetPipeline,
)

from tests.pipelines.conftest import quiet
from tests.pipelines.control_calls import differences, drawn
from tests.pipelines.pictures import mask, picture
from tests.tiny_controlnets import (
    tiny_controlnet,
    tiny_flux_controlnet,
    tiny_sd3_controlnet,
    tiny_union,
    with_controlnet,
)
from tests.tiny_flux import tiny_flux
from tests.tiny_models import tiny_components
from tests.tiny_sd3 import tiny_sd3
from tests.tiny_sdxl import tiny_sdxl
from yggdrasil import ComputeGraph, InferencePipeline, Runner, TrainingPipeline, op, register_block
from yggdrasil.blocks.inner_module.bases import check_text_width
from yggdrasil.core.errors import InputError, MissingInputError, ModelError, UnknownInputError
from yggdrasil.core.kinds import Pictures
from yggdrasil.core.registry import make_block
from yggdrasil.core.roles import AbstractProcessor
from yggdrasil.core.values import BackboneSpecValue
from yggdrasil.hub.library import ObjectLibrary
from yggdrasil.training.batches import collate

CALL = {"num_inference_steps": 3, "output_type": "pt", "seed": 0}
FIRST, SECOND = picture(), mask().convert("RGB")
TEXT = StableDiffusionControlNetPipeline


@register_block("processor/pipelines_test_grey")
class Grey(AbstractProcessor):
    """Takes the colours out of a picture, in the place of a detector of edges."""

    call_inputs: ClassVar[dict[str, bool]] = {"photo": True}

    @op
    def look(self, photo: Pictures) -> Pictures:
        """Gives the picture in grey."""
        return photo.convert("L")


def net(model, kind="inner_module/controlnet"):
    """Makes a block that holds a model."""
    return make_block(kind).give(controlnet=model)


@pytest.fixture(scope="module")
def folder(theirs, tmp_path_factory):
    """Gives a folder with a ControlNet, as one is published."""
    path = tmp_path_factory.mktemp("models") / "edges"
    tiny_controlnet(theirs.unet).save_pretrained(path)
    return path


# -- in a pipeline that ran --------------------------------------------------------------------


def test_a_controlnet_is_added_to_a_pipeline_that_ran_and_taken_out_again(
    theirs, ours, folder, encodings
):
    before = ours("a cat", **CALL).images
    ours.graph.add_node("control", type="inner_module/controlnet", pretrained=str(folder))
    pipe = with_controlnet(
        theirs, TEXT, tiny_controlnet(theirs.unet), requires_safety_checker=False
    )
    call = {"image": FIRST, "guidance_scale": 7.5, "controlnet_conditioning_scale": 0.6}
    live = {"control_image": FIRST, "controlnet_conditioning_scale": 0.6}
    expected = pipe(**drawn(call), output_type="pt").images
    encoded = len(encodings)
    controlled = ours("a cat", **CALL, **live).images
    assert torch.equal(controlled, expected)
    assert not torch.equal(controlled, before)
    assert len(encodings) == encoded  # the prompt does not depend on it
    ours.graph.remove_node("control")
    assert torch.equal(ours("a cat", **CALL).images, before)


def test_it_controls_every_task_of_the_graph(theirs, ours):
    ours.graph.add_node("control", type=net(tiny_controlnet(theirs.unet)))
    masked = {"image": picture(seed=8), "mask_image": mask(), "strength": 0.8}
    weak = {"control_image": FIRST, "controlnet_conditioning_scale": 0.0}
    strong = {"control_image": FIRST}
    for task in ({}, {"image": picture(seed=8), "strength": 0.8}, masked):
        plain, changed = (ours("a cat", **CALL, **task, **each).images for each in (weak, strong))
        assert not torch.equal(plain, changed)


def test_two_have_pictures_and_scales_of_their_own(theirs, ours):
    nets = [tiny_controlnet(theirs.unet, seed) for seed in (1, 2)]
    for order, (name, each) in enumerate(zip(("edges", "pose"), nets, strict=True)):
        ours.graph.add_node(name, type=net(each), order=order)
    pipe = with_controlnet(theirs, TEXT, nets, requires_safety_checker=False)
    lists = {"controlnet_conditioning_scale": [0.3, 0.9], "control_guidance_end": [0.5, 1.0]}
    expected = pipe(**drawn({"image": [FIRST, SECOND], **lists}), output_type="pt").images
    assert torch.equal(
        ours("a cat", **CALL, control_image=[FIRST, SECOND], **lists).images, expected
    )
    by_node = {
        "edges.control_image": FIRST, "edges.controlnet_conditioning_scale": 0.3,
        "edges.control_guidance_end": 0.5, "pose.control_image": SECOND,
        "pose.controlnet_conditioning_scale": 0.9,
    }  # fmt: skip
    assert torch.equal(ours("a cat", **CALL, **by_node).images, expected)


def test_one_model_reads_two_pictures(theirs, ours):
    model = tiny_controlnet(theirs.unet)
    ours.graph.add_node("edges", type=net(model), order=0)
    ours.graph.add_node("again", use="edges", order=1)
    pipe = with_controlnet(theirs, TEXT, [model, model], requires_safety_checker=False)
    expected = pipe(**drawn({"image": [FIRST, SECOND]}), output_type="pt").images
    given = ours("a cat", **CALL, control_image=[FIRST, SECOND]).images
    assert torch.equal(given, expected)


@pytest.mark.parametrize("family", ["sd3", "flux"])
def test_transformers_are_controlled_in_a_live_pipeline_too(family):
    theirs, cls, make = {
        "sd3": (tiny_sd3(), StableDiffusion3ControlNetPipeline, tiny_sd3_controlnet),
        "flux": (tiny_flux(), FluxControlNetPipeline, tiny_flux_controlnet),
    }[family]
    model = make(theirs.transformer)
    ours = quiet(InferencePipeline.from_diffusers(theirs))
    call = {"height": 64, "width": 64}
    before = ours(**drawn(call), output_type="pt").images
    ours.graph.add_node("net", type=net(model, f"inner_module/{family}_controlnet"))
    given = {**call, "control_image": FIRST, "guidance_scale": 7.0}
    assert differences(with_controlnet(theirs, cls, model), given, ours=ours) == (0.0, 0.0)
    ours.graph.remove_node("net")
    assert torch.equal(ours(**drawn(call), output_type="pt").images, before)


def test_another_node_may_make_the_picture(theirs, ours):
    ours.graph.add_node("control", type=net(tiny_controlnet(theirs.unet)))
    expected = ours("a cat", **CALL, control_image=FIRST.convert("L")).images
    ours.graph.add_node("detector", type="processor/pipelines_test_grey")
    ours.graph.connect("detector.pictures", "control.picture.control_image")
    assert torch.equal(ours("a cat", **CALL, photo=FIRST).images, expected)


def test_what_does_not_count_is_not_evaluated(theirs, ours):
    model, runs = tiny_controlnet(theirs.unet), []
    model.register_forward_hook(lambda *_: runs.append(1))
    ours.graph.add_node("control", type=net(model))
    ours(
        "a cat", control_image=FIRST, control_guidance_end=0.5, **{**CALL, "num_inference_steps": 8}
    )
    assert len(runs) == 4


# -- models on disk ----------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2])
def test_a_saved_pipeline_is_opened_natively_and_saved_for_diffusers(theirs, tmp_path, count):
    nets = [tiny_controlnet(theirs.unet, 1 + number) for number in range(count)]
    made = nets if count > 1 else nets[0]
    pipe = with_controlnet(theirs, TEXT, made, requires_safety_checker=False)
    pipe.save_pretrained(tmp_path / "theirs")
    call = {"image": [FIRST, SECOND] if count > 1 else FIRST}
    expected = pipe(**drawn(call), output_type="pt").images
    ours = quiet(InferencePipeline.from_pretrained(tmp_path / "theirs"))
    assert torch.equal(ours(**drawn(call), output_type="pt").images, expected)
    ours.save_pretrained(tmp_path / "ours")
    back = quiet(InferencePipeline.from_pretrained(tmp_path / "ours"))
    assert torch.equal(back(**drawn(call), output_type="pt").images, expected)
    again = quiet(TEXT.from_pretrained(tmp_path / "ours"))
    assert isinstance(again.controlnet, MultiControlNetModel) is (count > 1)
    assert torch.equal(again(**drawn(call), output_type="pt").images, expected)


def test_one_on_the_hub_is_fetched_by_its_id(ours, folder, hub):
    hub.add("org/edges", folder)
    ours.graph.add_node("control", type="inner_module/controlnet", pretrained="org/edges")
    remote = ours("a cat", control_image=FIRST, **CALL).images
    ours.graph.replace_node("control", "inner_module/controlnet", pretrained=str(folder))
    assert torch.equal(ours("a cat", control_image=FIRST, **CALL).images, remote)
    assert hub.fetched("org/edges") == {"config.json", "diffusion_pytorch_model.safetensors"}


def test_a_controlnet_is_put_to_a_model_without_one(theirs, tiny_folder):
    model = tiny_controlnet(theirs.unet)
    ours = quiet(
        InferencePipeline.from_template(
            "sd15_controlnet", pretrained=tiny_folder("sd15"), controlnet=[model, model]
        )
    )
    assert [name for name in ours.graph.nodes if name.startswith("control")] == [
        "control", "control_2",
    ]  # fmt: skip
    assert ours("a cat", image=[FIRST, SECOND], **CALL).images.shape == (1, 3, 64, 64)


def test_a_workflow_names_the_controlnet(tiny_folder, folder, tmp_path):
    pipe = quiet(InferencePipeline.from_pretrained(tiny_folder("sd15")))
    pipe.graph.add_node("control", type="inner_module/controlnet", pretrained=str(folder))
    call = {"control_image": FIRST, "controlnet_conditioning_scale": 0.7, **CALL}
    path = pipe.save_workflow(tmp_path / "cat.yaml", "a cat", **call)
    assert torch.equal(Runner.execute(path).images, pipe("a cat", **call).images)


# -- training ----------------------------------------------------------------------------------


def test_the_same_nodes_give_its_training_step():
    parts = tiny_components()
    model = tiny_controlnet(parts["unet"])
    library = ObjectLibrary({**parts, "controlnet": model}, TEXT.__name__)
    graph = ComputeGraph.from_template("sd15_controlnet").replace_node("solver", "solver/ddim")
    graph.add_node("timesteps", "timesteps/uniform").add_node("objective", "objective/mse")
    training = TrainingPipeline(graph, train_nodes=["control"], library=library)
    samples = [
        {
            "image": torch.rand((3, 64, 64)) * 2 - 1,
            "control": torch.rand((3, 64, 64)),
            "prompt": "a cat",
        }
        for _ in range(2)
    ]
    inputs = {"image": "pixels", "control": "control_image", "prompt": "prompt"}
    training.check(inputs, collate(samples))
    batch = collate(samples)
    for block in ("text", "unet", "vae", "control"):
        graph.block(block).load()
        graph.block(block).requires_grad_(requires_grad=block == "control")
    values = {inputs[name]: value for name, value in batch.items()}
    loss = training._runtime.run(
        {**values, "generator": torch.Generator().manual_seed(0)}, ["objective.loss"],
        mode="corrupt", gradients=True,
    )["objective.loss"]  # fmt: skip
    loss.backward()
    assert all(each.grad is not None for each in model.parameters())
    assert sum(float(each.grad.abs().sum()) > 0 for each in model.parameters()) > 50
    assert all(each.grad is None for each in parts["unet"].parameters())


# -- what is refused ---------------------------------------------------------------------------


def test_one_for_another_base_is_refused_before_weights_load(ours, tmp_path):
    tiny_controlnet(tiny_sdxl().unet, addition_embed_type=None).save_pretrained(tmp_path)
    ours.graph.add_node("control", type="inner_module/controlnet", pretrained=str(tmp_path))
    with pytest.raises(InputError, match=r"text states 72 wide and the backbone 32.*another base"):
        ours.plan("a cat", control_image=FIRST)
    assert "controlnet" not in ours.graph.block("control")._modules


def test_other_channels_are_refused(theirs, ours):
    model = tiny_controlnet(theirs.unet, block_out_channels=(16, 48))
    ours.graph.add_node("control", type=net(model))
    with pytest.raises(InputError, match="blocks of 16, 48 channels and the backbone of 16, 32"):
        ours.plan("a cat", control_image=FIRST)


def test_a_width_that_is_known_is_told_by_its_family():
    backbone = BackboneSpecValue(in_channels=4, sample_size=None, text_width=768)
    looks = r"module looks like one for Stable Diffusion XL, the backbone .* Stable Diffusion 1.x"
    with pytest.raises(InputError, match=looks):
        check_text_width("ControlNet", 2048, backbone)


def test_a_picture_that_is_missing_is_told_by_its_node(theirs, ours):
    ours.graph.add_node("edges", type=net(tiny_controlnet(theirs.unet)))
    with pytest.raises(MissingInputError, match=r"'edges' .* is given no 'control_image'"):
        ours("a cat", **CALL)


def test_a_list_that_is_too_short_names_the_nodes(theirs, ours):
    for order, name in enumerate(("edges", "pose")):
        ours.graph.add_node(name, type=net(tiny_controlnet(theirs.unet)), order=order)
    with pytest.raises(InputError, match=r"1 items for 2 nodes.*edges, pose"):
        ours("a cat", control_image=[FIRST], **CALL)
    with pytest.raises(InputError, match=r"is Image, and 2 nodes read it"):
        ours("a cat", control_image=FIRST, **CALL)


def test_a_picture_of_another_size_is_refused(theirs, ours):
    ours.graph.add_node("control", type=net(tiny_controlnet(theirs.unet)))
    changed = {"image": picture(seed=8), "strength": 0.5, "control_image": picture(96, 64)}
    with pytest.raises(InputError, match="64 pixels high and 96 wide, and what is made 64 and 64"):
        ours("a cat", **CALL, **changed)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"control_guidance_start": 0.6, "control_guidance_end": 0.5}, "the start before the end"),
        ({"control_guidance_end": 1.5}, "from 0 to 1"),
        ({"controlnet_conditioning_scale": "much"}, "is 'much': give a number"),
        ({"controlnet_conditioning_scale": [0.1, 0.2]}, "2 items for one node"),
    ],
)
def test_numbers_that_cannot_be_right_are_refused(theirs, ours, given, text):
    ours.graph.add_node("control", type=net(tiny_controlnet(theirs.unet)))
    with pytest.raises(InputError, match=text):
        ours("a cat", control_image=FIRST, **CALL, **given)


def test_a_kind_that_a_union_does_not_know_is_refused():
    pipe = tiny_sdxl()
    ours = quiet(InferencePipeline.from_diffusers(pipe))
    ours.graph.add_node("control", type=net(tiny_union(pipe.unet), "inner_module/controlnet_union"))
    with pytest.raises(InputError, match=r"control_mode is 6, but the ControlNet knows 6 kinds"):
        ours.plan("a cat", control_image=FIRST, control_mode=6)


def test_a_model_of_another_class_is_refused(ours, tmp_path):
    tiny_union(tiny_sdxl().unet).save_pretrained(tmp_path)
    ours.graph.add_node("control", type="inner_module/controlnet", pretrained=str(tmp_path))
    with pytest.raises(ModelError, match=r"holds a ControlNetUnionModel.*for a ControlNetModel"):
        ours("a cat", control_image=FIRST, **CALL)


def test_without_a_controlnet_its_arguments_are_unknown(ours):
    with pytest.raises(UnknownInputError, match="control_image"):
        ours("a cat", control_image=FIRST, **CALL)
