"""Where models are and in which dtype: the numbers of Diffusers, and nothing computed twice."""

from __future__ import annotations

import pytest
import torch
from accelerate.hooks import UserCpuOffloadHook
from diffusers.models.attention_dispatch import _AttentionBackendRegistry

from tests.pipelines.conftest import generator, quiet
from tests.pipelines.pictures import picture
from tests.tiny_flux import tiny_flux
from tests.tiny_models import tiny_pipeline
from yggdrasil import ComputeGraph, InferencePipeline
from yggdrasil.core.errors import ConfigError
from yggdrasil.pipelines.components import blocks_of

STEPS = {"num_inference_steps": 2, "output_type": "pt"}
PICTURE = {"image": picture(), "strength": 0.9}


@pytest.fixture
def theirs():
    """Gives a Diffusers pipeline of its own, whose models may be changed."""
    return tiny_pipeline(seed=1)


@pytest.fixture
def ours(theirs):
    """Gives a pipeline on the same modules."""
    return quiet(InferencePipeline.from_diffusers(theirs, task=None))


def run(pipe, seed=0, **call):
    return pipe("a cat", generator=generator(seed), **STEPS, **call).images


OFFLOADS = {
    "models": lambda pipe: pipe.enable_model_cpu_offload(device="cpu"),
    "layers": lambda pipe: pipe.enable_sequential_cpu_offload(device="cpu"),
    "groups of blocks": lambda pipe: pipe.enable_group_offload(
        "cpu", offload_type="block_level", num_blocks_per_group=1
    ),
    "groups of leaves": lambda pipe: pipe.enable_group_offload("cpu", offload_type="leaf_level"),
}


@pytest.mark.parametrize("offload", OFFLOADS)
def test_offloading_changes_no_number(theirs, ours, offload):
    expected, drawn_over = run(theirs), run(ours, **PICTURE)
    OFFLOADS[offload](ours)
    ours._runtime.cache.clear()
    assert torch.equal(run(ours), expected)
    assert torch.equal(run(ours, **PICTURE), drawn_over)
    ours.remove_all_hooks()
    ours._runtime.cache.clear()
    assert torch.equal(run(ours), expected)
    assert ours.device == torch.device("cpu")


def encodings_of(pipe, monkeypatch):
    """Counts how often the text is encoded, by the layer at the end of the encoder."""
    seen = []
    model = getattr(pipe.text_encoder, "text_model", pipe.text_encoder)
    last, kind = model.final_layer_norm, type(model.final_layer_norm)
    forward = kind.forward

    def counted(self, *args):
        if self is last:
            seen.append(args)
        return forward(self, *args)

    monkeypatch.setattr(kind, "forward", counted)
    return seen


@pytest.mark.parametrize("offload", OFFLOADS)
def test_what_was_computed_is_kept_while_models_come_and_go(ours, monkeypatch, offload):
    seen = encodings_of(ours, monkeypatch)
    OFFLOADS[offload](ours)
    pictures = [run(ours, seed) for seed in (0, 1, 2, 0)]
    assert len(seen) == 2  # the prompt and the empty one, once each
    assert torch.equal(pictures[0], pictures[3])
    assert not torch.equal(pictures[0], pictures[1])


@pytest.mark.parametrize("offload", OFFLOADS)
def test_weights_that_are_written_to_while_offloaded_are_noticed(theirs, offload):
    pipe = quiet(InferencePipeline.from_diffusers(theirs))
    weight = theirs.unet.conv_in.weight.data
    OFFLOADS[offload](pipe)
    before = run(pipe)
    weight.mul_(1.5)
    after = run(pipe)
    pipe._runtime.cache.clear()
    assert torch.equal(after, run(pipe))
    assert not torch.equal(after, before)


def test_models_leave_when_the_next_one_begins(ours, monkeypatch):
    log = []
    names = {id(model): name for name, model in ours.modules().items()}
    send_away = UserCpuOffloadHook.offload
    monkeypatch.setattr(
        UserCpuOffloadHook,
        "offload",
        lambda hook: (log.append(f"{names[id(hook.model)]} leaves"), send_away(hook)),
    )
    for name, model in ours.modules().items():
        if name in ("unet", "text_encoder"):
            model.register_forward_pre_hook(lambda *_, name=name: log.append(name))
    ours.enable_model_cpu_offload(device="cpu")
    log.clear()
    run(ours)
    kept = [each for place, each in enumerate(log) if each != log[place - 1] or place == 0]
    assert kept == ["text_encoder", "text_encoder leaves", "unet", "unet leaves", "vae leaves"]


def test_models_that_are_loaded_later_are_offloaded_too(tiny_folder):
    pipe = quiet(InferencePipeline.from_pretrained(tiny_folder("sd15")))
    pipe.enable_model_cpu_offload(device="cpu")
    assert not any(block._modules for _, block in blocks_of(pipe.graph))
    expected = run(quiet(InferencePipeline.from_pretrained(tiny_folder("sd15"))))
    assert torch.equal(run(pipe), expected)
    assert all(hasattr(model, "_hf_hook") for model in pipe.modules().values())


@pytest.mark.parametrize("method", ["enable_model_cpu_offload", "enable_sequential_cpu_offload"])
@pytest.mark.skipif(torch.accelerator.is_available(), reason="there is an accelerator")
def test_offloading_without_an_accelerator_says_what_there_is(ours, method):
    with pytest.raises(ConfigError, match=rf"{method} brings models.*PyTorch \d"):
        getattr(ours, method)()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there_is_refused_at_once(ours):
    with pytest.raises(ConfigError, match=r"cuda:0 is not there.*device='cpu'"):
        ours.to("cuda:0")
    with pytest.raises(ConfigError, match=r"'cdua'.*cuda"):
        ours.to("cdua")


def test_ways_to_offload_do_not_mix(ours):
    OFFLOADS["groups of leaves"](ours)
    with pytest.raises(ConfigError, match=r"in groups already"):
        OFFLOADS["models"](ours)
    with pytest.raises(ConfigError, match=r"remove_all_hooks"):
        ours.to(torch.float16)


def test_group_offloading_refuses_what_cannot_be_right(ours):
    with pytest.raises(ConfigError, match=r"wants num_blocks_per_group"):
        ours.enable_group_offload("cpu")
    with pytest.raises(ConfigError, match=r"leaf_level"):
        ours.enable_group_offload("cpu", offload_type="leaf")


def test_a_dtype_after_layerwise_casting_is_refused(ours):
    ours.enable_layerwise_casting(compute_dtype=torch.float32)
    with pytest.raises(ConfigError, match=r"to\(torch\.float16\): enable_layerwise_casting keeps"):
        ours.to(torch.float16)
    assert ours.to("cpu") is ours


def test_layerwise_casting_is_that_of_diffusers():
    theirs, ours = tiny_pipeline(seed=1), tiny_pipeline(seed=1)
    plain = run(theirs)
    theirs.unet.enable_layerwise_casting(torch.float8_e4m3fn, torch.float32)
    pipe = quiet(InferencePipeline.from_diffusers(ours))
    pipe.enable_layerwise_casting(torch.float8_e4m3fn, torch.float32)
    expected = run(theirs)
    assert torch.equal(run(pipe), expected)
    assert not torch.equal(expected, plain)
    misses = pipe.cache_info().misses
    assert torch.equal(run(pipe), expected)
    assert pipe.cache_info().misses == misses
    with pytest.raises(ConfigError, match=r"already"):
        pipe.enable_layerwise_casting()


@pytest.fixture
def backend():
    """Puts the process's attention backend back."""
    before = _AttentionBackendRegistry.get_active_backend()[0]
    yield before
    _AttentionBackendRegistry.set_active_backend(before)


def test_another_attention_backend_is_noticed(backend):
    theirs = tiny_flux()
    pipe = quiet(InferencePipeline.from_diffusers(theirs))
    call = {"height": 32, "width": 32, "output_type": "latent", "num_inference_steps": 1}
    first = pipe("a cat", generator=generator(), **call).latents
    misses = pipe.cache_info().misses
    pipe.set_attention_backend("_native_math", ["transformer"])
    second = pipe("a cat", generator=generator(), **call).latents
    assert pipe.cache_info().misses > misses
    assert torch.equal(theirs("a cat", generator=generator(), **call).images, second)
    assert torch.allclose(first, second, atol=1e-4)
    pipe.reset_attention_backend()
    assert _AttentionBackendRegistry.get_active_backend()[0] == backend
    with pytest.raises(ConfigError, match=r"'nativ'.*native"):
        pipe.set_attention_backend("nativ")


def test_attention_in_slices_is_that_of_diffusers(theirs, ours):
    processor = next(iter(theirs.unet.attn_processors.values()))
    ours.enable_attention_slicing("max")
    assert type(next(iter(theirs.unet.attn_processors.values()))) is not type(processor)
    assert torch.equal(run(ours), run(theirs))
    ours.disable_attention_slicing()
    assert torch.equal(run(ours), run(theirs))


@pytest.mark.parametrize("what", ["tiling", "slicing"])
def test_a_vae_in_parts_is_that_of_diffusers(theirs, ours, what):
    theirs.vae.tile_sample_min_size, theirs.vae.tile_latent_min_size = 32, 4
    call = {"num_images_per_prompt": 2}
    whole = run(theirs, **call)
    getattr(ours, f"enable_vae_{what}")()
    assert getattr(theirs.vae, f"use_{what}")
    expected = run(theirs, **call)
    assert torch.equal(run(ours, **call), expected)
    assert what == "slicing" or not torch.equal(expected, whole)
    getattr(ours, f"disable_vae_{what}")()
    assert torch.equal(run(ours, **call), whole)


def test_a_codec_node_says_itself_that_it_works_in_tiles(theirs):
    theirs.vae.tile_sample_min_size, theirs.vae.tile_latent_min_size = 32, 4
    pipe = quiet(InferencePipeline.from_diffusers(theirs))
    pipe.graph.replace_node("vae", "codec/autoencoder_kl", tiling=True)
    picture = run(pipe)
    assert not theirs.vae.use_tiling
    assert not torch.equal(picture, run(theirs))
    theirs.vae.enable_tiling()
    assert torch.equal(picture, run(theirs))
    assert "tiling: true" in pipe.graph.to_yaml()


def test_dtypes_by_component(tiny_folder):
    dtypes = {"vae": torch.float32, "default": torch.bfloat16}
    pipe = quiet(InferencePipeline.from_pretrained(tiny_folder("sd15"), torch_dtype=dtypes))
    pictures, latents = (
        run(pipe, **PICTURE),
        pipe(
            "a cat",
            output_type="latent",
            **{"num_inference_steps": 2, "generator": generator(), **PICTURE},
        ).latents,
    )
    assert pictures.dtype == torch.float32
    assert latents.dtype == torch.bfloat16
    models = pipe.modules()
    assert {name: model.dtype for name, model in models.items() if name != "safety_checker"} == {
        "vae": torch.float32,
        "unet": torch.bfloat16,
        "text_encoder": torch.bfloat16,
    }


def test_a_nodes_own_dtype_is_saved_and_stays(tiny_folder, tmp_path):
    pipe = quiet(InferencePipeline.from_pretrained(tiny_folder("sd15")))
    pipe.graph.set_dtype("vae", "bfloat16")
    pipe.to(torch.float64)
    assert (pipe.vae.dtype, pipe.unet.dtype) == (torch.bfloat16, torch.float64)
    pipe.save_pretrained(tmp_path / "saved")
    again = quiet(InferencePipeline.from_pretrained(tmp_path / "saved"))
    assert (again.vae.dtype, again.unet.dtype) == (torch.bfloat16, torch.float32)
    result = again("a cat", seed=0, **STEPS)
    assert "dtype" not in result.origin.lost


def test_names_that_are_no_dtypes_or_components_are_refused(tiny_folder):
    with pytest.raises(ConfigError, match=r"'unett'.*'unet'"):
        InferencePipeline.from_pretrained(tiny_folder("sd15"), dtype={"unett": torch.float16})
    with pytest.raises(ConfigError, match=r"dtype\['unet'\] is 'bfloat61'.*'bfloat16'"):
        InferencePipeline.from_pretrained(tiny_folder("sd15"), dtype={"unet": "bfloat61"})
    with pytest.raises(ConfigError, match=r"dtype of node 'vae' is 'flaot16'.*'float16'"):
        ComputeGraph.from_template("sd15").set_dtype("vae", "flaot16")


def test_a_pipeline_tells_device_dtype_and_components(tiny_folder, theirs, ours):
    assert (ours.device, ours.dtype) == (torch.device("cpu"), torch.float32)
    assert ours.unet is theirs.unet
    lazy = InferencePipeline.from_pretrained(tiny_folder("sd15"), dtype=torch.bfloat16)
    assert lazy.dtype == torch.bfloat16
    assert lazy.vae.dtype == torch.bfloat16
    with pytest.raises(AttributeError, match=r"'unte'.*'unet'"):
        _ = lazy.unte


def test_two_dtypes_for_one_model_that_stages_share_are_refused(theirs):
    both = InferencePipeline.from_combined(
        {"base": InferencePipeline.from_diffusers(theirs),
         "again": InferencePipeline.from_diffusers(theirs)},
        links={"again.init_image": "base.images"},
    )  # fmt: skip
    both.graph.set_dtype("again", "float64")
    message = (
        r"'base\.text' and 'again\.text' share one 'text_encoder', which is to be in float32 for "
        r"the one and in float64 for the other"
    )
    with pytest.raises(ConfigError, match=message):
        both.plan("a cat")
    assert theirs.unet.dtype == torch.float32
    both.graph.set_dtype("again", None)
    both.plan("a cat")


def test_pipelines_of_other_dtypes_on_one_model_are_no_stages_of_one(theirs):
    base = InferencePipeline.from_diffusers(theirs).to(torch.float64)
    other = InferencePipeline.from_diffusers(theirs).to(torch.float32)
    with pytest.raises(ConfigError, match="is to be in float64 for the one and in float32"):
        InferencePipeline.from_combined([base, other])
