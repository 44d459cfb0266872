from __future__ import annotations

import pytest
import torch

from tests.tiny_models import tiny_pipeline, tiny_unet
from yggdrasil.core.errors import InputError
from yggdrasil.core.registry import make_block
from yggdrasil.core.values import (
    BackboneSpecValue,
    BranchedConditioningValue,
    BranchedValue,
    ConditioningValue,
)


def block(kind="sd15"):
    unet = tiny_pipeline(kind).unet
    return make_block("backbone/unet2d_condition").give(unet=unet), unet


def conditioning(batch=2, number=0, **further):
    generator = torch.Generator().manual_seed(number)
    text = torch.randn(batch, 7, 32, generator=generator)
    return ConditioningValue(tensors={"encoder_hidden_states": text, **further}, batch=batch)


def test_spec():
    nine = BackboneSpecValue(
        in_channels=9, sample_size=(8, 8), text_width=32, widths=(16, 32), reads_mask=True
    )
    assert block("sd15_inpaint")[0].spec() == nine
    assert not block("sd15_edit")[0].spec().reads_mask
    assert block("lcm")[0].spec().guidance_embedding == 16


@pytest.mark.parametrize(("size", "expected"), [((8, 16), (8, 16)), (None, None), ([4, 8], (4, 8))])
def test_sizes(size, expected):
    class Source:
        def config(self, slot):
            return {"sample_size": size}

    unet = make_block("backbone/unet2d_condition").load_from(unet=Source())
    assert unet.spec() == BackboneSpecValue(
        in_channels=4, sample_size=expected, text_width=1280, widths=(320, 640, 1280, 1280)
    )


@pytest.mark.parity
@pytest.mark.parametrize("kind", ["sd15", "sd2", "lcm"])
@torch.no_grad()
def test_prediction(kind):
    backbone, unet = block(kind)
    sample, timestep = torch.randn(2, 4, 8, 8), torch.tensor(500)
    further = {"timestep_cond": torch.randn(2, 16)} if kind == "lcm" else {}
    given = conditioning(**further)
    expected = unet(
        sample, timestep, given.tensors["encoder_hidden_states"], **further, return_dict=False
    )[0]
    assert torch.equal(backbone.predict(sample, timestep, given), expected)


@pytest.mark.parity
@torch.no_grad()
def test_branches_are_one_batch():
    backbone, unet = block("sd15_inpaint")
    sample, channels = torch.randn(2, 4, 8, 8), torch.randn(2, 5, 8, 8)
    negative, positive = conditioning(number=1), conditioning(number=2)
    branches = BranchedConditioningValue.of({"negative": negative, "positive": positive})
    text = torch.cat([part.tensors["encoder_hidden_states"] for part in (negative, positive)])
    wide = torch.cat([torch.cat([sample] * 2), torch.cat([channels] * 2)], dim=1)
    expected = unet(wide, torch.tensor(7), text, return_dict=False)[0].chunk(2)
    branched = BranchedValue(branches.names, (sample, sample))
    answer = backbone.predict(branched, torch.tensor(7), branches, channels)
    assert all(torch.equal(a, b) for a, b in zip(answer.tensors, expected, strict=True))


@torch.no_grad()
def test_model_arguments_reach_the_forward():
    backbone, _ = block()
    sample, timestep = torch.randn(2, 4, 8, 8), torch.tensor(500)
    plain = backbone.predict(sample, timestep, conditioning())
    mask = torch.zeros(2, 7)
    mask[:, :3] = 1
    masked = backbone.predict(
        sample,
        timestep,
        conditioning(),
        model_arguments={"encoder_attention_mask": mask, "cross_attention_kwargs": None},
    )
    assert not torch.equal(plain, masked)


@torch.no_grad()
def test_other_tensors_become_added_conditions():
    unet = tiny_unet(
        attention_head_dim=4,
        addition_embed_type="text_time",
        addition_time_embed_dim=4,
        projection_class_embeddings_input_dim=10 + 6 * 4,
    ).eval()
    backbone = make_block("backbone/unet2d_condition").give(unet=unet)
    added = {"text_embeds": torch.randn(2, 10), "time_ids": torch.randn(2, 6)}
    given = conditioning(**added)
    sample, timestep = torch.randn(2, 4, 8, 8), torch.tensor(500)
    expected = unet(
        sample,
        timestep,
        given.tensors["encoder_hidden_states"],
        added_cond_kwargs=added,
        return_dict=False,
    )[0]
    assert torch.equal(backbone.predict(sample, timestep, given), expected)
    other = {"added_cond_kwargs": {"time_ids": torch.zeros(2, 6)}}
    answer = backbone.predict(sample, timestep, given, model_arguments=other)
    assert not torch.equal(answer, expected)
    assert list(other["added_cond_kwargs"]) == ["time_ids"]


def test_missing_channels_are_named():
    backbone, _ = block("sd15_inpaint")
    with pytest.raises(InputError, match=r"reads 9 channels and was given 4\..*`mask_image`"):
        backbone.predict(torch.randn(2, 4, 8, 8), torch.tensor(1), conditioning())


def test_channels_too_many_are_named():
    backbone, _ = block()
    with pytest.raises(InputError, match=r"reads 4 channels and was given 9\..*leave out"):
        backbone.predict(
            torch.randn(2, 4, 8, 8), torch.tensor(1), conditioning(), torch.randn(2, 5, 8, 8)
        )


def test_residuals_of_another_kind_are_refused():
    backbone, _ = block()
    with pytest.raises(InputError, match="gives the backbone 'one', and it reads down_block_"):
        backbone.predict(
            torch.randn(2, 4, 8, 8), torch.tensor(1), conditioning(), residuals=("one",)
        )


def test_gradients_reach_the_weights():
    backbone, unet = block()
    backbone.predict(torch.randn(2, 4, 8, 8), torch.tensor([1, 2]), conditioning()).sum().backward()
    assert all(parameter.grad is not None for parameter in unet.parameters())


def test_further_channels_are_not_wanted_where_latents_are_read_alone():
    assert block("sd15")[0].unused_inputs("predict", {}) == {"channels"}
    assert block("sd15_inpaint")[0].unused_inputs("predict", {}) == set()
    assert block("sd15")[0].unused_inputs("spec", {}) == set()
