"""Checkpoints of one file: Stable Diffusion XL and 3, and FLUX.1, told by their headers."""

from __future__ import annotations

import pytest
import torch
from diffusers.loaders import single_file_utils
from diffusers.loaders.single_file_model import SINGLE_FILE_LOADABLE_CLASSES as CONVERTERS
from safetensors.torch import save_file

from tests.single_files import checkpoint_tensors, save_header
from tests.single_files_of_flows import flux_transformer, sd3_tensors
from yggdrasil.core.errors import ModelError
from yggdrasil.hub.access import HubOptions
from yggdrasil.hub.checkpoint import open_checkpoint
from yggdrasil.hub.config_library import ConfigLibrary
from yggdrasil.hub.config_sets import config_sets
from yggdrasil.hub.resolving import resolve
from yggdrasil.pipelines.skeletons import skeleton_of

FLUXES = {"flux_dev": "dev", "flux_schnell": "schnell", "flux_fill": "Fill", "flux_control": "Con"}
SDXL = ("sdxl", "sdxl_inpaint", "sdxl_refiner")
SD3 = ("sd3", "sd35_medium", "sd35_large")
# What Diffusers calls them (infer_diffusers_model_type).
THEIRS = {
    "sdxl": "xl_base", "sdxl_inpaint": "xl_inpaint", "sdxl_refiner": "xl_refiner", "sd3": "sd3",
    "sd35_medium": "sd35_medium", "sd35_large": "sd35_large", "flux_dev": "flux-dev",
    "flux_schnell": "flux-schnell", "flux_fill": "flux-fill", "flux_control": "flux-depth",
}  # fmt: skip


@pytest.fixture(scope="module")
def whole():
    """Gives models as large as the real ones, without values, and their tensors in a file."""
    made = {}

    def of(name):
        if name not in made:
            graph = skeleton_of(ConfigLibrary.open(name)).graph
            blocks = [node.block for node in graph.nodes.values() if node.block is not None]
            components = {"text_encoder": None}
            for block in blocks:
                for part, slot in block.slots().items():
                    if isinstance(block._modules.get(part), torch.nn.Module):
                        components[slot.folder] = block._modules[part]
            with torch.device("meta"):
                made[name] = components, tensors(name, components)
        return made[name]

    return of


def tensors(name, components):
    if name in SDXL:
        return checkpoint_tensors(components)
    if name in SD3:
        return sd3_tensors(components)
    return dict(flux_transformer(components["transformer"]))


def opened(path, **options):
    return open_checkpoint(path, **{"options": HubOptions(local_files_only=True), **options})


@pytest.mark.parametrize("name", THEIRS)
def test_a_checkpoint_is_recognised_by_its_header_as_diffusers_does(whole, tmp_path, name):
    _, found = whole(name)
    path = save_header(tmp_path / "model.safetensors", found)
    library = opened(path)
    assert library.configs.name == name
    assert single_file_utils.infer_diffusers_model_type(found) == THEIRS[name]
    weights = {n for n in config_sets()[name].components if n[:9] not in ("tokenizer", "scheduler")}
    assert library.names() >= ({"transformer"} if name in FLUXES else weights)
    told = resolve(str(path))
    assert told.pipeline == config_sets()[name].pipeline
    assert told.why.startswith("it has the tensors of ")


@pytest.mark.parametrize("name", ["flux_dev", "flux_schnell", "flux_fill", "sd3", "sd35_medium"])
def test_the_prefix_of_a_transformer_may_be_there_or_not(whole, tmp_path, name):
    start = "model.diffusion_model."
    _, found = whole(name)
    other = {
        each.removeprefix(start) if name in SD3 else f"{start}{each}": tensor
        for each, tensor in found.items()
        if name not in SD3 or each.startswith(start)
    }
    library = opened(save_header(tmp_path / "model.safetensors", other))
    assert library.configs.name == name
    assert "transformer" in library.names()


@pytest.mark.parametrize("name", THEIRS)
def test_its_names_are_those_that_diffusers_converts(whole, name):
    """Of every tensor of the true-size models, by name and shape."""
    components, found = whole(name)
    for part in ("unet", "transformer", "vae"):
        model = components.get(part)
        if model is None or (part == "vae" and name in FLUXES):
            continue
        convert = CONVERTERS[type(model).__name__]["checkpoint_mapping_fn"]
        mine = {k: v for k, v in found.items() if is_of(part, k, name)}
        converted = convert(checkpoint=mine, config=dict(model.config))
        assert shapes(converted) == shapes(model.state_dict())


def is_of(part, name, family):
    starts = {"vae": "first_stage_model."}.get(part, "model.diffusion_model.")
    return family in FLUXES or name.startswith(starts)


def shapes(values):
    return {name: tuple(tensor.shape) for name, tensor in values.items()}


# Of github.com/Stability-AI/generative-models, configs/inference/sd_xl_base.yaml and
# sd_xl_refiner.yaml.
BASE = {
    "in_channels": 4, "out_channels": 4, "model_channels": 320, "attention_resolutions": [4, 2],
    "num_res_blocks": 2, "channel_mult": [1, 2, 4], "num_head_channels": 64,
    "use_linear_in_transformer": True, "transformer_depth": [1, 2, 10], "context_dim": 2048,
    "adm_in_channels": 2816, "num_classes": "sequential",
}  # fmt: skip
REFINER = {
    "model_channels": 384, "channel_mult": [1, 2, 4, 4], "transformer_depth": 4,
    "context_dim": [1280] * 4, "adm_in_channels": 2560,
}  # fmt: skip
VAE = {
    "z_channels": 4, "in_channels": 3, "out_ch": 3, "ch": 128, "ch_mult": [1, 2, 4, 4],
    "num_res_blocks": 2,
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "params"),
    [("sdxl", BASE), ("sdxl_inpaint", {**BASE, "in_channels": 9}),
     ("sdxl_refiner", {**BASE, **REFINER})],
)  # fmt: skip
def test_the_configurations_are_those_that_diffusers_makes_of_the_originals(whole, name, params):
    original = {
        "network_config": {"params": params}, "scale_factor": 0.13025,
        "first_stage_config": {"params": {"ddconfig": VAE}},
    }  # fmt: skip
    components, found = whole(name)
    for part, make in {
        "unet": single_file_utils.create_unet_diffusers_config_from_ldm,
        "vae": single_file_utils.create_vae_diffusers_config_from_ldm,
    }.items():
        theirs = make({"model": {"params": original}}, dict(found))
        theirs.pop("sample_size")  # the original says nothing of it that is used
        mine = dict(components[part].config)
        assert {key: plain(mine[key]) for key in theirs} == {k: plain(v) for k, v in theirs.items()}


def plain(value):
    if isinstance(value, (list, tuple)):
        same = len(set(map(str, value))) == 1
        return value[0] if same and not isinstance(value[0], str) else list(value)
    return value


def test_what_a_flow_predicts_is_not_to_be_said(whole, tmp_path):
    _, found = whole("flux_schnell")
    path = save_header(tmp_path / "model.safetensors", found)
    with pytest.raises(ModelError, match=r"is FLUX\.1 schnell, which predicts a flow: prediction_"):
        opened(path, prediction_type="epsilon")


def test_an_unknown_file_says_its_keys_and_what_is_near(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({"double_blocks.0.img_attn.norm.key_norm.scale": torch.ones(64)}, path)
    message = r"It holds 1 tensors: double_blocks \(1\)\. Compared with FLUX\.1 .*, it has model"
    with pytest.raises(ModelError, match=message):
        opened(path)
