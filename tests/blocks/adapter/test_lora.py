"""What is said of LoRAs that cannot be loaded, or only in part."""

from __future__ import annotations

import logging
import re

import pytest
import torch

from tests.pipelines.conftest import quiet
from tests.tiny_flux import tiny_flux
from tests.tiny_loras import (
    FLUX,
    NAME,
    SD,
    SDXL,
    as_kohya,
    as_kohya_flux,
    tiny_factors,
    tiny_lora,
    write,
)
from tests.tiny_models import tiny_pipeline
from tests.tiny_sd3 import tiny_sd3
from tests.tiny_sdxl import tiny_sdxl
from yggdrasil import ComputeGraph, InferencePipeline
from yggdrasil.blocks.adapter.lora_formats import read_parts
from yggdrasil.core.errors import ConfigError, InputError, ModelError

CALL = {"num_inference_steps": 1, "output_type": "latent", "seed": 0}


@pytest.fixture(scope="module")
def theirs():
    return tiny_pipeline()


def call_with(theirs, weights, **config):
    """Runs a pipeline with a LoRA."""
    ours = quiet(InferencePipeline.from_diffusers(theirs))
    ours.graph.add_node("style", type="adapter/lora", weights=str(weights), **config)
    return ours("a cat", **CALL).latents


def refused(theirs, weights, message, error=ModelError, **config):
    with pytest.raises(error, match=message):
        call_with(theirs, weights, **config)
    assert not hasattr(theirs.unet, "peft_config")


def test_a_lora_of_sdxl_is_known_for_one(theirs, tmp_path):
    path = tiny_lora(tmp_path, tiny_sdxl(), SDXL)
    refused(theirs, path, r"fits no layer of text_encoder|made for another model than .*SDXL")


def test_a_lora_of_flux_is_known_for_one(theirs, tmp_path):
    path = tiny_lora(tmp_path, tiny_flux(), {"transformer": FLUX["transformer"]})
    refused(theirs, path, r"changes nothing here: .* look like those of a LoRA for FLUX, .* unet")


def test_layers_of_other_sizes_are_told(theirs, tmp_path):
    factors = tiny_factors(theirs, {"unet": SD["unet"]})
    wide = {k: v.new_ones(4, 48) if "attn2.to_k.lora_A" in k else v for k, v in factors.items()}
    message = r"another model than unet .*attn2.to_k turns 32 channels into \d+ there, 48 into"
    refused(theirs, write(tmp_path, wide), message)


def test_what_is_left_over_is_told(theirs, tmp_path, caplog):
    factors = tiny_factors(theirs, SD)
    further = {
        "unet.down_blocks.7.attentions.0.to_q.lora_A.weight": torch.ones(4, 8),
        "unet.down_blocks.7.attentions.0.to_q.lora_B.weight": torch.ones(8, 4),
        "text_encoder_2.encoder.layers.0.mlp.fc1.lora_A.weight": torch.ones(4, 8),
        "text_encoder_2.encoder.layers.0.mlp.fc1.lora_B.weight": torch.ones(8, 4),
    }
    path = write(tmp_path / "more", {**factors, **further})
    with caplog.at_level(logging.WARNING, logger="yggdrasil"):
        latents = call_with(theirs, path)
    told = caplog.text
    assert "names 1 layers, of" in told
    assert "down_blocks.7.attentions.0.to_q" in told
    assert "also changes 'text_encoder_2'" in told
    assert torch.equal(latents, call_with(theirs, write(tmp_path / "bare", factors)))


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("lora_unet_a.hada_w1_a", "LoHa"),
        ("lora_unet_a.lokr_w1", "LoKr"),
        ("lora_unet_a.dora_scale", "DoRA"),
        ("lora_unet_a.lora_mid.weight", "LoCon with a middle factor"),
        ("unet.a.oft_blocks", "OFT"),
    ],
)
def test_forms_that_are_not_loaded_are_named(theirs, tmp_path, name, what):
    path = write(tmp_path, {name: torch.ones(2, 2), "lora_unet_a.alpha": torch.tensor(1.0)})
    refused(theirs, path, rf"is an? {re.escape(what)}.*{re.escape(name)}")


def test_a_file_that_is_no_lora_is_told(theirs, tmp_path):
    path = write(tmp_path, {"conv_in.weight": torch.ones(2, 2)})
    refused(theirs, path, r"is no LoRA: .* such as conv_in.weight.*from_single_file")


def test_names_of_no_layout_are_told(theirs, tmp_path):
    path = write(tmp_path, {"lora_unet_mystery.lora_down.weight": torch.ones(2, 2)})
    refused(theirs, path, "is in no layout of LoRAs for UNet2DConditionModel")


def test_kohyas_names_for_stable_diffusion_3_are_told(tmp_path):
    pipe = tiny_sd3()
    path = write(tmp_path, as_kohya(tiny_factors(pipe, {"transformer": ("to_q",)})))
    ours = quiet(InferencePipeline.from_diffusers(pipe))
    ours.graph.add_node("style", type="adapter/lora", weights=str(path))
    message = (
        r"is in kohya's layout \(lora_unet_.*Diffusers does not read for SD3Transformer2DModel"
    )
    with pytest.raises(ModelError, match=message):
        ours("a cat", height=64, width=64, **CALL)


def test_the_names_of_the_code_that_flux_came_with_are_converted(tmp_path):
    double = ("mod.lin", "attn.qkv", "attn.proj", "mlp.0", "mlp.2")
    layers = {
        **{
            f"double_blocks.{block}.{side}_{layer}": 3
            for block in range(19)
            for side in ("img", "txt")
            for layer in double
        },
        **{f"single_blocks.{block}.{layer}": 3 for block in range(38)
           for layer in ("modulation.lin", "linear2")},
        **{f"single_blocks.{block}.linear1": 7 * 3072 for block in range(38)},
        "final_layer.linear": 3,
    }  # fmt: skip
    state = {
        f"base_model.model.{layer}.{factor}.weight": value
        for layer, wide in layers.items()
        for factor, value in (("lora_A", torch.ones(1, 3)), ("lora_B", torch.ones(wide, 1)))
    }
    ours = InferencePipeline.from_diffusers(tiny_flux())
    path = write(tmp_path, state) / NAME
    part = read_parts(path, [ours.graph.block("transformer")])["transformer"]
    assert "single_transformer_blocks.37.proj_mlp" in part.layers
    assert not any("double_blocks" in name for name in part.layers)


def test_differences_that_the_loader_leaves_out_are_told(tmp_path, caplog):
    pipe = tiny_flux()
    state = as_kohya_flux(tiny_factors(pipe, {"transformer": ("to_out.0",)}))
    state["lora_unet_double_blocks_0_img_attn_proj.diff_b"] = torch.ones(32)
    ours = quiet(InferencePipeline.from_diffusers(pipe))
    ours.graph.add_node("style", type="adapter/lora", weights=str(write(tmp_path, state)))
    with caplog.at_level(logging.WARNING, logger="yggdrasil"):
        ours("a cat", height=64, width=64, **CALL)
    assert "img_attn_proj.diff_b, which Diffusers' loader leaves out" in caplog.text


def test_what_training_left_out_by_chance_is_not_left_out_here(theirs, tmp_path):
    state = {
        key.removeprefix("unet."): value
        for key, value in tiny_factors(theirs, {"unet": SD["unet"]}).items()
    }
    images = []
    for dropout in (0.0, 0.9):
        told = {"r": 4, "target_modules": [*SD["unet"]], "lora_dropout": dropout}
        folder = tmp_path / str(dropout)
        theirs.save_lora_weights(folder, unet_lora_layers=state, unet_lora_adapter_metadata=told)
        images.append(call_with(theirs, folder))
    assert torch.equal(*images)


def test_factors_of_no_width_are_told(theirs, tmp_path):
    factors = tiny_factors(theirs, {"unet": SD["unet"]})
    empty = {k: v[:0] if ".lora_A." in k else v[:, :0] for k, v in factors.items()}
    refused(theirs, write(tmp_path, empty), r"cannot be put on 'unet' .*positive")


def test_a_configuration_that_peft_does_not_know_is_told(theirs, tmp_path):
    state = {
        key.removeprefix("unet."): value
        for key, value in tiny_factors(theirs, {"unet": SD["unet"]}).items()
    }
    told = {"r": 4, "target_modules": ["to_q"], "of_next_year": 1}
    theirs.save_lora_weights(tmp_path, unet_lora_layers=state, unet_lora_adapter_metadata=told)
    refused(theirs, tmp_path, r"cannot be put on 'unet' .*of_next_year")


@pytest.mark.parametrize("name", ["style.bin", "style.pt", "style.ckpt"])
def test_what_is_pickled_is_not_opened(theirs, tmp_path, name):
    (tmp_path / name).write_bytes(b"\x80\x04.")
    refused(theirs, tmp_path / name, "pickled, and loading it could run any code")
    refused(theirs, tmp_path, f"holds no .safetensors file. {name} is pickled")


def test_files_that_are_not_there_or_damaged(theirs, tmp_path):
    refused(theirs, tmp_path / "none", "There is no LoRA .*neither a file nor a folder")
    (tmp_path / NAME).write_bytes(b"nothing of the sort")
    refused(theirs, tmp_path, "cannot be read: .* download it again")


def test_of_several_files_one_is_to_be_named(theirs, tmp_path):
    factors = tiny_factors(theirs, SD)
    for name in ("one.safetensors", "two.safetensors"):
        write(tmp_path, factors, name)
    refused(theirs, tmp_path, r"holds 2 LoRAs: one.safetensors, two.safetensors. Name one")


def test_a_file_that_a_folder_has_not_gives_the_nearest(theirs, tmp_path):
    write(tmp_path / "part", tiny_factors(theirs, SD), "pixel.safetensors")
    where = {"weight_name": "pixle.safetensors", "subfolder": "part"}
    refused(theirs, tmp_path, r"has no file 'pixle.safetensors'.*'pixel.safetensors'", **where)
    refused(theirs, tmp_path, r"There is no LoRA .*prat", subfolder="prat")


@pytest.mark.parametrize("scale", [float("nan"), "much", {"unet": {"down": None}}])
def test_scales_that_cannot_be_are_refused(scale):
    with pytest.raises(InputError, match="finite number"):
        ComputeGraph().add_node("style", type="adapter/lora", scale=scale)


def test_a_scale_for_what_is_not_changed_is_refused(theirs, tmp_path):
    path = tiny_lora(tmp_path, theirs, SD)
    scale = {"text_encodr": 0.5}
    refused(theirs, path, "scale names 'text_encodr'.*text_encoder", InputError, scale=scale)


@pytest.mark.parametrize("fuse", [1, None, ["unet"], {"unet": True}, {"unet": float("inf")}])
def test_what_says_of_no_component_at_which_factor_it_is_fused_is_refused(fuse):
    graph = ComputeGraph()
    with pytest.raises(InputError, match=r"fuse is|finite number"):
        graph.add_node("style", type="adapter/lora", fuse=fuse)
    block = graph.add_node("other", type="adapter/lora").block("other")
    with pytest.raises(InputError, match=r"fuse is|finite number"):
        block.fuse = fuse
    assert block.fuse is False


def test_to_fuse_into_what_is_not_changed_is_refused(theirs, tmp_path):
    path = tiny_lora(tmp_path, theirs, {"unet": SD["unet"]})
    refused(theirs, path, "fuse names 'text_encoder'.*unet", InputError, fuse={"text_encoder": 1})


def test_without_a_backbone_nothing_says_how_to_read_it(theirs, tmp_path):
    path = tiny_lora(tmp_path, theirs, SD)
    message = "none of these is among what the adapter changes: CLIPTextModel"
    refused(theirs, path, message, ConfigError, targets=["text"])


def test_it_is_known_before_models_are_loaded(tiny_folder, tmp_path):
    ours = quiet(InferencePipeline.from_pretrained(tiny_folder("sd15")))
    ours.graph.add_node("style", type="adapter/lora", weights=str(tmp_path / "none"))
    with pytest.raises(ModelError, match="There is no LoRA"):
        ours("a cat", **CALL)
    assert not any(block._modules for _, block in _blocks(ours))


def _blocks(pipe):
    return [(name, pipe.graph.block(name)) for name in pipe.graph.nodes if name != "style"]


@pytest.mark.parametrize("active", ["unet", 1, None, [1]])
def test_what_says_of_no_component_whether_it_acts_is_refused(active):
    with pytest.raises(InputError, match="give True, False or a list of components"):
        ComputeGraph().add_node("style", type="adapter/lora", active=active)
    graph = ComputeGraph().add_node("style", type="adapter/lora")
    with pytest.raises(InputError, match="give True, False or a list of components"):
        graph.block("style").active = active


def test_to_act_on_what_is_not_changed_is_refused(theirs, tmp_path):
    path = tiny_lora(tmp_path, theirs, SD)
    refused(theirs, path, "active names 'unte'.*unet", InputError, active=["unte"])
    narrow = call_with(theirs, path, active=["unet"])
    assert torch.equal(narrow, call_with(theirs, path, scale={"unet": 1.0, "text_encoder": 0.0}))
    assert not torch.equal(narrow, call_with(theirs, path))
    assert not torch.equal(narrow, call_with(theirs, path, active=False))
