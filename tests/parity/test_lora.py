"""LoRAs as nodes give the numbers of Diffusers' pipelines that loaded the same files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from diffusers import (
    FluxFillPipeline,
    StableDiffusion3InpaintPipeline,
)
from diffusers import StableDiffusionInstructPix2PixPipeline as PIX2PIX  # noqa: N814 - a class

from tests.pipelines.conftest import generator, quiet
from tests.pipelines.pictures import mask, picture
from tests.tiny_flux import tiny_flux
from tests.tiny_loras import (
    FLUX,
    NAME,
    NETWORK,
    SD,
    SD3,
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
from yggdrasil import InferencePipeline
from yggdrasil.core.errors import InputError

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore:Already found a `peft_config`"),  # theirs, of a second one
]

FAMILIES = {
    "sd15": (tiny_pipeline, SD),
    "sdxl": (tiny_sdxl, SDXL),
    "sd3": (tiny_sd3, SD3),
    "flux": (tiny_flux, FLUX),
}
BLOCKS = {
    "unet": {
        "unet": {"down": 0.9, "mid": 0.7, "up": {"block_1": [0.2, 0.4]}}, "text_encoder": 0.5
    },
    "transformer": {"transformer": {"transformer_blocks": 0.3}, "text_encoder": 0.5},
}  # fmt: skip
CALL = {"num_inference_steps": 2, "output_type": "pt", "height": 64, "width": 64}


@dataclass
class Pair:
    """A pipeline of Diffusers and one on the same modules, with two LoRAs for them."""

    theirs: Any
    ours: InferencePipeline
    parts: Any
    first: Any
    second: Any

    def their_images(self, **call):
        """Runs Diffusers'."""
        return self.theirs("a cat", generator=generator(), **CALL, **call).images

    def our_images(self, **call):
        """Runs ours."""
        return self.ours("a cat", seed=0, **CALL, **call).images


@pytest.fixture(params=FAMILIES)
def pair(request, tmp_path):
    """Gives a pair of each family."""
    make, parts = FAMILIES[request.param]
    theirs = make()
    ours = quiet(InferencePipeline.from_diffusers(theirs))
    return Pair(
        theirs,
        ours,
        parts,
        tiny_lora(tmp_path / "first", theirs, parts),
        tiny_lora(tmp_path / "second", theirs, parts, seed=2, rank=2),
    )


def add(pipe, name="style", **config):
    pipe.graph.add_node(name, type="adapter/lora", **config)


def test_one_lora(pair):
    before = pair.our_images()
    add(pair.ours, weights=str(pair.first), scale=0.8)
    changed = pair.our_images()
    pair.theirs.load_lora_weights(pair.first, adapter_name="style")
    pair.theirs.set_adapters("style", 0.8)
    assert torch.equal(changed, pair.their_images())
    assert not torch.equal(changed, before)


def test_two_at_once_each_with_its_weight(pair):
    add(pair.ours, "one", weights=str(pair.first), scale=0.8)
    add(pair.ours, "two", weights=str(pair.second), scale=0.5, order=1)
    both = pair.our_images()
    pair.ours.graph.remove_node("two")
    assert not torch.equal(both, pair.our_images())
    pair.theirs.load_lora_weights(pair.first, adapter_name="one")
    pair.theirs.load_lora_weights(pair.second, adapter_name="two")
    pair.theirs.set_adapters(["one", "two"], [0.8, 0.5])
    assert torch.equal(both, pair.their_images())


def test_the_bits_of_before_return(pair):
    before = pair.our_images()
    untouched = pair.their_images()
    add(pair.ours, weights=str(pair.first))
    assert not torch.equal(pair.our_images(), before)
    assert torch.equal(pair.their_images(), untouched)  # between calls the modules are their own
    pair.ours.graph.remove_node("style")
    pair.ours._runtime.cache.clear()
    assert torch.equal(pair.our_images(), before)


def test_the_scale_of_a_call(pair):
    name = "joint" if hasattr(pair.theirs, "transformer") else "cross"
    call = {f"{name}_attention_kwargs": {"scale": 0.7}}
    add(pair.ours, weights=str(pair.first), scale=0.8)
    whole = pair.our_images()
    scaled = pair.our_images(**call)
    assert not torch.equal(scaled, whole)
    pair.theirs.load_lora_weights(pair.first, adapter_name="style")
    pair.theirs.set_adapters("style", 0.8)
    assert torch.equal(scaled, pair.their_images(**call))


MASKED = {"image": picture(), "mask_image": mask(), "strength": 0.9}
TASKS = {
    "sd3 inpaint": (lambda: tiny_sd3(cls=StableDiffusion3InpaintPipeline), SD3, MASKED),
    "pix2pix": (lambda: tiny_pipeline("sd15_edit", PIX2PIX), SD, {"image": picture()}),
    "pix2pix xl": (lambda: tiny_sdxl("sdxl_edit"), SDXL, {"image": picture()}),
}


@pytest.mark.parametrize("name", TASKS)
def test_the_scale_of_a_call_reaches_the_text_encoders_that_it_reaches_in_diffusers(name, tmp_path):
    make, parts, call = TASKS[name]
    theirs = make()
    sizes = {} if name == "pix2pix" else {"height": 64, "width": 64}
    argument = f"{'joint' if 'sd3' in name else 'cross'}_attention_kwargs"
    call = {"num_inference_steps": 2, "output_type": "pt", **sizes, **call}
    lora = tiny_lora(tmp_path / "style", theirs, parts)
    ours = quiet(InferencePipeline.from_diffusers(theirs))
    add(ours, weights=str(lora), scale=0.8)
    found = {
        scale: ours(
            "a cat", seed=0, **call, **({argument: {"scale": scale}} if scale else {})
        ).images
        for scale in (None, 0.3)
    }
    theirs.load_lora_weights(lora, adapter_name="style")
    theirs.set_adapters("style", 0.8)
    for scale, images in found.items():
        scaled = {argument: {"scale": scale}} if scale else {}
        assert torch.equal(images, theirs("a cat", generator=generator(), **call, **scaled).images)
    assert not torch.equal(*found.values())


@pytest.mark.parametrize("pair", ["sd15", "sdxl", "flux"], indirect=True)
def test_the_layout_of_kohya(pair, tmp_path):
    layout = as_kohya_flux if pair.parts is FLUX else as_kohya
    state = layout(tiny_factors(pair.theirs, pair.parts))
    folder = write(tmp_path / "kohya", state, "style.safetensors")
    before = pair.our_images()
    add(pair.ours, weights=str(folder))
    changed = pair.our_images()
    assert not torch.equal(changed, before)
    pair.theirs.load_lora_weights(folder, weight_name="style.safetensors")
    assert torch.equal(changed, pair.their_images())


def test_a_pipeline_that_carries_loras_is_taken_as_it_is(pair):
    pair.theirs.load_lora_weights(pair.first, adapter_name="style")
    pair.theirs.set_adapters("style", 0.8)
    ours = quiet(InferencePipeline.from_diffusers(pair.theirs))
    assert torch.equal(ours("a cat", seed=0, **CALL).images, pair.their_images())
    add(ours, weights=str(pair.second))
    with pytest.raises(InputError, match=r"carries the adapters 'style'.*unload_lora_weights"):
        ours("a cat", seed=0, **CALL)


def test_scales_by_block(pair):
    scale = BLOCKS.get("unet" if hasattr(pair.theirs, "unet") else "transformer")
    add(pair.ours, weights=str(pair.first), scale=scale)
    changed = pair.our_images()
    pair.ours.graph.block("style").scale = 1.0
    assert not torch.equal(changed, pair.our_images())
    pair.theirs.load_lora_weights(pair.first, adapter_name="style")
    pair.theirs.set_adapters("style", dict(scale))
    assert torch.equal(changed, pair.their_images())


def test_fused_and_unfused(pair):
    before = pair.our_images()
    add(pair.ours, weights=str(pair.first), scale=0.8)
    apart = pair.our_images()
    pair.ours.fuse_lora(components=list(pair.parts))
    fused = pair.our_images()
    pair.ours.unfuse_lora()
    assert torch.equal(pair.our_images(), apart)
    pair.ours.unload_lora_weights()
    pair.ours._runtime.cache.clear()
    assert torch.equal(pair.our_images(), before)
    pair.theirs.load_lora_weights(pair.first, adapter_name="style")
    pair.theirs.set_adapters("style", 0.8)
    pair.theirs.fuse_lora(components=list(pair.parts))
    assert torch.equal(fused, pair.their_images())
    assert not torch.equal(fused, apart)  # other last bits: it is fused indeed


def test_two_fused(pair):
    add(pair.ours, "one", weights=str(pair.first), scale=0.8)
    add(pair.ours, "two", weights=str(pair.second), scale=0.5, order=1)
    pair.ours.fuse_lora(components=list(pair.parts))
    fused = pair.our_images()
    pair.theirs.load_lora_weights(pair.first, adapter_name="one")
    pair.theirs.load_lora_weights(pair.second, adapter_name="two")
    pair.theirs.set_adapters(["one", "two"], [0.8, 0.5])
    pair.theirs.fuse_lora(components=list(pair.parts))
    assert torch.equal(fused, pair.their_images())


def test_the_names_that_diffusers_has(pair):
    def use(pipe, run):
        pipe.load_lora_weights(pair.first, weight_name=NAME, adapter_name="one")
        pipe.load_lora_weights(pair.second, adapter_name="two")
        pipe.set_adapters(["two", "one"], [0.5, 0.8])
        both = run()
        pipe.set_adapters("two")
        alone = run()
        pipe.delete_adapters("one")
        assert torch.equal(run(), alone)
        pipe.unload_lora_weights()
        return torch.cat([both, alone, run()])

    ours = use(pair.ours, pair.our_images)
    assert torch.equal(ours, use(pair.theirs, pair.their_images))
    assert set(pair.ours.graph.nodes).isdisjoint({"one", "two"})


def test_a_lora_of_dev_for_a_network_that_reads_more_channels(tmp_path):
    parts = {"transformer": (*NETWORK, "ff.net.0.proj")}
    factors = tiny_factors(tiny_flux(), parts)
    for factor, value in (("A", torch.ones(2, 16)), ("B", torch.ones(32, 2))):
        factors[f"transformer.x_embedder.lora_{factor}.weight"] = value / 8
    path = write(tmp_path / "dev", factors)
    theirs = tiny_flux("flux_fill", FluxFillPipeline)
    ours = quiet(InferencePipeline.from_diffusers(theirs))
    call = {**CALL, "image": picture(), "mask_image": mask()}
    add(ours, weights=str(path))
    changed = ours("a cat", seed=0, **call).images
    theirs.load_lora_weights(path)
    assert torch.equal(changed, theirs("a cat", generator=generator(), **call).images)


def test_sdxl_by_the_names_of_the_first_code(tmp_path):
    theirs = tiny_sdxl()
    state = as_kohya(tiny_factors(theirs, SDXL))
    as_sgm = {
        key.replace("up_blocks_0_attentions_0", "output_blocks_0_1")
        .replace("up_blocks_0_attentions_1", "output_blocks_1_1")
        .replace("mid_block_attentions_0", "middle_block_1")
        .replace("down_blocks_1_attentions_0", "input_blocks_3_1"): value
        for key, value in state.items()
    }
    kept = {k: v for k, v in as_sgm.items() if "down_blocks" not in k and "up_blocks" not in k}
    assert any("output_blocks" in key or "input_blocks" in key for key in kept)
    path = write(tmp_path / "sgm", kept)
    ours = quiet(InferencePipeline.from_diffusers(theirs))
    before = ours("a cat", seed=0, **CALL).images
    add(ours, weights=str(path))
    changed = ours("a cat", seed=0, **CALL).images
    assert not torch.equal(changed, before)
    theirs.load_lora_weights(path)
    assert torch.equal(changed, theirs("a cat", generator=generator(), **CALL).images)
