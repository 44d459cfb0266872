"""Which LoRAs act: the names of Diffusers for it give its answers and its numbers."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file

from tests.pipelines.conftest import generator, quiet
from tests.tiny_flux import tiny_flux
from tests.tiny_loras import FLUX, NAME, SD, SDXL, tiny_factors, write
from tests.tiny_models import tiny_pipeline
from tests.tiny_sdxl import tiny_sdxl
from yggdrasil import InferencePipeline

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore:Already found a `peft_config`"),  # theirs, of a second one
    pytest.mark.filterwarnings("ignore:Adapter .* was active which is now deleted"),  # likewise
]

FAMILIES = {"sd15": (tiny_pipeline, SD), "sdxl": (tiny_sdxl, SDXL), "flux": (tiny_flux, FLUX)}
CALL = {"num_inference_steps": 2, "output_type": "pt", "height": 64, "width": 64}


class Both(NamedTuple):
    """A pipeline of Diffusers and ours on models of its own, and LoRAs for them."""

    theirs: Any
    ours: InferencePipeline
    a: Any
    b: Any
    narrow: Any

    def do(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Calls a method of both, and gives the answer, which must be one."""
        mine = getattr(self.ours, method)(*arguments, **options)
        assert mine == getattr(self.theirs, method)(*arguments, **options)
        return mine

    def images(self) -> torch.Tensor:
        """Gives the pictures of both, which must be the same to the bit."""
        mine = self.ours("a cat", seed=0, **CALL).images
        theirs = self.theirs("a cat", generator=generator(), **CALL).images
        assert (mine - theirs).abs().max() == 0.0
        return mine


@pytest.fixture(
    params=["sd15", *(pytest.param(name, marks=pytest.mark.slow) for name in ("sdxl", "flux"))]
)
def both(request, tmp_path):
    make, parts = FAMILIES[request.param]
    theirs = quiet(make())
    backbone = {name: ends for name, ends in parts.items() if name in ("unet", "transformer")}
    ours = quiet(InferencePipeline.from_diffusers(make()))
    return Both(
        theirs,
        ours,
        write(tmp_path / "a", tiny_factors(theirs, parts)),
        write(tmp_path / "b", tiny_factors(theirs, parts, seed=2, rank=2)),
        write(tmp_path / "narrow", tiny_factors(theirs, backbone, seed=3)),
    )


def test_disabled_and_enabled_again(both):
    bare = both.images()
    both.do("load_lora_weights", both.a, "a")
    both.do("load_lora_weights", both.b, "b")
    both.do("set_adapters", ["b", "a"], [0.5, 0.8])
    changed = both.images()
    both.do("disable_lora")
    assert both.do("get_active_adapters") == ["b", "a"]
    assert torch.equal(both.images(), bare)
    both.do("set_adapters", "a")
    assert torch.equal(both.images(), bare)  # still
    both.do("load_lora_weights", both.narrow, "c")
    assert torch.equal(both.images(), bare)  # still
    both.do("set_adapters", ["b", "a"], [0.5, 0.8])
    both.do("enable_lora")
    assert torch.equal(both.images(), changed)


def test_the_lora_loaded_last_acts_alone(both):
    both.do("load_lora_weights", both.a, "a")
    assert both.do("get_active_adapters") == ["a"]
    first = both.images()
    both.do("load_lora_weights", both.b, "b")
    assert both.do("get_active_adapters") == ["b"]
    assert not torch.equal(both.images(), first)
    both.do("delete_adapters", "b")
    assert both.do("get_active_adapters") == ["a"]
    assert torch.equal(both.images(), first)
    both.do("unload_lora_weights")
    assert both.do("get_active_adapters") == []
    assert both.do("get_list_adapters") == {}


def test_where_the_last_changes_the_backbone_alone_the_other_keeps_the_text_encoders(both):
    both.do("load_lora_weights", both.a, "a")
    first = both.images()
    both.do("load_lora_weights", both.narrow, "b")
    mixed = both.images()
    assert not torch.equal(mixed, first)
    both.do("delete_adapters", "a")
    assert not torch.equal(both.images(), mixed)


def test_all_loras_are_listed_by_component(both):
    assert both.do("get_list_adapters") == {}
    both.do("load_lora_weights", both.a)
    both.do("load_lora_weights", both.narrow)
    both.do("set_adapters", ["default_1", "default_0"], [0.0, 0.7])
    assert both.do("get_active_adapters") == ["default_1", "default_0"]
    listed = both.do("get_list_adapters")
    assert {len(names) for names in listed.values()} == {1, 2}


def test_a_lora_given_as_tensors(both):
    before = both.images()
    both.do("load_lora_weights", load_file(both.a / NAME), adapter_name="a")
    assert not torch.equal(both.images(), before)


def test_a_lora_takes_the_place_of_another(both):
    both.do("load_lora_weights", both.narrow, "a")
    both.do("set_adapters", "a", 0.5)
    first = both.images()
    other = {name: tensor * 2 for name, tensor in load_file(both.narrow / NAME).items()}
    both.do("load_lora_weights", other, adapter_name="a", hotswap=True)
    assert not torch.equal(both.images(), first)
