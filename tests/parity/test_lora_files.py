"""LoRAs in the forms that are met give the numbers of Diffusers' pipelines that loaded them."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.pipelines.conftest import generator, quiet
from tests.tiny_flux import tiny_flux
from tests.tiny_flux2 import tiny_flux2
from tests.tiny_loras import (
    FLUX,
    NAME,
    NETWORK,
    SD,
    SD3,
    SDXL,
    TEXT,
    as_kohya,
    as_kohya_flux,
    tiny_factors,
    write,
)
from tests.tiny_models import tiny_pipeline
from tests.tiny_sd3 import tiny_sd3
from tests.tiny_sdxl import tiny_sdxl
from yggdrasil import InferencePipeline

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore:Already found a `peft_config`"),  # theirs, of a second one
    # PEFT finds none of the layers that Diffusers' converter names in kohya's factors.
    pytest.mark.filterwarnings("ignore:The following alpha_pattern keys did not match"),
]

FLUX2 = {"transformer": (*NETWORK, "linear_in")}
MAKERS = {
    "sd15": tiny_pipeline, "sdxl": tiny_sdxl, "sd3": tiny_sd3, "flux": tiny_flux,
    "flux2": tiny_flux2,
}  # fmt: skip
FURTHER = {"flux2": {"text_encoder_out_layers": (1, 2, 3)}}
LAYERS = {"sd15": SD, "sdxl": SDXL, "sd3": SD3, "flux": FLUX, "flux2": FLUX2}
CALL = {"num_inference_steps": 2, "output_type": "pt", "height": 64, "width": 64}

State = dict[str, Tensor]


def convolutions(pipe: Any) -> State:
    """Gives factors for convolutions of a UNet, as LoCons have them."""
    draws, state = generator(5), {}
    for name, layer in pipe.unet.named_modules():
        if isinstance(layer, nn.Conv2d) and name.endswith(("conv1", "conv_shortcut", "conv_in")):
            wide, narrow, size = layer.in_channels, layer.out_channels, layer.kernel_size
            down = torch.randn(4, wide, *size, generator=draws) / math.sqrt(wide)
            up = torch.randn(narrow, 4, 1, 1, generator=draws) / 2
            state |= {f"unet.{name}.lora_A.weight": down, f"unet.{name}.lora_B.weight": up}
    return state


def of_many_ranks(pipe: Any, layers: Any) -> State:
    """Gives factors of rank 2 for one half of the layers and of rank 5 for the other."""
    narrow, wide = (tiny_factors(pipe, layers, rank=rank) for rank in (2, 5))
    every = list(dict.fromkeys(key.partition(".lora_")[0] for key in narrow))
    odd = set(every[::2])
    return {key: (wide if key.partition(".lora_")[0] in odd else narrow)[key] for key in narrow}


def with_magnitudes(state: State) -> State:
    """Gives DoRAs as PEFT keeps them."""
    found = dict(state)
    for key, value in state.items():
        layer, _, factor = key.partition(".lora_B.")
        if factor:
            found[f"{layer}.lora_magnitude_vector"] = (
                torch.rand(len(value), generator=generator(3)) + 1
            )
    return found


def with_alphas(state: State) -> State:
    """Gives kohya's factors scaled by numbers of their own."""
    alphas = [key for key in state if key.endswith(".alpha")]
    return {**state, **{key: torch.tensor(1.0 + n % 3) for n, key in enumerate(alphas)}}


def save_as_diffusers(pipe: Any, folder: Path, state: State, **told: Any) -> None:
    """Saves factors with the configuration that training had."""
    options: dict[str, Any] = {}
    for component in dict.fromkeys(key.partition(".")[0] for key in state):
        own = {
            key.removeprefix(f"{component}."): value
            for key, value in state.items()
            if key.startswith(f"{component}.")
        }
        options[f"{component}_lora_layers"] = own
        options[f"{component}_lora_adapter_metadata"] = {
            "r": 4, "target_modules": sorted({key.partition(".lora_")[0] for key in own}), **told,
        }  # fmt: skip
    pipe.save_lora_weights(folder, **options)


@dataclass(frozen=True)
class Form:
    """A file of a LoRA.

    Attributes:
        family: Whose.
        make: Writes it for a pipeline into a folder.
    """

    family: str
    make: Callable[[Any, Path], object]


FORMS = {
    "ranks by layer": Form("sd15", lambda p, f: write(f, of_many_ranks(p, SD))),
    "ranks by layer, sd3": Form("sd3", lambda p, f: write(f, of_many_ranks(p, SD3))),
    "kohya, ranks and alphas by layer": Form(
        "sdxl", lambda p, f: write(f, with_alphas(as_kohya(of_many_ranks(p, SDXL))))
    ),
    "kohya, alphas by layer, flux": Form(
        "flux",
        lambda p, f: write(
            f,
            with_alphas(
                as_kohya_flux(
                    tiny_factors(
                        p, {"transformer": ("to_out.0", "net.2"), "text_encoder": TEXT}
                    )
                )
            ),
        ),
    ),
    "kohya, differences that are zero": Form(
        "flux",
        lambda p, f: write(
            f,
            {
                **as_kohya_flux(tiny_factors(p, {"transformer": ("to_out.0",)})),
                "lora_unet_double_blocks_0_img_attn_proj.diff_b": torch.zeros(32),
            },
        ),
    ),
    "flux2": Form("flux2", lambda p, f: write(f, tiny_factors(p, FLUX2))),
    "the names of the first code, flux2": Form(
        "flux2",
        lambda p, f: write(
            f,
            {
                key.replace("transformer.transformer_blocks", "diffusion_model.double_blocks")
                .replace("attn.to_out.0", "img_attn.proj"): value
                for key, value in tiny_factors(
                    p, {"transformer": ("attn.to_out.0",)}
                ).items()
            },
        ),
    ),
    "kohya, convolutions too": Form(
        "sd15", lambda p, f: write(f, as_kohya({**tiny_factors(p, SD), **convolutions(p)}))
    ),
    "convolutions too": Form(
        "sd15", lambda p, f: write(f, {**tiny_factors(p, SD), **convolutions(p)})
    ),
    "text encoders alone": Form(
        "sdxl",
        lambda p, f: write(f, tiny_factors(p, {"text_encoder": TEXT, "text_encoder_2": TEXT})),
    ),
    "the second text encoder alone": Form(
        "sd3", lambda p, f: write(f, tiny_factors(p, {"text_encoder_2": TEXT}))
    ),
    "half precision": Form(
        "sd15",
        lambda p, f: write(f, {k: v.half() for k, v in tiny_factors(p, SD).items()}),
    ),
    "told alpha": Form(
        "sd15", lambda p, f: save_as_diffusers(p, f, tiny_factors(p, SD), lora_alpha=7)
    ),
    "told alphas by layer": Form(
        "flux",
        lambda p, f: save_as_diffusers(
            p, f, tiny_factors(p, {"transformer": NETWORK}), lora_alpha=7,
            alpha_pattern={"transformer_blocks.0.attn.to_q": 3},
        ),
    ),
    "dora": Form("sd15", lambda p, f: write(f, with_magnitudes(tiny_factors(p, SD)))),
    "dora, sdxl": Form(
        "sdxl", lambda p, f: write(f, with_magnitudes(tiny_factors(p, {"unet": NETWORK})))
    ),
    "dora, sd3": Form(
        "sd3", lambda p, f: write(f, with_magnitudes(tiny_factors(p, {"transformer": NETWORK})))
    ),
    "dora, flux": Form(
        "flux", lambda p, f: write(f, with_magnitudes(tiny_factors(p, {"transformer": NETWORK})))
    ),
}  # fmt: skip

QUICK = (
    "kohya, ranks and alphas by layer", "convolutions too", "told alphas by layer", "dora",
    "the second text encoder alone",
)  # fmt: skip
EVERY = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in FORMS]


@pytest.fixture(scope="module")
def pairs():
    """Gives a pipeline of Diffusers and one on the same modules, by family, made once."""
    made: dict[str, Any] = {}

    def pair(family: str) -> Any:
        if family not in made:
            theirs = MAKERS[family]()
            theirs.set_progress_bar_config(disable=True)
            ours = quiet(InferencePipeline.from_diffusers(theirs))
            plain = ours(prompt="a cat", seed=0, **CALL, **FURTHER.get(family, {})).images
            made[family] = theirs, ours, plain
        return made[family]

    return pair


@pytest.mark.parametrize("fuse", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", EVERY)
def test_the_numbers_are_those_of_diffusers(pairs, tmp_path, name, fuse):
    form = FORMS[name]
    call = {**CALL, **FURTHER.get(form.family, {})}
    theirs, ours, plain = pairs(form.family)
    form.make(theirs, tmp_path)
    # What Diffusers takes out of weights again leaves other last bits there.
    theirs = copy.deepcopy(theirs) if fuse else theirs
    theirs.load_lora_weights(tmp_path, weight_name=NAME, adapter_name="style")
    theirs.set_adapters("style", 0.8)
    try:
        if fuse:
            theirs.fuse_lora(components=list(LAYERS[form.family]))
        expected = theirs(prompt="a cat", generator=generator(), **call).images
    finally:
        if not fuse:
            theirs.unload_lora_weights()
    ours.graph.add_node("style", "adapter/lora", weights=str(tmp_path), scale=0.8, fuse=fuse)
    try:
        changed = ours(prompt="a cat", seed=0, **call).images
    finally:
        ours.graph.remove_node("style")
    assert not torch.equal(changed, plain)
    assert torch.equal(changed, expected)


def test_the_same_file_twice_counts_twice(pairs, tmp_path):
    theirs, ours, _ = pairs("sd15")
    write(tmp_path, tiny_factors(theirs, SD))
    for name in ("one", "two"):
        theirs.load_lora_weights(tmp_path, adapter_name=name)
    theirs.set_adapters(["one", "two"], [0.8, 0.3])
    expected = theirs(prompt="a cat", generator=generator(), **CALL).images
    theirs.unload_lora_weights()
    for order, (name, scale) in enumerate((("one", 0.8), ("two", 0.3))):
        ours.graph.add_node(name, "adapter/lora", weights=str(tmp_path), scale=scale, order=order)
    twice = ours(prompt="a cat", seed=0, **CALL).images
    ours.unload_lora_weights()
    assert torch.equal(twice, expected)


@pytest.mark.parametrize("scale", [0.0, 0.7])
def test_the_scale_of_a_call_ends_with_it(pairs, tmp_path, scale):
    theirs, ours, plain = pairs("sd15")
    write(tmp_path, tiny_factors(theirs, SD))
    call = {**CALL, "negative_prompt": "ugly"}
    scaled = {**call, "cross_attention_kwargs": {"scale": scale}}
    theirs.load_lora_weights(tmp_path, adapter_name="style")
    theirs.set_adapters("style", 0.4)
    whole = theirs(prompt="a cat", generator=generator(), **call).images
    expected = theirs(prompt="a cat", generator=generator(), **scaled).images
    theirs.unload_lora_weights()
    ours.graph.add_node("style", "adapter/lora", weights=str(tmp_path), scale=0.4)
    try:
        assert torch.equal(ours(prompt="a cat", seed=0, **scaled).images, expected)
        assert torch.equal(ours(prompt="a cat", seed=0, **call).images, whole)
    finally:
        ours.unload_lora_weights()
    assert torch.equal(ours(prompt="a cat", seed=0, **CALL).images, plain)
