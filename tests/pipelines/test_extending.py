"""``controlnet=...`` for a model that comes without one, as Diffusers takes it."""

from __future__ import annotations

import pytest
import torch
from diffusers import (
    FluxControlNetPipeline,
    MultiControlNetModel,
    StableDiffusion3ControlNetPipeline,
    StableDiffusionControlNetPipeline,
    StableDiffusionXLControlNetPipeline,
    StableDiffusionXLControlNetUnionPipeline,
)

from tests.pipelines.conftest import generator, quiet
from tests.pipelines.pictures import mask, picture
from tests.tiny_controlnets import (
    tiny_controlnet,
    tiny_flux_controlnet,
    tiny_sd3_controlnet,
    tiny_union,
    with_controlnet,
)
from tests.tiny_flux import tiny_flux
from tests.tiny_models import tiny_pipeline
from tests.tiny_sd3 import tiny_sd3
from tests.tiny_sdxl import tiny_sdxl
from yggdrasil import InferencePipeline, TrainingPipeline
from yggdrasil.core.errors import ConfigError, InputError

CALL = {"prompt": "a cat", "num_inference_steps": 2, "output_type": "pt"}
SIZE = {"height": 64, "width": 64}

FAMILIES = {
    "sd15": (tiny_pipeline, tiny_controlnet, StableDiffusionControlNetPipeline, "image", {}),
    "sdxl": (tiny_sdxl, tiny_controlnet, StableDiffusionXLControlNetPipeline, "image", {}),
    "union": (
        tiny_sdxl, tiny_union, StableDiffusionXLControlNetUnionPipeline, "control_image",
        {"control_mode": 1},
    ),
    "sd3": (
        tiny_sd3, tiny_sd3_controlnet, StableDiffusion3ControlNetPipeline, "control_image", {}
    ),
    "flux": (tiny_flux, tiny_flux_controlnet, FluxControlNetPipeline, "control_image", SIZE),
}  # fmt: skip


def backbone(pipe):
    return getattr(pipe, "unet", None) or pipe.transformer


@pytest.mark.parametrize("family", FAMILIES)
def test_a_controlnet_is_given_where_diffusers_takes_it(family, tmp_path):
    make, make_net, cls, argument, further = FAMILIES[family]
    plain = make()
    net = make_net(backbone(plain))
    plain.save_pretrained(tmp_path)
    parts = {name: part for name, part in plain.components.items() if part is not None}
    theirs = with_controlnet(plain, cls, net)
    call = {**CALL, **further, argument: picture()}
    torch.manual_seed(0)
    expected = theirs(**call, generator=generator()).images
    models = {k: v for k, v in parts.items() if isinstance(v, torch.nn.Module)}
    ours = quiet(InferencePipeline.from_pretrained(tmp_path, controlnet=net, **models))
    torch.manual_seed(0)
    assert torch.equal(ours(**call, generator=generator()).images, expected)


@pytest.mark.parametrize("held", [list, MultiControlNetModel])
def test_several_are_given_as_a_list_or_as_diffusers_holds_them(theirs, tiny_folder, held):
    nets = [tiny_controlnet(theirs.unet, seed) for seed in (1, 2)]
    pipe = quiet(InferencePipeline.from_pretrained(tiny_folder(), controlnet=held(nets)))
    pictures = [picture(), mask().convert("RGB")]
    both = pipe(**CALL, image=pictures, seed=0).images
    assert [name for name in pipe.graph.nodes if pipe.graph.role(name) == "inner_module"] == [
        "control", "control_2",
    ]  # fmt: skip
    one = pipe(**CALL, image=pictures, seed=0, controlnet_conditioning_scale=[1.0, 0.0]).images
    assert not torch.equal(both, one)


def test_a_pipeline_object_and_a_template_take_it_too(theirs, tiny_folder):
    net = tiny_controlnet(theirs.unet)
    call = {**CALL, "image": picture(), "seed": 0}
    first = quiet(InferencePipeline.from_diffusers(theirs, controlnet=net))(**call).images
    pipe = InferencePipeline.from_template("sd15", pretrained=tiny_folder(), controlnet=net)
    assert pipe.graph.name == "sd15_controlnet"
    assert first.shape == quiet(pipe)(**call).images.shape


def test_it_is_trained(theirs, tiny_folder):
    nets = [tiny_controlnet(theirs.unet, seed) for seed in (1, 2)]
    pipe = TrainingPipeline.from_pretrained(
        tiny_folder(), controlnet=nets, train_nodes=["control_2"]
    )
    assert pipe.graph.block("control_2").controlnet is nets[1]


@pytest.mark.parametrize(
    ("make", "net", "message"),
    [
        (
            tiny_sd3,
            lambda: tiny_controlnet(tiny_pipeline().unet),
            r"ControlNetModel.*'sd3' hold SD3ControlNetModel.*'sd15_controlnet' or 'sdxl_controln",
        ),
        (tiny_sdxl, list, "controlnet is an empty list: give one"),
        (tiny_sdxl, lambda: "path/to/net", r"controlnet is str.*from_pretrained\('path/to/net'\)"),
        (
            tiny_sdxl,
            lambda: [tiny_controlnet(tiny_sdxl().unet), tiny_union(tiny_sdxl().unet)],
            r"ControlNetModel and ControlNetUnionModel.* All must be of one such class\.",
        ),
    ],
)
def test_what_no_template_of_the_family_holds_is_refused(make, net, message):
    with pytest.raises(ConfigError, match=message):
        InferencePipeline.from_diffusers(make(), controlnet=net())


def test_one_for_another_base_is_refused_before_anything_runs(theirs, tmp_path):
    tiny_sdxl().save_pretrained(tmp_path)
    pipe = InferencePipeline.from_pretrained(tmp_path, controlnet=tiny_controlnet(theirs.unet))
    with pytest.raises(InputError, match="it was made for another base"):
        pipe("a cat", image=picture())
    assert "unet" not in vars(pipe.graph.block("unet"))["_modules"]


def test_a_model_that_was_saved_with_its_graph_is_extended_by_a_node(theirs, ours, tmp_path):
    folder = ours.save_pretrained(tmp_path / "saved")
    message = r"saved with its graph.*add_node\('control', 'inner_module/controlnet'\)"
    with pytest.raises(ConfigError, match=message):
        InferencePipeline.from_pretrained(folder, controlnet=tiny_controlnet(theirs.unet))


def test_pictures_may_be_given_by_node(theirs, tiny_folder):
    nets = [tiny_controlnet(theirs.unet, seed) for seed in (1, 2)]
    pipe = quiet(InferencePipeline.from_pretrained(tiny_folder(), controlnet=nets))
    pictures = [picture(), mask().convert("RGB")]
    expected = pipe(**CALL, image=pictures, seed=0).images
    by_node = {"control.control_image": pictures[0], "control_2.control_image": pictures[1]}
    assert torch.equal(pipe(**CALL, **by_node, seed=0).images, expected)
