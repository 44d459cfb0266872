"""Components loaded from files, and made from configurations."""

from __future__ import annotations

import json
import shutil
from typing import ClassVar

import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel, CLIPTokenizer

from tests.tiny_models import tiny_unet, tiny_vae
from yggdrasil.core.block import AbstractBaseBlock
from yggdrasil.core.component import Component
from yggdrasil.core.errors import ConfigError, ModelError
from yggdrasil.hub.sources import FolderSource, FreshSource


def slot(cls, name):
    made = Component(cls)
    made.__set_name__(object, name)
    return made


UNET = slot(UNet2DConditionModel, "unet")
VAE = slot(AutoencoderKL, "vae")
TEXT = slot(CLIPTextModel, "text_encoder")


@pytest.fixture
def values():
    return {name: value for name, value in tiny_unet().config.items() if name[0] != "_"}


@pytest.fixture
def copy(tiny_folder, tmp_path):
    return shutil.copytree(tiny_folder("sd15"), tmp_path / "model")


# -- folders ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", [UNET, VAE, TEXT])
def test_models_come_in_float32_in_evaluation_mode_and_aligned(tiny_folder, which):
    model = FolderSource(tiny_folder("sd15")).load(which)
    assert type(model) is which.cls
    assert not model.training
    for parameter in model.parameters():
        assert parameter.dtype == torch.float32
        assert parameter.data_ptr() % 64 == 0


@pytest.mark.parametrize("which", [UNET, TEXT])
def test_files_in_half_precision_are_loaded_in_float32(tiny_folder, tmp_path, which):
    FolderSource(tiny_folder("sd15")).load(which).half().save_pretrained(tmp_path / which.folder)
    assert FolderSource(tmp_path).load(which).dtype == torch.float32


@pytest.mark.parametrize("which", [UNET, VAE, TEXT])
def test_weights_are_loaded_in_the_dtype_asked_for(tiny_folder, which):
    whole = FolderSource(tiny_folder("sd15")).load(which).state_dict()
    half = FolderSource(tiny_folder("sd15")).load(which, torch.bfloat16).state_dict()
    for name, value in whole.items():
        expected = value.bfloat16() if value.is_floating_point() else value
        assert torch.equal(half[name], expected), name


class Keeping(UNet2DConditionModel):
    """A UNet that is not what it should be with its last layer in half precision."""

    _keep_in_fp32_modules: ClassVar = ["conv_out"]


class Painter(AbstractBaseBlock):
    """A block on such a UNet."""

    unet = Component(Keeping)


def test_what_a_class_keeps_in_float32_stays_so(tiny_folder):
    block = Painter().load_from(unet=FolderSource(tiny_folder("sd15")))
    block.place(None, torch.float16)
    expected = Keeping.from_pretrained(tiny_folder("sd15") / "unet", torch_dtype=torch.float16)
    dtypes = {name: each.dtype for name, each in expected.named_parameters()}
    assert {name: each.dtype for name, each in block.unet.named_parameters()} == dtypes
    assert dtypes["conv_out.weight"] == torch.float32
    assert dtypes["conv_in.weight"] == torch.float16


def test_tokenizers_are_loaded_as_well(tiny_folder):
    tokenizer = FolderSource(tiny_folder("sd15")).load(slot(CLIPTokenizer, "tokenizer"))
    assert tokenizer("a cat").input_ids[1:-1] == tokenizer("A  CAT").input_ids[1:-1]


@pytest.mark.parametrize("which", [UNET, TEXT])
def test_weights_that_lack_a_tensor_are_refused(copy, which):
    file = next((copy / which.folder).glob("*.safetensors"))
    tensors = load_file(file)
    lost = min(tensors)
    save_file({k: v for k, v in tensors.items() if k != lost}, file, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=f"lack '.*' of {which.cls.__name__}. Copy or download"):
        FolderSource(copy).load(which)


@pytest.mark.parametrize("which", [UNET, TEXT])
def test_weights_that_do_not_fit_the_configuration_are_refused(copy, which):
    path = copy / which.folder / "config.json"
    config = json.loads(path.read_text())
    config["cross_attention_dim" if which is UNET else "intermediate_size"] = 64
    path.write_text(json.dumps(config))
    with pytest.raises(ModelError, match=f"{which.folder}.* (cannot be loaded as|do not fit)"):
        FolderSource(copy).load(which)


def test_a_tokenizer_without_its_files_is_refused(copy):
    for path in (copy / "tokenizer").iterdir():
        if path.name != "tokenizer_config.json":
            path.unlink()
    with pytest.raises(ModelError, match=r"tokenizer lacks merges\.txt and vocab\.json\. Copy"):
        FolderSource(copy).load(slot(CLIPTokenizer, "tokenizer"))


def test_a_tokenizer_in_the_older_files_is_whole(tmp_path):
    (tmp_path / "tokenizer").mkdir()
    for name in ("tokenizer_config.json", "vocab.json", "merges.txt"):
        (tmp_path / "tokenizer" / name).write_text("{}")
    source, tokenizer = FolderSource(tmp_path), slot(CLIPTokenizer, "tokenizer")
    source.check(tokenizer)
    (tmp_path / "tokenizer" / "merges.txt").unlink()
    with pytest.raises(ModelError, match=r"tokenizer lacks merges\.txt\. Copy"):
        source.check(tokenizer)


def test_a_folder_gives_its_configuration_without_weights(copy):
    for path in copy.rglob("*.safetensors"):
        path.unlink()
    assert FolderSource(copy).config(UNET)["in_channels"] == 4
    assert FolderSource(copy).config(slot(DDIMScheduler, "scheduler"))["beta_start"] == 0.00085


def test_a_folder_describes_itself(tmp_path):
    assert FolderSource(tmp_path).describe() == {"pretrained": str(tmp_path)}
    named = FolderSource(tmp_path, "fp16").describe()
    assert named == {"pretrained": str(tmp_path), "variant": "fp16"}


# -- configurations --------------------------------------------------------------------------------


def test_fresh_weights_depend_on_the_seed_alone(values):
    torch.manual_seed(1)
    first = FreshSource(values, seed=3).load(UNET).state_dict()
    torch.manual_seed(2)
    second = FreshSource(values, seed=3).load(UNET).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = FreshSource(values, seed=4).load(UNET).state_dict()
    assert not torch.equal(first["conv_in.weight"], other["conv_in.weight"])


def test_fresh_weights_are_the_same_in_every_dtype(values):
    whole = FreshSource(values, seed=3).load(UNET).state_dict()
    half = FreshSource(values, seed=3).load(UNET, torch.bfloat16).state_dict()
    assert all(torch.equal(half[name], whole[name].bfloat16()) for name in whole)


def test_the_global_random_state_is_left_alone(values):
    state = torch.get_rng_state()
    FreshSource(values, seed=3).load(UNET)
    assert torch.equal(torch.get_rng_state(), state)


def test_layers_may_begin_at_zero(values):
    model = FreshSource(values, zero=("conv_out", "conv2")).load(UNET)
    zeroed = [name for name, each in model.named_modules() if name.endswith(("conv_out", "conv2"))]
    assert len(zeroed) > 3
    for name, parameter in model.named_parameters():
        layer = name.rpartition(".")[0]
        if layer in zeroed:
            assert not parameter.any(), name
    assert model.conv_in.weight.any()
    sample, states = torch.randn(1, 4, 8, 8), torch.randn(1, 77, 32)
    assert not model(sample, 5, states).sample.any()


def test_an_ending_that_no_layer_has_is_refused(values):
    with pytest.raises(
        ConfigError, match="UNet2DConditionModel has no layer whose name ends in 'x'"
    ):
        FreshSource(values, zero=("x",)).load(UNET)


@pytest.mark.parametrize(
    ("which", "name", "near"),
    [(UNET, "in_channel", "'in_channels'"), (TEXT, "hidden_sizes", "'hidden_size'")],
)
def test_a_misspelt_value_gives_the_nearest(which, name, near):
    with pytest.raises(ConfigError, match=rf"{which.cls.__name__} has no '{name}' in its .*{near}"):
        FreshSource({name: 8}).load(which)


@pytest.mark.parametrize(
    ("which", "values"),
    [
        (UNET, {"block_out_channels": [16], "down_block_types": ["DownBlock2D", "DownBlock2D"]}),
        (UNET, {"down_block_types": ["NoSuchBlock"] * 4}),
        (TEXT, {"hidden_size": 30, "num_attention_heads": 4}),
    ],
)
def test_values_that_make_no_model_are_refused(which, values):
    with pytest.raises(ConfigError, match=f"{which.cls.__name__} cannot be made from its config"):
        FreshSource(values).load(which)


def test_a_transformers_model_is_made_too():
    values = {
        "vocab_size": 10, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }  # fmt: skip
    model = FreshSource(values, seed=1).load(TEXT)
    assert model.config.hidden_size == 8


def test_a_configuration_with_the_marks_of_a_file_is_taken():
    source = FreshSource({**tiny_vae().config, "_class_name": "AutoencoderKL"})
    assert source.load(VAE).config.latent_channels == 4
    assert source.config(VAE)["_class_name"] == "AutoencoderKL"


def test_a_configuration_describes_itself_as_plain_data():
    source = FreshSource({"block_out_channels": (8, 16)}, seed=2, zero=("conv2",))
    described = {"config": {"block_out_channels": [8, 16]}, "seed": 2, "zero": ["conv2"]}
    assert source.describe() == described
