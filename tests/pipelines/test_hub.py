"""Models from a hub: what is fetched, and that it makes the pictures that Diffusers makes of it."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DiffusionPipeline,
    EulerDiscreteScheduler,
    UNet2DConditionModel,
)
from huggingface_hub import constants
from safetensors.torch import load_file
from transformers import CLIPTextModel

from tests.hub_server import TOKEN
from tests.pipelines.conftest import generator, quiet
from tests.pipelines.pictures import mask, picture
from tests.single_files import save_checkpoint
from tests.tiny_models import tiny_pipeline
from yggdrasil import ComputeGraph, InferencePipeline, TrainingPipeline
from yggdrasil.core.errors import ConfigError, ModelError
from yggdrasil.hub.zoo_models import zoo_models

CALL = {"num_inference_steps": 2, "output_type": "pt"}
NEEDED = {
    "model_index.json",
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "text_encoder/model.safetensors",
    "tokenizer/tokenizer.json",
    "tokenizer/tokenizer_config.json",
    "unet/config.json",
    "unet/diffusion_pytorch_model.safetensors",
    "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors",
}


@pytest.fixture
def model(tiny_folder, tmp_path):
    """Makes a model with all that people put beside the weights."""

    def make(kind="sd15"):
        folder = shutil.copytree(tiny_folder(kind), tmp_path / f"{kind}-whole")
        for name in (
            "README.md",
            "model.ckpt",
            "v1-inference.yaml",
            "safety_checker/config.json",
            "text_encoder/flax_model.msgpack",
            "text_encoder/model.fp16.safetensors",
            "text_encoder/pytorch_model.bin",
            "unet/diffusion_pytorch_model.bin",
            "unet/diffusion_pytorch_model.fp16.safetensors",
            "unet/model.onnx",
            "unet/pytorch_lora_weights.safetensors",
            "unet/samples/first.png",
            "vae_decoder/model.onnx",
            "vae/diffusion_pytorch_model.safetensors.index.fp16.json",
        ):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text("not to be fetched")
        return folder

    return make


def images(pipe, **given):
    return quiet(pipe)("a cat", generator=generator(), **{**CALL, **given}).images


def by_diffusers(model, cache, **options):
    """Loads a model by Diffusers, weights at even addresses: others give other last bits."""
    pipe = quiet(DiffusionPipeline.from_pretrained(model, cache_dir=cache, **options))
    for module in (pipe.unet, pipe.vae, pipe.text_encoder):
        for parameter in module.parameters():
            parameter.data = parameter.data.clone()
    return pipe


# -- what is fetched -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sd15", "sd2_inpaint"])
def test_a_model_of_the_hub_makes_the_pictures_of_diffusers(hub, model, tmp_path, kind):
    hub.add("org/name", model(kind))
    given = {"image": picture(), "mask_image": mask()} if kind == "sd2_inpaint" else {}
    pipe = InferencePipeline.from_pretrained("org/name")
    assert hub.fetched("org/name") == NEEDED
    mine = images(pipe, **given)
    assert hub.fetched("org/name") == NEEDED
    theirs = images(by_diffusers("org/name", tmp_path / "theirs"), **given)
    assert (mine - theirs).abs().max() == 0.0


def test_the_model_in_the_box_may_be_had_from_a_hub(hub, tmp_path, monkeypatch):
    folder = zoo_models()["zoo/shapes"]
    hub.add("org/shapes", folder)
    call = {"guidance_scale": 5.0, "generator": generator(), **CALL}
    pipe = quiet(InferencePipeline.from_pretrained("org/shapes"))
    mine = pipe("a small red circle", **call).images
    everything = {path.relative_to(folder).as_posix() for path in folder.rglob("*.*")}
    assert hub.fetched("org/shapes") == everything - {"README.md"}
    theirs = by_diffusers("org/shapes", tmp_path / "theirs", dtype=torch.float32)
    expected = theirs("a small red circle", **{**call, "generator": generator()}).images
    assert (mine - expected).abs().max() == 0.0
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    again = quiet(InferencePipeline.from_pretrained("org/shapes"))
    call["generator"] = generator()
    assert torch.equal(again("a small red circle", **call).images, mine)


def test_a_model_of_the_hub_is_made_again_without_it(hub, model, monkeypatch):
    hub.add("org/name", model())
    first = images(InferencePipeline.from_pretrained("org/name"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.requests.clear()
    assert torch.equal(images(InferencePipeline.from_pretrained("org/name")), first)
    assert hub.requests == []


def test_everything_is_fetched_when_the_pipeline_is_made(hub, model):
    hub.add("org/name", model())
    pipe = InferencePipeline.from_pretrained("org/name")
    hub.requests.clear()
    images(pipe)
    assert hub.requests == []
    assert not pipe.graph.block("unet").placement


def test_a_saved_model_comes_with_its_graph(hub, tiny_folder, tmp_path):
    pipe = InferencePipeline.from_pretrained(tiny_folder("sd15"))
    pipe.graph.replace_node("solver", "solver/dpmpp_2m", use_karras_sigmas=True)
    expected = images(pipe)
    hub.add("org/saved", pipe.save_pretrained(tmp_path / "saved"))
    again = InferencePipeline.from_pretrained("org/saved")
    assert hub.fetched("org/saved") == NEEDED | {"graph.yaml"}
    assert again.graph.to_yaml() == pipe.graph.to_yaml()
    assert torch.equal(images(again), expected)


@pytest.mark.parametrize("start", ["", "{url}/"])
def test_the_graph_of_a_saved_model_fetches_no_other(hub, tiny_folder, tmp_path, start):
    other = f"{start.format(url=hub.url)}org/other{'/blob/main/m.safetensors' if start else ''}"
    pipe = InferencePipeline.from_pretrained(tiny_folder("sd15"))
    folder = pipe.save_pretrained(tmp_path / "saved")
    text = (folder / "graph.yaml").read_text()
    named = f'{{type: codec/autoencoder_kl, pretrained: "{other}"}}'
    changed = text.replace("{type: codec/autoencoder_kl}", named)
    assert changed != text
    (folder / "graph.yaml").write_text(changed)
    hub.add("org/saved", folder)
    with pytest.raises(ModelError, match=rf"Node 'vae' of .* names the model '{other}', which"):
        InferencePipeline.from_pretrained("org/saved")
    assert hub.fetched("org/saved") == {"model_index.json", "graph.yaml"}
    assert not [each for each in hub.requests if "org/other" in each.path]


def test_components_of_ones_own_are_not_fetched(hub, model, tmp_path):
    hub.add("org/name", model())
    mine = tiny_pipeline(seed=7)
    pipe = InferencePipeline.from_pretrained(
        "org/name", vae=mine.vae, scheduler=EulerDiscreteScheduler(), safety_checker=None
    )
    others = {n for n in NEEDED if not n.startswith(("vae/", "scheduler/"))}
    assert hub.fetched("org/name") == others
    assert pipe.components["vae"] is mine.vae
    assert pipe.graph.block("solver").type_name == "solver/euler"
    theirs = by_diffusers("org/name", tmp_path / "theirs", vae=mine.vae)
    theirs.scheduler = EulerDiscreteScheduler()
    assert torch.equal(images(pipe), images(theirs))


def test_a_safety_checker_is_left_out_before_it_is_fetched(hub, model):
    folder = model()
    index = json.loads((folder / "model_index.json").read_text())
    index["safety_checker"] = ["stable_diffusion", "StableDiffusionSafetyChecker"]
    (folder / "model_index.json").write_text(json.dumps(index))
    hub.add("org/name", folder)
    with pytest.raises(ModelError, match="safety_checker holds no weights"):
        InferencePipeline.from_pretrained("org/name")
    assert hub.fetched("org/name") == {"model_index.json"}
    InferencePipeline.from_pretrained("org/name", safety_checker=None)
    assert hub.fetched("org/name") == NEEDED


def test_an_option_that_is_none_gives_the_nearest(tiny_folder):
    with pytest.raises(ConfigError, match=r"'ttoken' is neither an option .*'token'"):
        InferencePipeline.from_pretrained(tiny_folder("sd15"), ttoken="hf_x")
    with pytest.raises(ConfigError, match=r"'uent' is neither an option nor a component.*'unet'"):
        InferencePipeline.from_template("sd15", pretrained=tiny_folder("sd15"), uent=None)


def test_a_node_may_take_its_model_from_the_hub(hub, model, tiny_folder):
    hub.add("org/name", model())
    graph = ComputeGraph.from_template("sd15")
    graph.replace_node("vae", "codec/autoencoder_kl", pretrained="org/name")
    pipe = InferencePipeline.from_graph(graph)
    assert hub.fetched("org/name") == {"model_index.json"}
    assert pipe.graph.block("vae").component_config("vae")["latent_channels"] == 4
    assert hub.fetched("org/name") == {"model_index.json", "vae/config.json"}
    assert isinstance(pipe.graph.block("vae").vae, AutoencoderKL)
    assert hub.fetched("org/name") == {
        "model_index.json", "vae/config.json", "vae/diffusion_pytorch_model.safetensors",
    }  # fmt: skip


def test_training_begins_from_a_model_of_the_hub(hub, model):
    hub.add("org/name", model())
    options = {"train_nodes": ["unet"], "token": TOKEN, "vae": tiny_pipeline().vae}
    pipe = TrainingPipeline.from_pretrained("org/name", **options)
    assert isinstance(pipe.graph.block("unet").unet, UNet2DConditionModel)
    assert hub.fetched("org/name") == {n for n in NEEDED if not n.startswith("vae/")}
    assert {each.token for each in hub.requests} == {TOKEN}
    with pytest.raises(ConfigError, match=r"Without pretrained=\.\.\., 'vae' is unknown"):
        TrainingPipeline.from_template("sd15", train_nodes=["unet"], vae=None)


# -- which files -----------------------------------------------------------------------------------


@pytest.fixture
def halves(tiny_folder, tmp_path):
    """Makes a model in plain weights and, but for its VAE, in half precision."""
    folder = shutil.copytree(tiny_folder("sd15"), tmp_path / "halves")
    for name, cls in {"unet": UNet2DConditionModel, "text_encoder": CLIPTextModel}.items():
        whole = cls.from_pretrained(folder / name)
        whole.half().save_pretrained(folder / name, variant="fp16")
    return folder


def test_a_variant_is_fetched_alone(hub, halves, tmp_path):
    hub.add("org/name", halves)
    pipe = InferencePipeline.from_pretrained("org/name", variant="fp16", torch_dtype=torch.float16)
    assert hub.fetched("org/name") == (NEEDED - {
        "text_encoder/model.safetensors", "unet/diffusion_pytorch_model.safetensors",
    }) | {
        "text_encoder/model.fp16.safetensors", "unet/diffusion_pytorch_model.fp16.safetensors",
    }  # fmt: skip
    theirs = by_diffusers("org/name", tmp_path / "theirs", variant="fp16", dtype=torch.float16)
    assert pipe.components["unet"].dtype == pipe.components["vae"].dtype == torch.float16
    for name in ("unet", "vae", "text_encoder"):
        expected = getattr(theirs, name).state_dict()
        for key, value in pipe.components[name].state_dict().items():
            assert torch.equal(value, expected[key]), (name, key)
    assert torch.equal(images(pipe), images(theirs))


def test_a_variant_that_is_not_there_is_refused_before_weights_are_fetched(hub, halves):
    hub.add("org/name", halves)
    message = r"org/name@\w{40}/\w+ holds no weights of the variant 'bf16'\. Did you mean 'fp16'"
    with pytest.raises(ModelError, match=message):
        InferencePipeline.from_pretrained("org/name", variant="bf16")
    assert not [name for name in hub.fetched("org/name") if name.endswith(".safetensors")]


def test_shards_are_fetched_with_their_index(hub, tiny_folder, tmp_path):
    folder = shutil.copytree(tiny_folder("sd15"), tmp_path / "shards")
    unet = UNet2DConditionModel.from_pretrained(folder / "unet")
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    unet.save_pretrained(folder / "unet", max_shard_size="150KB")
    names = {f"unet/{path.name}" for path in (folder / "unet").iterdir()}
    assert len(names) > 3
    hub.add("org/name", folder)
    pipe = InferencePipeline.from_pretrained("org/name")
    assert {n for n in hub.fetched("org/name") if n.startswith("unet/")} == names
    theirs = by_diffusers("org/name", tmp_path / "theirs")
    assert torch.equal(images(pipe), images(theirs))


def test_a_shard_that_the_hub_lacks_is_named(hub, tiny_folder, tmp_path):
    folder = shutil.copytree(tiny_folder("sd15"), tmp_path / "shards")
    unet = UNet2DConditionModel.from_pretrained(folder / "unet")
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    unet.save_pretrained(folder / "unet", max_shard_size="150KB")
    lost = max((folder / "unet").glob("*.safetensors"))
    lost.unlink()
    hub.add("org/name", folder)
    with pytest.raises(ModelError, match=f"unet lacks {lost.name}, which .*index.json names"):
        InferencePipeline.from_pretrained("org/name")


def test_a_model_in_pickles_alone_is_refused_unfetched(hub, model):
    folder = model()
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    (folder / "unet" / "diffusion_pytorch_model.fp16.safetensors").unlink()
    hub.add("org/name", folder)
    message = r"unet holds only diffusion_pytorch_model\.bin, which can run code when it is read"
    with pytest.raises(ModelError, match=message):
        InferencePipeline.from_pretrained("org/name")
    assert hub.fetched("org/name") == {"model_index.json"}


def test_a_part_of_a_repository_is_a_model(hub, tiny_folder, tmp_path):
    folder = tmp_path / "parts"
    shutil.copytree(tiny_folder("sd15"), folder / "tiny")
    hub.add("org/parts", folder)
    pipe = InferencePipeline.from_pretrained("org/parts", subfolder="tiny")
    assert hub.fetched("org/parts") == {f"tiny/{name}" for name in NEEDED}
    expected = images(InferencePipeline.from_pretrained(folder, subfolder="tiny"))
    assert torch.equal(images(pipe), expected)
    with pytest.raises(ModelError, match=r"has no model_index\.json, so it is not.*it has tiny/"):
        InferencePipeline.from_pretrained("org/parts")


def test_a_revision_says_its_commit(hub, tiny_folder, model, caplog):
    where = hub.add("org/name", tiny_folder("sd15"))
    commit = where.commit(tiny_folder("sd2"), "v2")
    pipe = InferencePipeline.from_pretrained("org/name", revision="v2")
    assert f"from org/name@{commit}" in repr(pipe)
    assert pipe.graph.block("solver").type_name == "solver/ddim"
    result = quiet(pipe)("a cat", num_inference_steps=1, seed=0)
    assert result.metadata["model"] == f"org/name@{commit}"
    again = InferencePipeline.from_pretrained(result.metadata["model"], local_files_only=True)
    assert repr(again) == repr(pipe)


def test_files_that_the_cache_lost_are_named(hub, model, monkeypatch):
    hub.add("org/name", model())
    pipe = InferencePipeline.from_pretrained("org/name", vae=tiny_pipeline().vae)
    assert "vae/config.json" not in hub.fetched("org/name")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    message = (
        r"HF_HUB_OFFLINE is set, and the cache in .* lacks vae/config\.json, "
        r"vae/diffusion_pytorch_model\.safetensors of it"
    )
    with pytest.raises(ModelError, match=message):
        InferencePipeline.from_pretrained("org/name")
    assert "from org/name@" in repr(pipe)


def test_an_access_that_was_lost_leaves_what_the_cache_holds(hub, model):
    where = hub.add("org/name", model(), gated=True)
    with pytest.raises(ModelError, match="'org/name' is gated"):
        InferencePipeline.from_pretrained("org/name")
    InferencePipeline.from_pretrained("org/name", token=TOKEN)
    hub.requests.clear()
    InferencePipeline.from_pretrained("org/name")
    assert hub.fetched("org/name") == set()
    assert where.gated


def test_a_cache_of_ones_own_is_kept_to(hub, model, tmp_path):
    hub.add("org/name", model())
    pipe = InferencePipeline.from_pretrained("org/name", cache_dir=tmp_path / "mine")
    assert (tmp_path / "mine" / "models--org--name").is_dir()
    assert not (tmp_path / "cache").exists()
    again = InferencePipeline.from_pretrained(
        "org/name", cache_dir=tmp_path / "mine", local_files_only=True
    )
    assert torch.equal(images(again), images(pipe))


# -- files of the hub ------------------------------------------------------------------------------


def test_a_checkpoint_of_the_hub_is_named_by_its_address(hub, tiny_folder, tmp_path):
    folder = tmp_path / "single"
    folder.mkdir()
    save_checkpoint(folder / "tiny.safetensors", tiny_pipeline().components)
    (folder / "tiny.ckpt").touch()
    hub.add("org/single", folder)
    hub.add("org/name", tiny_folder("sd15"))
    address = f"{hub.url}/org/single/blob/main/tiny.safetensors"
    pipe = InferencePipeline.from_single_file(address, config="org/name")
    assert hub.fetched("org/single") == {"tiny.safetensors"}
    assert hub.fetched("org/name") == {n for n in NEEDED if not n.endswith(".safetensors")}
    assert torch.equal(images(pipe), images(tiny_pipeline()))
    with pytest.raises(ModelError, match=r"no file 'tyni\.safetensors'\. Did.*'tiny\.safetensors'"):
        InferencePipeline.from_single_file(address.replace("tiny", "tyni"))
    with pytest.raises(ModelError, match=r"give 'http.*/org/single/blob/main/tiny\.ckpt'"):
        InferencePipeline.from_pretrained("org/single")
    with pytest.raises(ModelError, match=r"the revision 'main', and revision='v1': give one"):
        InferencePipeline.from_single_file(address, revision="v1")


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("https://example.org/org/name/blob/main/m.safetensors", "at example.org, which is not"),
        ("https://huggingface.co/org/name", "is no address of a file, such as http"),
        ("https://hf.co/org/name/blob/main/m.txt", "'m.txt' of 'org/name' is no .safetensors"),
    ],
)
def test_what_is_no_address_of_a_checkpoint_is_refused_unasked(hub, address, message):
    for way in (InferencePipeline.from_single_file, InferencePipeline.from_pretrained):
        with pytest.raises(ModelError, match=message):
            way(address)
    assert hub.requests == []


# -- early models ----------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:The configuration file of the unet:FutureWarning")
def test_an_early_model_makes_the_pictures_of_diffusers(hub, tiny_folder, tmp_path):
    """As of autumn 2022: names, configurations and tokenizers of the versions of that time."""
    folder = early(shutil.copytree(tiny_folder("sd15"), tmp_path / "early"))
    hub.add("org/early", folder)
    pipe = InferencePipeline.from_pretrained("org/early")
    theirs = by_diffusers("org/early", tmp_path / "theirs")
    for name in ("unet", "vae", "text_encoder"):
        expected = getattr(theirs, name).state_dict()
        for key, value in pipe.components[name].state_dict().items():
            assert torch.equal(value, expected[key]), (name, key)
    assert pipe.components["tokenizer"].pad_token == theirs.tokenizer.pad_token == "!"
    assert isinstance(theirs.scheduler, DDIMScheduler)
    size = {"height": 64, "width": 64}
    assert torch.equal(images(pipe, **size), images(theirs, **size))


def early(folder):
    """Rewrites a model as the first versions of Diffusers and transformers wrote it."""
    from safetensors.torch import save_file

    index = json.loads((folder / "model_index.json").read_text())
    for name in ("image_encoder", "requires_safety_checker"):
        index.pop(name, None)
    index |= {
        "_diffusers_version": "0.4.0",
        "scheduler": ["diffusers", "DDIMScheduler"],
        "safety_checker": [None, None],
        "feature_extractor": [None, None],
    }
    (folder / "model_index.json").write_text(json.dumps(index))

    scheduler = {
        "_class_name": "DDIMScheduler", "_diffusers_version": "0.4.0", "beta_start": 0.00085,
        "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000,
    }  # fmt: skip
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler))

    config = json.loads((folder / "text_encoder" / "config.json").read_text())
    config |= {"transformers_version": "4.22.0.dev0", "torch_dtype": config.pop("dtype", "float32")}
    (folder / "text_encoder" / "config.json").write_text(json.dumps(config))
    path = folder / "text_encoder" / "model.safetensors"
    old = {f"text_model.{k.removeprefix('text_model.')}": v for k, v in load_file(path).items()}
    old["text_model.embeddings.position_ids"] = torch.arange(77)[None]
    save_file(old, path, metadata={"format": "pt"})

    path = folder / "vae" / "diffusion_pytorch_model.safetensors"
    names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    tensors = {}
    for name, value in load_file(path).items():
        for new, was in names.items():
            if f".attentions.0.{new}." in name:
                name = name.replace(new, was)  # noqa: PLW2901 - as it was called
        tensors[name] = value
    save_file(tensors, path, metadata={"format": "pt"})
    for part in ("vae", "unet"):
        config = json.loads((folder / part / "config.json").read_text())
        kept = {k: v for k, v in config.items() if k in OLD_VALUES}
        kept |= {"_diffusers_version": "0.4.0"}
        (folder / part / "config.json").write_text(json.dumps(kept))

    data = json.loads((folder / "tokenizer" / "tokenizer.json").read_text())["model"]
    (folder / "tokenizer" / "tokenizer.json").unlink()
    (folder / "tokenizer" / "vocab.json").write_text(json.dumps(data["vocab"]))
    merges = [m if isinstance(m, str) else " ".join(m) for m in data["merges"]]
    text = "\n".join(["#version: 0.2", *merges])
    (folder / "tokenizer" / "merges.txt").write_text(f"{text}\n")

    def token(content):
        return {
            "__type": "AddedToken", "content": content, "lstrip": False, "normalized": True,
            "rstrip": False, "single_word": False,
        }  # fmt: skip

    settings = {
        "add_prefix_space": False, "bos_token": token("<|startoftext|>"), "do_lower_case": True,
        "eos_token": token("<|endoftext|>"), "errors": "replace", "model_max_length": 77,
        "name_or_path": "openai/clip-vit-large-patch14", "pad_token": "<|endoftext|>",
        "special_tokens_map_file": "./special_tokens_map.json", "tokenizer_class": "CLIPTokenizer",
        "unk_token": token("<|endoftext|>"),
    }  # fmt: skip
    (folder / "tokenizer" / "tokenizer_config.json").write_text(json.dumps(settings))
    special = {"pad_token": "!", "bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>"}
    (folder / "tokenizer" / "special_tokens_map.json").write_text(json.dumps(special))
    return folder


OLD_VALUES = (
    "_class_name", "act_fn", "attention_head_dim", "block_out_channels", "center_input_sample",
    "cross_attention_dim", "down_block_types", "downsample_padding", "flip_sin_to_cos",
    "freq_shift", "in_channels", "latent_channels", "layers_per_block", "mid_block_scale_factor",
    "norm_eps", "norm_num_groups", "out_channels", "sample_size", "up_block_types",
)  # fmt: skip
