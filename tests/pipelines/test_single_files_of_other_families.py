"""SDXL, Stable Diffusion 3 and FLUX.1 in one file make the pictures that Diffusers makes of it."""

from __future__ import annotations

import logging
import shutil

import pytest
import torch
from diffusers import (
    FlowMatchEulerDiscreteScheduler,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInpaintPipeline,
    StableDiffusionXLPipeline,
)
from safetensors.torch import save_file

from tests import tiny_sd3
from tests.pipelines.conftest import generator, quiet
from tests.pipelines.pictures import mask, picture
from tests.single_files import save_checkpoint
from tests.single_files_of_flows import flux_transformer, sd3_tensors
from tests.tiny_flux import tiny_flux
from tests.tiny_models import randomize
from tests.tiny_sdxl import tiny_sdxl
from yggdrasil import InferencePipeline
from yggdrasil.core.errors import ModelError

CALL = {"num_inference_steps": 3, "output_type": "pt"}


@pytest.fixture
def configs(tmp_path):
    """Writes a pipeline's folder without its weights."""

    def of(pipe):
        pipe.save_pretrained(tmp_path / "whole")
        ignore = shutil.ignore_patterns("*.safetensors")
        return shutil.copytree(tmp_path / "whole", tmp_path / "configs", ignore=ignore)

    return of


def images(pipe, **given):
    return quiet(pipe)("a cat", generator=generator(), **{**CALL, **given}).images


def at_even_addresses(pipe):
    """Moves weights that Diffusers loaded: at other addresses they give other last bits."""
    for module in pipe.components.values():
        for parameter in module.parameters() if isinstance(module, torch.nn.Module) else ():
            parameter.data = parameter.data.clone()
    return pipe


@pytest.mark.parametrize(
    ("kind", "cls", "given"),
    [
        ("sdxl", StableDiffusionXLPipeline, {}),
        ("sdxl_refiner", StableDiffusionXLImg2ImgPipeline, {"image": picture(), "strength": 0.7}),
        (
            "sdxl_inpaint",
            StableDiffusionXLInpaintPipeline,
            {"image": picture(), "mask_image": mask(), "strength": 0.9},
        ),
    ],
)
def test_a_file_of_sdxl_makes_the_pictures_of_diffusers(tmp_path, configs, kind, cls, given):
    made = tiny_sdxl(kind)
    config = configs(made)
    path = save_checkpoint(tmp_path / "xl.safetensors", made.components)
    mine = images(InferencePipeline.from_single_file(path, config=config), **given)
    theirs = cls.from_single_file(str(path), config=str(config), local_files_only=True)
    assert (mine - images(at_even_addresses(theirs), **given)).abs().max() == 0.0
    assert torch.equal(mine, images(made, **given))


def tiny(kind):
    """Gives a tiny model whose first text encoder projects to itself: files do not hold how."""
    made = tiny_sd3.tiny_sd3(kind)
    first = tiny_sd3._projecting(len(made.tokenizer), width=32, projected=32, act="quick_gelu")
    randomize(first, 9)
    first.text_projection.weight.data = torch.eye(32)
    config = {**made.transformer.config, "pooled_projection_dim": 72}
    transformer = randomize(SD3Transformer2DModel.from_config(config), 8)
    made.register_modules(text_encoder=first, transformer=transformer)
    return made


@pytest.mark.parametrize("kind", ["sd3", "sd35", "sd3_no_t5"])
def test_a_file_of_sd3_makes_the_pictures_of_diffusers(tmp_path, configs, kind):
    made = tiny(kind)
    config = configs(made)
    found = {name: tensor.clone() for name, tensor in sd3_tensors(made.components).items()}
    save_file(found, tmp_path / "sd3.safetensors", metadata={"format": "pt"})
    path = tmp_path / "sd3.safetensors"
    mine = images(InferencePipeline.from_single_file(path, config=config))
    without = {"text_encoder_3": None, "tokenizer_3": None} if kind == "sd3_no_t5" else {}
    theirs = StableDiffusion3Pipeline.from_single_file(
        str(path), config=str(config), local_files_only=True, **without
    )
    if not without:
        theirs.text_encoder_3.eval()  # Diffusers leaves it training: its dropout would be random
    assert (mine - images(at_even_addresses(theirs))).abs().max() == 0.0
    assert torch.equal(mine, images(made))


def test_a_t5_whose_embedding_is_in_the_file_once_is_whole(tmp_path, configs):
    made = tiny("sd3")
    config = configs(made)
    found = {name: tensor.clone() for name, tensor in sd3_tensors(made.components).items()}
    found.pop("text_encoders.t5xxl.transformer.encoder.embed_tokens.weight", None)
    save_file(found, tmp_path / "sd3.safetensors", metadata={"format": "pt"})
    pipe = InferencePipeline.from_single_file(tmp_path / "sd3.safetensors", config=config)
    assert torch.equal(images(pipe), images(made))


@pytest.fixture(scope="module")
def wide():
    """Gives a FLUX of the true width: the converter of Diffusers knows no other."""
    config = tiny_flux().transformer.config
    sizes = {"num_single_layers": 1, "attention_head_dim": 128, "num_attention_heads": 24}
    with torch.device("meta"):
        model = FluxTransformer2DModel.from_config(
            {**config, **sizes, "axes_dims_rope": (16, 56, 56)}
        )
    model = model.to(torch.bfloat16).to_empty(device="cpu").eval()
    for number, parameter in enumerate(model.parameters()):
        flat = torch.arange(parameter.numel(), dtype=torch.float32).add_(number).sin_().mul_(0.02)
        parameter.data.copy_(flat.view_as(parameter))
    return model


@pytest.mark.slow
def test_a_file_of_flux_alone_takes_the_rest_from_the_model_of_the_configurations(
    tmp_path, wide, caplog
):
    made = tiny_flux()
    made.register_modules(transformer=wide)
    made.save_pretrained(tmp_path / "whole")
    path = tmp_path / "flux.safetensors"
    save_file({n: t.contiguous() for n, t in flux_transformer(wide)}, path)
    with caplog.at_level(logging.WARNING, "yggdrasil"):
        pipe = InferencePipeline.from_single_file(
            path, config=tmp_path / "whole", torch_dtype=torch.bfloat16
        )
    assert "flux.safetensors has no text_encoder, text_encoder_2, vae: taken from" in caplog.text
    mine = pipe.components["transformer"].state_dict()
    theirs = FluxTransformer2DModel.from_single_file(
        str(path), config=str(tmp_path / "whole"), subfolder="transformer", dtype=torch.bfloat16
    ).state_dict()
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(value, theirs[name]) for name, value in mine.items())
    assert all(torch.equal(value, mine[name]) for name, value in wide.state_dict().items())
    call = {"num_inference_steps": 1, "height": 32, "width": 32, "max_sequence_length": 16}
    made = made.to(torch.bfloat16)
    assert torch.equal(images(pipe, **call), images(made, **call))


def test_a_file_of_flux_alone_says_what_else_it_needs(tmp_path):
    names = {
        "double_blocks.0.img_attn.norm.key_norm.scale": (128,), "img_in.weight": (3072, 64),
    }  # fmt: skip
    save_file({n: torch.zeros(s) for n, s in names.items()}, tmp_path / "flux.safetensors")
    message = (
        r"has no 'vae', which node 'vae' needs; it has scheduler, tokenizer, tokenizer_2, "
        r"transformer\. Give vae=\.\.\., or config=\.\.\., a folder or hub id of a whole"
    )
    with pytest.raises(ModelError, match=message):
        InferencePipeline.from_single_file(tmp_path / "flux.safetensors")


def test_the_scheduler_of_the_configurations_is_taken(tmp_path, configs):
    made = tiny("sd3")
    made.scheduler = FlowMatchEulerDiscreteScheduler(shift=5.0)
    config = configs(made)
    found = {name: tensor.clone() for name, tensor in sd3_tensors(made.components).items()}
    save_file(found, tmp_path / "sd3.safetensors")
    pipe = InferencePipeline.from_single_file(tmp_path / "sd3.safetensors", config=config)
    assert pipe.graph.block("solver").make_scheduler().config.shift == 5.0
