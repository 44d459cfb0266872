"""Changes between two equal calls that must never be answered with the old picture."""

from __future__ import annotations

import numpy as np
import peft
import pytest
import torch
from diffusers.training_utils import EMAModel
from PIL import Image

from tests.pipelines.conftest import quiet
from tests.pipelines.pictures import picture
from tests.tiny_models import tiny_clip_tokenizer, tiny_pipeline
from yggdrasil import InferencePipeline, op
from yggdrasil.core.roles import AbstractProcessor
from yggdrasil.core.values import SolverState

CALL = {"num_inference_steps": 2, "output_type": "pt", "seed": 0}


@pytest.fixture
def pipe():
    """Gives a pipeline of its own, whose models may be changed."""
    return quiet(InferencePipeline.from_diffusers(tiny_pipeline(seed=1)))


def expect_notice(pipe, change, **call):
    """Calls, changes, calls again, and compares with a call that remembers nothing."""
    call = {**CALL, **call}
    before = pipe("a cat", **call).images
    change()
    after = pipe("a cat", **call).images
    pipe._runtime.cache.clear()
    truth = pipe("a cat", **call).images
    assert torch.equal(after, truth)
    assert not torch.equal(before, truth)


def lora(unet):
    """Adds an adapter that is not zero."""
    config = peft.LoraConfig(r=2, target_modules=["to_q"], init_lora_weights=False)
    unet.add_adapter(config, "a")


def test_an_adapter_is_added(pipe):
    expect_notice(pipe, lambda: lora(pipe.components["unet"]))


def test_an_adapter_is_weighted_anew(pipe):
    unet = pipe.components["unet"]
    lora(unet)
    expect_notice(pipe, lambda: unet.set_adapters(["a"], [0.1]))


def test_an_adapter_is_switched_off(pipe):
    unet = pipe.components["unet"]
    lora(unet)
    expect_notice(pipe, unet.disable_adapters)


def test_a_moving_average_is_copied_in(pipe):
    parameters = list(pipe.components["unet"].parameters())
    average = EMAModel(parameters)
    average.shadow_params = [each + 0.01 for each in average.shadow_params]
    expect_notice(pipe, lambda: average.copy_to(parameters))


def test_a_fused_optimizer_takes_a_step(pipe):
    parameters = list(pipe.components["unet"].parameters())
    optimizer = torch.optim.AdamW(parameters, lr=0.01, fused=True)

    def step():
        for each in parameters:
            each.grad = torch.ones_like(each)
        optimizer.step()

    expect_notice(pipe, step)


def test_data_is_written_to(pipe):
    def write():
        for each in pipe.components["vae"].parameters():
            each.data.mul_(1.1)

    expect_notice(pipe, write)


def test_a_hook_is_registered(pipe):
    unet = pipe.components["unet"]
    expect_notice(pipe, lambda: unet.conv_in.register_forward_hook(lambda *call: call[-1] * 1.5))


def test_freeu_is_switched_on(pipe):
    free = {"s1": 0.9, "s2": 0.2, "b1": 1.2, "b2": 1.4}
    expect_notice(pipe, lambda: pipe.components["unet"].enable_freeu(**free))


def test_a_configuration_is_written_to(pipe):
    vae = pipe.components["vae"]
    expect_notice(pipe, lambda: vae.register_to_config(scaling_factor=0.5))


def test_another_tokenizer_is_given(pipe):
    class Reversed(type(tiny_clip_tokenizer())):
        def __call__(self, text, **options):
            text = [each[::-1] for each in ([text] if isinstance(text, str) else text)]
            return super().__call__(text, **options)

    other = tiny_clip_tokenizer()
    other.__class__ = Reversed
    expect_notice(pipe, lambda: pipe.graph.block("text").give(tokenizer=other))


def test_a_tokenizer_is_set_otherwise(pipe):
    expect_notice(pipe, lambda: setattr(pipe.components["tokenizer"], "model_max_length", 9))


def test_an_attribute_of_a_block_is_set(pipe):
    pipe.graph.add_node("lift", Lift())

    def more():
        pipe.graph.block("lift").amount = 5.0

    expect_notice(pipe, more)


class Lift(AbstractProcessor):
    """Lifts the latents after every step."""

    def __init__(self, amount: float = 0.1) -> None:
        self.amount = amount

    @op
    def lift(self, state: SolverState) -> SolverState:
        return state.with_latents(state.latents + self.amount)


def test_autocast_surrounds_the_call(pipe):
    plain = pipe("a cat", **CALL).images
    with torch.autocast("cpu", torch.bfloat16):
        half = pipe("a cat", **CALL).images
    assert not torch.equal(plain, half)
    assert torch.equal(pipe("a cat", **CALL).images, plain)


def test_a_mask_has_another_palette(pipe):
    def mask(first, second):
        made = Image.fromarray(np.kron(np.eye(2, dtype=np.uint8), np.ones((32, 32), np.uint8)))
        made = made.convert("P")
        made.putpalette([*(first,) * 3, *(second,) * 3])
        return made

    pipe.task = "inpaint"
    call = {**CALL, "image": picture(), "strength": 0.9}
    one = pipe("a cat", mask_image=mask(0, 255), **call).images
    other = pipe("a cat", mask_image=mask(255, 0), **call).images
    assert not torch.equal(one, other)


def test_nobody_writes_into_what_another_call_gave(pipe):
    first = pipe("a cat", **CALL)
    kept = first.images.clone(), first.latents.clone()
    first.latents.numpy()[:] = 0
    first.images.numpy()[:] = 0
    second = pipe("a cat", **CALL)
    assert torch.equal(second.images, kept[0])
    assert torch.equal(second.latents, kept[1])
    assert second.images is not pipe("a cat", **CALL).images


def test_inference_mode_around_calls_does_no_harm(tmp_path):
    tiny_pipeline(seed=1).save_pretrained(tmp_path)
    with torch.inference_mode():
        pipe = quiet(InferencePipeline.from_pretrained(tmp_path))
        inside = pipe("a cat", **CALL).images
    assert torch.equal(pipe("a cat", **CALL).images, inside)
    parameter = next(pipe.components["unet"].parameters())
    assert not parameter.is_inference()
