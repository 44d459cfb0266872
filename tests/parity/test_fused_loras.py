"""LoRAs fused into the weights: the calls that Diffusers takes give its numbers."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from tests.parity.test_lora_switches import CALL, FAMILIES, Both
from tests.pipelines.conftest import quiet
from tests.tiny_loras import NAME, SD3, tiny_factors, write
from tests.tiny_sd3 import tiny_sd3
from yggdrasil import InferencePipeline
from yggdrasil.core.errors import ModelError

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore:Already found a `peft_config`"),  # theirs, of a second one
    pytest.mark.filterwarnings("ignore:All adapters are already merged"),  # likewise
    pytest.mark.filterwarnings("ignore:Already following adapters were merged"),  # likewise
]

MAKERS = {**FAMILIES, "sd3": (tiny_sd3, SD3)}
BACKBONE = "the backbone"
"""Stands for the family's."""


@pytest.fixture(params=["sd15"])
def both(request, tmp_path):
    """Gives pipelines of both with two LoRAs, `a` and `b`, which act in this order."""
    make, parts = MAKERS[request.param]
    theirs = quiet(make())
    ours = quiet(InferencePipeline.from_diffusers(make()))
    a = write(tmp_path / "a", tiny_factors(theirs, parts))
    b = write(tmp_path / "b", tiny_factors(theirs, parts, seed=2, rank=2))
    narrow = {name: ends for name, ends in parts.items() if not name.startswith("text")}
    made = Both(theirs, ours, a, b, write(tmp_path / "c", tiny_factors(theirs, narrow, seed=3)))
    made.do("load_lora_weights", a, "a")
    made.do("load_lora_weights", b, "b")
    made.do("set_adapters", ["a", "b"], [0.8, 0.5])
    return made


def backbone(both):
    return "transformer" if hasattr(both.theirs, "transformer") else "unet"


def weights(pipe):
    """Gives copies of the weights of all models."""
    models = pipe.modules().items()
    return {f"{k} {name}": each.clone() for k, v in models for name, each in v.state_dict().items()}


def fuse(both, **options):
    if "components" in options:
        options["components"] = [
            backbone(both) if each is BACKBONE else each for each in options["components"]
        ]
    both.do("fuse_lora", **options)


EACH_FAMILY = pytest.mark.parametrize(
    "both",
    ["sd15", *(pytest.param(name, marks=pytest.mark.slow) for name in ("sdxl", "sd3", "flux"))],
    indirect=True,
)


@EACH_FAMILY
@pytest.mark.parametrize(
    "options",
    [
        {"lora_scale": 0.7},
        {"components": [BACKBONE], "lora_scale": 0.5},
        {"adapter_names": ["b", "a"], "lora_scale": 0.7},
        pytest.param({}, marks=pytest.mark.slow),
        pytest.param({"components": ["text_encoder"], "lora_scale": 0.5}, marks=pytest.mark.slow),
        pytest.param({"components": [BACKBONE, "text_encoder"]}, marks=pytest.mark.slow),
        pytest.param({"lora_scale": 0.7, "safe_fusing": True}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_two_fused(both, options):
    apart = both.images()
    fuse(both, **options)
    assert not torch.equal(both.images(), apart)


@EACH_FAMILY
def test_where_one_is_fused_the_other_does_not_act(both, caplog):
    both.do("fuse_lora", adapter_names=["a"])
    alone = both.images()
    assert "do not act on those layers of" in caplog.text
    assert both.ours.fused_loras == both.theirs.fused_loras == {"a"}
    assert both.ours.num_fused_loras == both.theirs.num_fused_loras == 1
    both.ours.graph.block("a").fuse_alone = False
    assert not torch.equal(both.ours("a cat", seed=0, **CALL).images, alone)


@pytest.mark.slow
@EACH_FAMILY
def test_where_none_is_fused_the_other_acts(both):
    both.do("load_lora_weights", both.narrow, "c")
    both.do("set_adapters", ["a", "c"], [0.8, 0.5])
    before = both.images()
    fuse(both, components=[BACKBONE], adapter_names=["c"])
    assert not torch.equal(both.images(), before)


@EACH_FAMILY
@pytest.mark.parametrize(
    "names", [["a", "b"], pytest.param(["b", "a"], marks=pytest.mark.slow)], ids=str
)
def test_one_that_did_not_act_is_fused_at_its_own_scale(both, names):
    both.do("set_adapters", "b", 0.5)
    both.do("fuse_lora", adapter_names=names, lora_scale=0.7)
    both.images()


@pytest.mark.slow
@EACH_FAMILY
def test_one_after_the_other(both):
    both.do("fuse_lora", adapter_names=["b"])
    first = both.images()
    both.do("fuse_lora", adapter_names=["a"])
    assert not torch.equal(both.images(), first)


@EACH_FAMILY
def test_one_component_after_the_other(both):
    fuse(both, components=[BACKBONE], lora_scale=0.5)
    first = both.images()
    fuse(both, components=["text_encoder"], lora_scale=0.3)
    assert not torch.equal(both.images(), first)


@pytest.mark.slow
@EACH_FAMILY
def test_what_is_fused_stays_as_it_is(both, caplog):
    fuse(both, lora_scale=0.5)
    first = both.images()
    fuse(both, lora_scale=0.7)
    assert torch.equal(both.images(), first)
    assert "a is fused into" in caplog.text
    assert "unfuse_lora first" in caplog.text


@EACH_FAMILY
def test_unfused_in_one_component_and_then_in_the_other(both):
    apart = both.images()
    both.ours.fuse_lora([backbone(both), "text_encoder"], 0.5)
    both.theirs.fuse_lora([backbone(both)], 0.5)
    both.ours.unfuse_lora(components=["text_encoder"])
    both.images()
    both.ours.unfuse_lora(components=[backbone(both)])
    again = both.ours("a cat", seed=0, **CALL).images
    assert torch.equal(again, apart)
    assert both.ours.num_fused_loras == 0


@pytest.mark.slow
def test_unfused_it_may_be_fused_at_another_scale(both):
    both.ours.fuse_lora(lora_scale=0.3)
    both.ours.unfuse_lora()
    both.ours.fuse_lora(lora_scale=0.7)
    both.theirs.fuse_lora(lora_scale=0.7)
    both.images()


@EACH_FAMILY
def test_a_lora_with_numbers_that_are_none_is_not_fused_safely(both, tmp_path):
    state = load_file(both.a / NAME)
    state[next(key for key in state if key.startswith(backbone(both)))][0, 0] = torch.nan
    both.do("load_lora_weights", write(tmp_path / "broken", state), "broken")
    before = weights(both.ours)
    with pytest.raises(ValueError, match="NaNs detected"):
        both.theirs.fuse_lora(safe_fusing=True)
    with pytest.raises(ModelError, match=r"broken.* is not fused: weights of the layer '.*' would"):
        both.ours.fuse_lora(safe_fusing=True)
    assert both.ours.fused_loras == set()
    assert not both.ours.graph.block("broken").safe_fusing
    after = weights(both.ours)
    assert all(torch.equal(tensor, before[name]) for name, tensor in after.items())
    both.ours.fuse_lora()
    assert both.ours("a cat", seed=0, **CALL).images.isnan().all()
