"""Checkpoints of one file: what they are is told by their headers."""

from __future__ import annotations

import json
import logging

import diffusers
import pytest
import torch
from diffusers import AutoencoderKL, PNDMScheduler, UNet2DConditionModel
from diffusers.loaders import single_file_utils
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel, CLIPTokenizer

from tests.single_files import checkpoint_tensors, save_checkpoint, save_header
from tests.tiny_models import tiny_pipeline
from yggdrasil.core.component import Component
from yggdrasil.core.errors import ModelError
from yggdrasil.hub import checkpoint
from yggdrasil.hub.access import HubOptions
from yggdrasil.hub.checkpoint import open_checkpoint
from yggdrasil.hub.config_library import ConfigLibrary
from yggdrasil.hub.config_sets import config_sets
from yggdrasil.hub.header import read_header
from yggdrasil.hub.library import FolderLibrary
from yggdrasil.hub.locate import locate, locate_checkpoint

BUNDLED = ["sd1", "sd1_inpaint", "sd2", "sd2_base", "sd2_inpaint"]


def slot(cls, name):
    made = Component(cls)
    made.__set_name__(object, name)
    return made


UNET = slot(UNet2DConditionModel, "unet")
VAE = slot(AutoencoderKL, "vae")
TEXT = slot(CLIPTextModel, "text_encoder")
TOKENIZER = slot(CLIPTokenizer, "tokenizer")
SCHEDULER = slot(PNDMScheduler, "scheduler")


def read(name, component):
    return config_sets()[name].components[component].values


@pytest.fixture(scope="module")
def whole():
    """Gives the tensors of models as large as the real ones, without values."""
    made = {}

    def tensors(name):
        if name not in made:
            with torch.device("meta"):
                components = {
                    "unet": UNet2DConditionModel.from_config(read(name, "unet")),
                    "vae": AutoencoderKL.from_config(read(name, "vae")),
                    "text_encoder": CLIPTextModel(
                        CLIPTextModel.config_class(**read(name, "text_encoder"))
                    ),
                }
                made[name] = checkpoint_tensors(components)
        return made[name]

    return tensors


def opened(path, **options):
    return open_checkpoint(path, **{"options": HubOptions(local_files_only=True), **options})


# -- families --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BUNDLED)
def test_a_checkpoint_is_recognised_by_its_header(whole, tmp_path, name, caplog):
    path = save_header(tmp_path / "model.safetensors", whole(name))
    with caplog.at_level(logging.WARNING, "yggdrasil"):
        library = opened(path, prediction_type="epsilon" if name == "sd2_base" else None)
    assert library.configs.name == name
    assert library.names() == {"unet", "vae", "text_encoder", "tokenizer", "scheduler"}
    source = library.source(SCHEDULER)
    prediction = "v_prediction" if name == "sd2" else "epsilon"
    assert source.config(SCHEDULER)["prediction_type"] == prediction
    for each in (UNET, VAE, TEXT):
        library.source(each).check(each)
    assert ("does not say what it predicts: taken for v_prediction" in caplog.text) is (
        name == "sd2"
    )


@pytest.mark.parametrize("name", BUNDLED)
def test_its_names_are_those_that_diffusers_converts(whole, name):
    tensors = whole(name)
    config = read(name, "unet")
    with torch.device("meta"):
        unet, vae = UNet2DConditionModel.from_config(config), None
        vae = AutoencoderKL.from_config(read(name, "vae"))
    converted = single_file_utils.convert_ldm_unet_checkpoint(dict(tensors), config)
    assert shapes(converted) == shapes(unet.state_dict())
    converted = single_file_utils.convert_ldm_vae_checkpoint(dict(tensors), dict(vae.config))
    assert shapes(converted) == shapes(vae.state_dict())


def shapes(tensors):
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


# Of the files that families.yaml names: what differs between them, and what does not.
ORIGINALS = {
    "sd1": {"context_dim": 768, "num_heads": 8},
    "sd1_inpaint": {"context_dim": 768, "num_heads": 8, "in_channels": 9},
    "sd2": {"context_dim": 1024, "num_head_channels": 64, "use_linear_in_transformer": True},
    "sd2_base": {"context_dim": 1024, "num_head_channels": 64, "use_linear_in_transformer": True},
    "sd2_inpaint": {
        "context_dim": 1024, "num_head_channels": 64, "use_linear_in_transformer": True,
        "in_channels": 9,
    },
}  # fmt: skip
UNET_PARAMS = {
    "in_channels": 4, "out_channels": 4, "model_channels": 320, "num_res_blocks": 2,
    "attention_resolutions": [4, 2, 1], "channel_mult": [1, 2, 4, 4], "transformer_depth": 1,
}  # fmt: skip
VAE_PARAMS = {
    "z_channels": 4, "in_channels": 3, "out_ch": 3, "ch": 128, "ch_mult": [1, 2, 4, 4],
    "num_res_blocks": 2,
}  # fmt: skip


@pytest.mark.parametrize("name", BUNDLED)
def test_the_configurations_are_those_that_diffusers_makes_of_the_originals(whole, name):
    params = {
        "unet_config": {"params": UNET_PARAMS | ORIGINALS[name]},
        "first_stage_config": {"params": {"ddconfig": VAE_PARAMS}},
        "scale_factor": 0.18215,
    }
    tensors = dict(whole(name))
    for component, make in {
        "unet": single_file_utils.create_unet_diffusers_config_from_ldm,
        "vae": single_file_utils.create_vae_diffusers_config_from_ldm,
    }.items():
        theirs = make({"model": {"params": params}}, tensors)
        theirs.pop("sample_size")  # the original says nothing of it that is used
        mine = {**defaults(component), **read(name, component)}
        assert {key: plain(mine[key]) for key in theirs} == {k: plain(v) for k, v in theirs.items()}


def defaults(component):
    cls = {"unet": UNet2DConditionModel, "vae": AutoencoderKL}[component]
    with torch.device("meta"):
        return dict(cls().config)


def plain(value):
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize(
    ("metadata", "argument", "expected"),
    [
        ({"modelspec.prediction_type": "epsilon"}, None, "epsilon"),
        ({"modelspec.prediction_type": "v"}, None, "v_prediction"),
        ({"modelspec.prediction_type": "v"}, "epsilon", "epsilon"),
        ({}, "v_prediction", "v_prediction"),
    ],
)
def test_what_a_checkpoint_predicts_is_said_by_the_caller_or_itself(
    whole, tmp_path, metadata, argument, expected, caplog
):
    path = save_header(tmp_path / "model.safetensors", whole("sd2"), metadata)
    with caplog.at_level(logging.WARNING, "yggdrasil"):
        library = opened(path, prediction_type=argument)
    assert library.source(SCHEDULER).config(SCHEDULER)["prediction_type"] == expected
    assert library.configs.name == ("sd2" if expected == "v_prediction" else "sd2_base")
    assert not caplog.text


def test_a_family_that_usually_predicts_noise_may_predict_v(whole, tmp_path):
    path = save_header(tmp_path / "model.safetensors", whole("sd1"))
    source = opened(path, prediction_type="v_prediction").source(SCHEDULER)
    assert source.config(SCHEDULER)["prediction_type"] == "v_prediction"
    assert source.load(SCHEDULER).config.prediction_type == "v_prediction"
    euler = slot(diffusers.EulerDiscreteScheduler, "scheduler")
    assert source.load(euler).config.prediction_type == "v_prediction"


def test_an_unknown_prediction_gives_the_nearest(tmp_path):
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(ModelError, match=r"prediction_type is 'v_predict'. Did you mean 'v_pred"):
        opened(tmp_path / "model.safetensors", prediction_type="v_predict")


# -- what is none ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["lora_unet_a.alpha"], "is a LoRA, which changes a model and is none. It holds 1 tensors"),
        (["unet.a.lora_A.weight", "unet.a.lora_B.weight"], "is a LoRA"),
        (["double_blocks.0.a", "distilled_guidance_layer.in_proj.bias"], "is Chroma"),
        (["single_stream_modulation.lin.weight"], r"is FLUX\.2, which is not read from one file"),
        (["model.diffusion_model.label_emb.0.0.weight"], r"is a relative with labels \(unCLIP\)"),
        (["edm_mean"], r"is Playground 2\.5"),
        (["control_model.time_embed.0.weight"], "is a ControlNet"),
        (["emb_params"], "is a textual inversion"),
        (["down_blocks.0.a", "conv_in.weight"], "is one component, in Diffusers' names: give"),
        (["encoder.down.0.block.0.conv1.weight"], "is an autoencoder alone"),
        (["a.b", "a.c", "d"], r"of no family that is known \(Stable .*a \(2\), d \(1\)"),
        ([], "It holds 0 tensors: none. Compared with Stable Diffusion 1, it lacks model.diff"),
    ],
)  # fmt: skip
def test_what_is_no_known_checkpoint_is_told_by_what_it_holds(tmp_path, names, message):
    path = tmp_path / "model.safetensors"
    save_file({name: torch.ones(1) for name in names}, path)
    with pytest.raises(ModelError, match=message):
        opened(path)


def test_a_relative_of_a_family_is_told_by_what_differs(whole, tmp_path):
    name = "model.diffusion_model.input_blocks.0.0.weight"
    tensors = {**whole("sd1"), name: torch.empty(320, 8, 3, 3, device="meta")}
    path = save_header(tmp_path / "pix2pix.safetensors", tensors)
    message = (
        rf"Compared with Stable Diffusion 1, it has {name} of \[320, 8, 3, 3\] in the place of "
        r"\[320, 4, 3, 3\]\. .*config='a folder or a hub id'"
    )
    with pytest.raises(ModelError, match=message):
        opened(path)


@pytest.mark.parametrize("name", ["model.ckpt", "model.pt", "MODEL.CKPT", "pytorch_model.bin"])
def test_pickles_are_refused_unread(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x80\x04anything")
    for way in (locate, locate_checkpoint):
        with pytest.raises(ModelError, match=r"is a pickle, which can run code.*safetensors too"):
            way(tmp_path / name)


def test_a_file_that_is_not_there_gives_the_nearest(tmp_path):
    save_file({"a": torch.ones(1)}, tmp_path / "anything-v3.safetensors")
    with pytest.raises(ModelError, match=r"no file .*v4.safetensors. Did you mean 'anything-v3"):
        locate(tmp_path / "anything-v4.safetensors")


def test_a_damaged_file_is_told_before_anything_else(tmp_path, whole):
    path = save_header(tmp_path / "model.safetensors", whole("sd1"))
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 1)
    with pytest.raises(ModelError, match="but its header promises"):
        locate(path)


# -- components ------------------------------------------------------------------------------------


@pytest.fixture
def tiny(tiny_folder, tmp_path):
    """Gives a tiny checkpoint, opened with the configurations of the same model."""
    path = save_checkpoint(tmp_path / "tiny.safetensors", tiny_pipeline().components)
    return opened(path, config=FolderLibrary.open(tiny_folder("sd15")))


def test_components_are_read_one_by_one_and_once(tiny, monkeypatch):
    seen = []
    convert = checkpoint.convert
    monkeypatch.setattr(
        checkpoint,
        "convert",
        lambda c, t, *rest: (seen.append((c, set(t))), convert(c, t, *rest))[1],
    )
    first = tiny.source(UNET).load(UNET)
    assert tiny.source(UNET).load(UNET) is first
    assert [cls for cls, _ in seen] == [UNet2DConditionModel]
    assert {name.partition(".")[0] for name in seen[0][1]} == {"model"}
    assert not first.training
    assert all(p.data_ptr() % 64 == 0 and p.dtype == torch.float32 for p in first.parameters())
    expected = tiny_pipeline().unet.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in first.state_dict().items())


def test_a_checkpoint_describes_itself(tiny):
    assert tiny.describe() == str(tiny.path)
    assert tiny.source(UNET).describe() == {"pretrained": str(tiny.path)}
    assert tiny.graph_file is None
    assert tiny.pipeline_class() == "StableDiffusionPipeline"
    assert tiny.scheduler_class() == "PNDMScheduler"
    assert tiny.source(slot(torch.nn.Linear, "safety_checker")) is None


def without(path, *starts):
    kept = {n: t for n, t in load_file(path).items() if not n.startswith(starts)}
    save_file(kept, path, metadata={"format": "pt"})


def test_tensors_that_nothing_reads_are_mentioned(tiny, tiny_folder, caplog):
    extra = {"first_stage_model.loss.logvar": torch.zeros(1), "anything.else": torch.zeros(1)}
    save_file({**load_file(tiny.path), **extra}, tiny.path, metadata={"format": "pt"})
    library = opened(tiny.path, config=FolderLibrary.open(tiny_folder("sd15")))
    with caplog.at_level(logging.WARNING, "yggdrasil"):
        for each in (UNET, TEXT, VAE):
            library.source(each).load(each)
    assert caplog.text.count("tensors more") == 1
    assert "1 tensors more of first_stage_model.... than AutoencoderKL reads" in caplog.text


def test_a_component_that_a_checkpoint_lacks_is_lent_by_the_model_of_the_configurations(
    tiny, tiny_folder, tmp_path, caplog
):
    without(tiny.path, "first_stage_model.")
    with caplog.at_level(logging.WARNING, "yggdrasil"):
        library = opened(tiny.path, config=FolderLibrary.open(tiny_folder("sd15")))
    assert library.source(VAE) is not None
    assert "tiny.safetensors has no vae: taken from" in caplog.text
    only = ConfigLibrary.open("sd1").write(tmp_path / "sd1")
    library = opened(tiny.path, config=FolderLibrary.open(only))
    assert library.source(VAE) is None
    assert library.names() == {"unet", "text_encoder", "tokenizer", "scheduler"}


@pytest.mark.parametrize(
    ("which", "lost"),
    [
        (UNET, "model.diffusion_model.input_blocks.1.0.in_layers.2.weight"),
        (VAE, "first_stage_model.decoder.conv_in.weight"),
        (TEXT, "cond_stage_model.transformer.text_model.final_layer_norm.bias"),
    ],
)
def test_a_tensor_that_is_missing_is_not_left_to_chance(tiny, which, lost):
    without(tiny.path, lost)
    with pytest.raises(ModelError, match=rf"tiny.safetensors lack '.*' of {which.cls.__name__}\."):
        tiny.source(which).load(which)


@pytest.mark.parametrize("which", [UNET, VAE, TEXT])
def test_configurations_of_another_size_are_refused(tmp_path, tiny, whole, which):
    config = FolderLibrary.open(ConfigLibrary.open("sd1").write(tmp_path / "sd1"))
    library = opened(tiny.path, config=config)
    message = f"tiny.safetensors (cannot be loaded as {which.cls.__name__} with|lack)"
    with pytest.raises(ModelError, match=message):
        library.source(which).load(which)


def test_a_file_of_no_component_is_refused_with_configurations_too(tmp_path, tiny_folder):
    save_file({"lora_unet_a": torch.ones(1)}, tmp_path / "lora.safetensors")
    with pytest.raises(ModelError, match=r"no component of a checkpoint\. It holds 1 tensors: lor"):
        locate_checkpoint(tmp_path / "lora.safetensors", config=tiny_folder("sd15"))


def test_configurations_are_of_a_whole_model(tiny):
    with pytest.raises(ModelError, match="which is one file: give a folder or hub id with"):
        locate_checkpoint(tiny.path, config=tiny.path)


# -- tokenizers ------------------------------------------------------------------------------------


@pytest.fixture
def vocabulary(hub, tmp_path):
    """Puts a tokenizer's files where those of the first CLIP are."""
    folder = tmp_path / "clip"
    tiny_pipeline().tokenizer.save_pretrained(folder)
    data = json.loads((folder / "tokenizer.json").read_text())["model"]
    (folder / "vocab.json").write_text(json.dumps(data["vocab"]))
    merges = [m if isinstance(m, str) else " ".join(m) for m in data["merges"]]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")
    (folder / "pytorch_model.bin").touch()
    return hub.add("openai/clip-vit-large-patch14", folder)


@pytest.mark.parametrize(("name", "pad"), [("sd1", "<|endoftext|>"), ("sd2_inpaint", "!")])
def test_a_tokenizer_is_made_of_the_vocabulary_on_the_hub(
    whole, tmp_path, hub, vocabulary, name, pad
):
    path = save_header(tmp_path / "model.safetensors", whole(name))
    source = locate(path).source(TOKENIZER)
    source.check(TOKENIZER)
    fetched = hub.fetched("openai/clip-vit-large-patch14")
    assert {"vocab.json", "merges.txt"} <= fetched
    assert not fetched & {"tokenizer.json", "pytorch_model.bin"}
    tokenizer = source.load(TOKENIZER)
    assert source.load(TOKENIZER) is tokenizer
    assert (tokenizer.pad_token, tokenizer.model_max_length) == (pad, 77)
    expected = tiny_pipeline("sd2" if pad == "!" else "sd15").tokenizer
    texts = {"padding": "max_length", "max_length": 9}
    assert tokenizer("a cat", **texts).input_ids == expected("a cat", **texts).input_ids
    assert source.describe() == {"vocabulary": "openai/clip-vit-large-patch14", "pad_token": pad}


def test_a_vocabulary_that_cannot_be_had_says_what_else_to_give(whole, tmp_path, hub, vocabulary):
    path = save_header(tmp_path / "model.safetensors", whole("sd1"))
    library = opened(path)  # from the cache alone, which is empty
    message = (
        r"model.safetensors holds no tokenizer, and .*'openai/clip-vit-large-patch14' is no folder "
        r"here, local_files_only=True .* lacks .*\. Or give config=\.\.\., a folder or hub id"
    )
    with pytest.raises(ModelError, match=message):
        library.source(TOKENIZER).check(TOKENIZER)


def test_the_header_tells_dtypes_and_notes(tmp_path):
    path = tmp_path / "a.safetensors"
    save_file({"a": torch.ones(2, 3, dtype=torch.float16)}, path, metadata={"who": "me"})
    header = read_header(path)
    assert header.tensors == {"a": ("F16", (2, 3))}
    assert header.metadata == {"who": "me"}
